// Package fwtrace tells which nftables rules decided on the packets of real
// handshakes: it has the kernel trace them while it watches. It adds a table to
// the firewall, which the kernel removes with this process, and no rule that
// decides anything.
//
// What it cannot see package nfttrace says: legacy iptables above all. It imports
// nfttrace, rtnl, collect and evidence.
package fwtrace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"sync"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/nfttrace"
	"github.com/tcpwhy/tcpwhy/internal/rtnl"
)

// Options say what to trace.
type Options struct {
	Client netip.Addr // whose handshakes; zero is anybody's
	Port   uint16     // of the server; 0 is any
	// Text gives a rule by its handle as it reads now, nil when it is not known
	// or Text is nil. It is called on a goroutine of Watch, and only while the
	// rules are those that the packet met. Names are as the kernel has them.
	Text func(family, table, chain string, handle uint64) *evidence.Rule
}

const check = "trace of the packet filter"

// Watch traces handshakes in the network namespace of the calling thread, until
// stop is called or ctx is done; stop must be called. It gives a verdict for
// each different end of a packet, in order of time, and what makes them
// incomplete. Packet is "syn", "syn-ack" or "rst", the last for the answer of a
// closed port.
//
// "accept" says that no nftables rule dropped it from prerouting or output on.
// It does not say that it got to the socket, and where legacy iptables has
// tables, which are named as not checked, not even past the firewall. Where a
// message was lost no accept is given, and where it is not known whether a rule
// that dropped has answered, the verdict is "depends". A SYN with the answer of
// a rule has "reset" or "reject".
//
// It needs CAP_NET_ADMIN over the namespace and wraps os.ErrPermission without,
// and errors.ErrUnsupported where the kernel lacks something.
func Watch(ctx context.Context, env collect.Env, o Options) (stop func() ([]evidence.RuleVerdict, []evidence.NotChecked), err error) {
	links, err := rtnl.NewReader()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", check, err)
	}
	tracer, err := nfttrace.Open(nfttrace.Filter{Client: o.Client, Port: o.Port})
	if err != nil {
		links.Close()
		return nil, fmt.Errorf("%s: %w", check, err)
	}
	legacy := legacyTables()
	b := &book{
		clock: env.Clock, client: client(o.Client), port: o.Port,
		judge: &ruleBook{lookup: tracer.Lookup, text: o.Text}, names: &interfaceNames{reader: links},
	}
	ended := make(chan error, 1)
	go func() {
		defer links.Close()
		ended <- read(tracer, b)
	}()
	end := sync.OnceValues(tracer.Stop)
	cancelled := context.AfterFunc(ctx, func() { end() })
	return sync.OnceValues(func() ([]evidence.RuleVerdict, []evidence.NotChecked) {
		cancelled()
		unmarked, stopErr := end()
		readErr := <-ended
		lost := tracer.Lost()
		missed := gaps(b, unmarked, lost, errors.Join(stopErr, readErr, tracer.Close()))
		return b.verdicts(lost > 0), append(missed, legacy...)
	}), nil
}

func read(t *nfttrace.Tracer, b *book) error {
	for {
		switch e, err := t.Next(); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		default:
			b.add(e)
		}
	}
}

// gaps names what is missing in the verdicts.
func gaps(b *book, unmarked, lost uint64, err error) (list []evidence.NotChecked) {
	miss := func(format string, args ...any) {
		list = append(list, evidence.NotChecked{Check: check, Reason: fmt.Sprintf(format, args...)})
	}
	if unmarked > 0 {
		miss("%d packets came faster than %d of a kind in a second, which is all that is traced", unmarked, nfttrace.DefaultRate)
	}
	if lost > 0 {
		miss("the kernel had no room for some messages (%d times): packets that passed are left out", lost)
	}
	if b.omitted > 0 {
		miss("%d packets beyond the first %d were left out", b.omitted, maxPackets)
	}
	if err != nil {
		miss("%v", err)
	}
	return list
}

// legacyTables names the packet filter that cannot be traced, where the
// namespace of the calling thread has one: an accept does not speak of it.
func legacyTables() (list []evidence.NotChecked) {
	for _, program := range []string{"ip", "ip6"} {
		names, err := os.ReadFile("/proc/thread-self/net/" + program + "_tables_names")
		n := evidence.NotChecked{Check: check, How: "sudo " + program + "tables-legacy-save"}
		switch {
		case errors.Is(err, fs.ErrNotExist): // not in this kernel
			continue
		case err != nil:
			n.Reason = fmt.Sprintf("whether there are rules of legacy %stables, which cannot be traced: %v", program, err)
		case len(names) == 0:
			continue
		default:
			n.Reason = "legacy " + program + "tables has tables here, whose rules cannot be traced"
		}
		list = append(list, n)
	}
	return list
}

// client is the address as packets have it, zero for anybody.
func client(a netip.Addr) netip.Addr {
	if a = a.Unmap().WithZone(""); a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}

// interfaceNames names interfaces of the namespace.
type interfaceNames struct {
	reader *rtnl.Reader
	names  map[int]string
}

// name is the interface's name, escaped; "" when it is gone or index is 0.
func (n *interfaceNames) name(index int) string {
	name, ok := n.names[index]
	if index == 0 || ok {
		return name
	}
	if n.names == nil || len(n.names) > maxPackets {
		n.names = make(map[int]string)
	}
	n.names[index] = ""
	if links, err := n.reader.Interfaces(); err == nil {
		for _, l := range links {
			n.names[l.Index] = rtnl.Printable(l.Name)
		}
	}
	return n.names[index]
}
