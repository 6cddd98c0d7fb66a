package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/afpacket"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/pcapfilter"
	"github.com/tcpwhy/tcpwhy/internal/wire"
)

// snap is enough of a packet for its headers, and for those that an ICMP error
// quotes.
const snap = 256

// openRing starts a capture of what makes and ends connections.
func openRing(o Options) (*afpacket.Ring, error) {
	text := "tcp[tcpflags] & (tcp-syn|tcp-rst) != 0"
	switch {
	case o.Port != 0 && o.About.IsValid() && o.Keep > 0:
		// NAT before this host may lead the client to another port.
		text += fmt.Sprintf(" and (tcp port %d or host %s)", o.Port, o.About.Unmap().WithZone(""))
	case o.Port != 0:
		text += fmt.Sprintf(" and tcp port %d", o.Port)
	}
	for _, a := range []netip.Addr{o.Client, o.Server} {
		if a.IsValid() {
			text += " and host " + a.Unmap().WithZone("").String()
		}
	}
	filter, err := pcapfilter.Parse("("+text+") or icmp or icmp6", nil)
	if err != nil {
		return nil, err
	}
	program, err := filter.Program(snap)
	if err != nil {
		return nil, err
	}
	return afpacket.OpenRing(program, afpacket.RingOptions{Bytes: 16 << 20, Retire: retire})
}

func notCaptured(err error) evidence.NotChecked {
	n := evidence.NotChecked{Check: "packets on the host", Reason: err.Error()}
	if errors.Is(err, fs.ErrPermission) {
		n.Reason, n.How = "needs CAP_NET_RAW", "sudo tcpwhy …, or sudo setcap cap_net_raw+ep on the program"
	}
	return n
}

// readPackets lowers until where it leaves some for the next turn.
func (w *Watch) readPackets(until *time.Duration) {
	// A packet has the time of the wall clock. That is read anew each time, so a
	// step of it since the watch began does no harm.
	now := bothClocks()
	var p afpacket.Packet
	for range burst {
		if !w.ring.Next(&p) {
			return
		}
		w.take(&p, now)
	}
	*until = min(*until, w.clock.Since(now)-now.Round(0).Sub(p.Time))
}

// bothClocks is a time whose wall clock and monotonic readings belong together.
// Those are made one after the other, and on a busy machine much can happen in
// between: the one is taken around which least time passed.
func bothClocks() (now time.Time) {
	best := time.Hour
	for range 5 {
		before, t := time.Now(), time.Now()
		if took := time.Since(before); took < best {
			best, now = took, t
		}
	}
	return now
}

func (w *Watch) take(p *afpacket.Packet, now time.Time) {
	if p.Direction == afpacket.ToOther {
		return // seen because the interface is promiscuous
	}
	var e evidence.Packet
	switch err := w.decoder.decode(p, &e); err {
	case nil:
	case wire.ErrProtocol, wire.ErrFragment:
		return
	default:
		w.mu.Lock()
		w.capture.Malformed++
		w.mu.Unlock()
		return
	}
	if e.Kind == "icmp" && !w.quotesPort(&e) {
		return
	}
	e.At = w.clock.Since(now) - now.Round(0).Sub(p.Time)
	e.Interface = w.name(p.Interface)
	w.batch.packets = append(w.batch.packets, e)
}

func (w *Watch) quotesPort(e *evidence.Packet) bool {
	return w.o.Port == 0 || e.Inner.Local.Port() == w.o.Port || e.Inner.Remote.Port() == w.o.Port
}

func (w *Watch) name(index int) string {
	name, ok := w.names[index]
	if !ok {
		if name = w.ring.InterfaceName(index); name == "" {
			name = fmt.Sprintf("index %d", index) // gone already
		}
		w.names[index] = name
		w.mu.Lock()
		w.capture.Interfaces = append(w.capture.Interfaces, name)
		slices.Sort(w.capture.Interfaces)
		w.mu.Unlock()
	}
	return name
}
