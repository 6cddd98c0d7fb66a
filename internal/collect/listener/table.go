package listener

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

const (
	maxListed = 1024 // listeners in HostTable.Listeners
	maxOthers = 256  // listeners in HostTable.Others

	// Bounds on looking through all processes, for their namespaces and for
	// their sockets. On a host with very many of them a table with some owners
	// missing, and saying so, is worth more than a late one.
	namespaceTime  = 500 * time.Millisecond
	tableOwnerTime = time.Second
	restOwnerTime  = 300 * time.Millisecond // for listeners on other ports
)

// markShared sets Shared for listeners with the same address, port and device in
// one namespace: only SO_REUSEPORT lets them be there together.
func markShared(all []evidence.Listener) {
	type place struct {
		namespace uint32
		addr      netip.AddrPort
		device    string
	}
	count := make(map[place]int)
	at := func(l evidence.Listener) place { return place{l.Namespace, l.Addr, l.Device} }
	for _, l := range all {
		count[at(l)]++
	}
	for i, l := range all {
		all[i].Shared = count[at(l)] > 1
	}
}

// onPort says whether a listener is one of those asked for.
func onPort(l evidence.Listener, port uint16) bool { return port == 0 || l.Addr.Port() == port }

// fill puts the listeners into the lists of the table.
func fill(out *evidence.HostTable, all []evidence.Listener, port uint16) {
	var on, rest []evidence.Listener
	for _, l := range all {
		if l.Namespace == 0 {
			out.Total++
		}
		if onPort(l, port) {
			on = append(on, l)
		} else {
			rest = append(rest, l)
		}
	}
	related := relatives(on, port)
	var others []evidence.Listener
	for _, l := range rest {
		if related.has(l) {
			others = append(others, l)
		}
	}
	out.Listeners = on[:min(len(on), maxListed)]
	out.Others = others[:min(len(others), maxOthers)]
	out.Omitted = len(on) + len(others) - len(out.Listeners) - len(out.Others)
}

// command is the call that gives the same with more privileges.
func command(port uint16) string {
	if port == 0 {
		return "sudo tcpwhy host"
	}
	return fmt.Sprintf("sudo tcpwhy host :%d", port)
}
