package kernel

import (
	"net/netip"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// Bounds of what is kept of others than the client that a watch is about. Each
// piece of evidence repeats it, so it is a fraction of Options.Keep.
const (
	maxOthers   = 512  // ends
	maxOfOthers = 2048 // events and packets
)

// others are the ends, not of the client that a watch is about, whose attempts are
// kept all the same: NAT may have made one of them of the client's.
type others struct {
	ends map[netip.AddrPort]struct{}
	kept int  // events and packets
	none bool // no end is taken
}

// keep says whether to keep an event or packet of an end, and counts it in out
// where it is not kept. With its SYN an end becomes one of the others. A SYN is
// counted once for each packet and event that tells of it.
func (o *others) keep(out *evidence.Watched, end netip.AddrPort, syn bool) bool {
	end = unmap(end)
	_, known := o.ends[end]
	room := o.kept < maxOfOthers && !o.none
	switch {
	case known && room:
	case known:
		out.OthersOmitted++
		return false
	case !syn:
		return false
	case !room || len(o.ends) == maxOthers:
		out.OtherSYNs++
		return false
	default:
		o.ends[end] = struct{}{}
	}
	o.kept++
	return true
}

// farEnd is the end of a packet that is not the port's, 0 for any port: then that
// which the packet comes from or an error is for.
func farEnd(p *evidence.Packet, port uint16) netip.AddrPort {
	near, far := p.Dst, p.Src
	if p.Kind == "icmp" {
		near, far = p.Inner.Remote, p.Inner.Local
	}
	if port == 0 && p.Outgoing && p.Kind == "tcp" || port != 0 && near.Port() != port {
		return near
	}
	return far
}
