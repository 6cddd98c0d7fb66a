package capture

import (
	"net/netip"
	"strings"

	"github.com/tcpwhy/tcpwhy/internal/tcpflow"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// Filter selects connections. The zero value selects all.
type Filter struct {
	// Host is a name that a lookup in the capture shows, "" for any; Addr an
	// address, if valid. Port is 0 for any.
	Host string
	Addr netip.Addr
	Port uint16
	// Cause must be the first candidate of the verdict, "" for any.
	Cause verdict.CauseID
	// From and To bound the time of the first packet, both included; 0 does not.
	From, To tcpflow.Time
}

// matcher is a filter prepared for a result: what it says of each server.
type matcher struct {
	Filter
	servers []bool // by place in book.addrs.list; nil for all
}

func (r *Result) matcher(f Filter) *matcher {
	m := &matcher{Filter: f}
	if f.Host == "" && !f.Addr.IsValid() {
		return m
	}
	host := strings.TrimSuffix(f.Host, ".")
	m.servers = make([]bool, len(r.book.addrs.list))
	for i, addr := range r.book.addrs.list {
		m.servers[i] = (!f.Addr.IsValid() || f.Addr == addr) && (host == "" || r.names.known(host, addr))
	}
	return m
}

// takes says whether the filter selects a connection, its cause apart.
func (m *matcher) takes(server uint32, port uint16, at int64) bool {
	return (m.servers == nil || m.servers[server]) && (m.Port == 0 || m.Port == port) &&
		(m.From == 0 || at >= int64(m.From)) && (m.To == 0 || at <= int64(m.To))
}

// judged says whether the filter's cause fits an opinion.
func (m *matcher) judged(o *opinion) bool { return m.Cause == "" || o.cause == m.Cause }

// Selects says whether a filter selects a connection, by the lookups so far.
func (r *Result) Selects(f Filter, c *Connection) bool {
	return (f.Port == 0 || f.Port == c.Server.Port()) && (!f.Addr.IsValid() || f.Addr == c.Server.Addr()) &&
		(f.Host == "" || r.names.known(strings.TrimSuffix(f.Host, "."), c.Server.Addr())) &&
		(f.Cause == "" || f.Cause == c.Verdict.Cause) && (f.From == 0 || c.First >= f.From) && (f.To == 0 || c.First <= f.To)
}
