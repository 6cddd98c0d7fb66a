package capture

import (
	"net/netip"
	"strings"

	"github.com/tcpwhy/tcpwhy/internal/tcpflow"
)

// names finds the names that captures show addresses to have been looked up by.
type names struct {
	byAddr map[netip.Addr]*tcpflow.Summary // the lookups that gave the address
	total  uint64
	lost   uint64
}

func (n *names) add(s *tcpflow.Summary) {
	if n.byAddr == nil {
		n.byAddr = map[netip.Addr]*tcpflow.Summary{}
	}
	n.total += uint64(len(s.Lookups))
	n.lost += s.LookupsLost
	for i := range s.Lookups {
		for _, a := range s.Lookups[i].Addrs {
			of := n.byAddr[a]
			if of == nil {
				of = &tcpflow.Summary{}
				n.byAddr[a] = of
			}
			of.Lookups = append(of.Lookups, s.Lookups[i])
		}
	}
}

// of gives the name that a client looked up for an address before a time.
func (n *names) of(client, addr netip.Addr, before tcpflow.Time) string {
	if s := n.byAddr[addr]; s != nil {
		return s.Name(client, addr, before)
	}
	return ""
}

// known says whether a lookup of the name gave the address, at any time.
func (n *names) known(name string, addr netip.Addr) bool {
	s := n.byAddr[addr]
	if s == nil {
		return false
	}
	for i := range s.Lookups {
		if strings.EqualFold(s.Lookups[i].Name, name) {
			return true
		}
	}
	return false
}

// Lookups gives how many DNS lookups were seen, and how many of them are not
// used for want of room.
func (r *Result) Lookups() (seen, lost uint64) { return r.names.total + r.names.lost, r.names.lost }
