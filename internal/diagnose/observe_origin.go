package diagnose

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/flow"
)

// origin finds out with which address the client's SYNs come to the host. What the
// host says of an address, such as what its rules do with it, is about this client
// only if that address is known to be the one, since NAT may lie between: if a SYN
// was seen there with the client's own end, or one that must be the client's with
// another, or if it was seen to leave with the own one and no router is between.
func (v *hostView) origin() {
	left, _ := synOf(v.sent, v.main)
	if v.arrives() || v.near && left != nil {
		v.client = v.main.Local.Addr().Unmap().WithZone("")
		return
	}
	if v.live && v.h.Watched != nil {
		v.translated = translated(v.sent, v.h.Watched.Packets, v.main, v.port)
		v.client = v.translated.Addr()
	}
}

// arrives says whether any of the client's attempts was seen on the host with the
// end that the client itself has.
func (v *hostView) arrives() bool {
	if !v.main.Local.IsValid() {
		return false
	}
	client := func(end, server netip.AddrPort) bool {
		return server.Port() == v.port && slices.ContainsFunc(v.tuples, func(t flow.Tuple) bool {
			return t.Local.Addr() == v.main.Local.Addr() && sameEnd(t.Local, end)
		})
	}
	if w := v.h.Watched; w != nil {
		if slices.ContainsFunc(w.Packets, func(p evidence.Packet) bool { return p.Kind == "tcp" && !p.Outgoing && client(p.Src, p.Dst) }) ||
			slices.ContainsFunc(w.Events, func(e evidence.KernelEvent) bool { return client(e.Client, e.Server) }) {
			return true
		}
	}
	return v.h.Firewall != nil && slices.ContainsFunc(v.h.Firewall.Traces, func(r evidence.RuleVerdict) bool {
		return r.Packet == "syn" && client(r.Tuple.Local, r.Tuple.Remote)
	})
}

// translated is the end that NAT on the way gave an attempt of the client; zero
// where that is not certain. sent are the client's packets, came the host's, of a
// watch during the attempt.
//
// NAT changes addresses and ports. It leaves alone the initial sequence number
// (netfilter changes it for a SYN proxy only), the window and the options, but for
// the MSS, which may be clamped. That number is one of 2^32 which nobody can guess
// (RFC 6528, section 3), so of the at most 10,000 SYNs of a watch a stranger's has
// it less often than once in 400,000 times, and has the other values then, too,
// only if its system is of the same kind. Whoever else answers in the host's place
// and takes the number over, as the SYN proxy of netfilter does, sends nothing to the
// host before the client has its SYN-ACK, which then has another number than the
// host's: a client that got a SYN-ACK got it from the host only if those are equal.
// Who chooses a number of its own (a relay, a firewall that renumbers) is not found,
// and its absence proves nothing.
func translated(sent, came []evidence.Packet, t flow.Tuple, port uint16) netip.AddrPort {
	syn, answers := synOf(sent, t)
	if syn == nil {
		return netip.AddrPort{}
	}
	var end netip.AddrPort
	for i := range came {
		p := &came[i]
		if p.Outgoing || p.Dst.Port() != port || !sameSYN(syn, p) {
			continue
		}
		if end.IsValid() && !sameEnd(end, p.Src) {
			return netip.AddrPort{} // copied on the way
		}
		end = netip.AddrPortFrom(p.Src.Addr().Unmap().WithZone(""), p.Src.Port())
	}
	for _, seq := range answers {
		if !slices.ContainsFunc(came, func(p evidence.Packet) bool {
			return p.Outgoing && p.Kind == "tcp" && hasFlag(p.Flags, "SYN") && hasFlag(p.Flags, "ACK") && p.Seq == seq && sameEnd(p.Dst, end)
		}) {
			return netip.AddrPort{}
		}
	}
	return end
}

// ledTo is the end at which the SYN of the attempt came to the host although it went
// to another port, and that it was not served there; zero where that was not seen.
// NAT before the host did that: what the host's own rules do comes later.
func (v *hostView) ledTo(complete bool) (to netip.AddrPort, in string, refused bool) {
	syn, _ := synOf(v.sent, v.main)
	if syn == nil || !v.live {
		return to, "", false
	}
	for i := range v.h.Watched.Packets {
		p := &v.h.Watched.Packets[i]
		if !p.Outgoing && p.Dst.Port() != v.port && sameEnd(p.Src, v.main.Local) && sameSYN(syn, p) {
			to, in = netip.AddrPortFrom(p.Dst.Addr().Unmap(), p.Dst.Port()), p.Interface
		}
	}
	answered := false
	for i := range v.h.Watched.Packets {
		p := &v.h.Watched.Packets[i]
		if p.Kind != "tcp" || !p.Outgoing || !sameEnd(p.Src, to) || !sameEnd(p.Dst, v.main.Local) {
			continue
		}
		answered = answered || hasFlag(p.Flags, "SYN")
		refused = refused || hasFlag(p.Flags, "RST") && p.Ack == syn.Seq+1
	}
	if answered || !refused && !complete {
		return netip.AddrPort{}, "", false
	}
	return to, in, refused
}

// synOf is the SYN of an attempt among the client's packets, nil where none was
// seen or it is not one alone, and the numbers of the SYN-ACKs that came for it.
func synOf(sent []evidence.Packet, t flow.Tuple) (syn *evidence.Packet, answers []uint32) {
	for i := range sent {
		switch p := &sent[i]; {
		case p.Kind != "tcp" || !hasFlag(p.Flags, "SYN"):
		case p.Outgoing && !hasFlag(p.Flags, "ACK") && sameEnd(p.Src, t.Local) && sameEnd(p.Dst, t.Remote):
			if syn != nil && syn.Seq != p.Seq {
				return nil, nil // the port was used twice
			}
			syn = p
		case !p.Outgoing && hasFlag(p.Flags, "ACK") && sameEnd(p.Src, t.Remote) && sameEnd(p.Dst, t.Local):
			answers = append(answers, p.Seq)
		}
	}
	if syn != nil && syn.Seq == 0 {
		return nil, nil
	}
	return syn, answers
}

// sameSYN says whether a SYN that came is one that was sent, whatever its ends.
func sameSYN(sent, came *evidence.Packet) bool {
	return came.Kind == "tcp" && hasFlag(came.Flags, "SYN") && !hasFlag(came.Flags, "ACK") &&
		came.Seq == sent.Seq && came.Window == sent.Window && came.PayloadLen == sent.PayloadLen &&
		came.MSS <= sent.MSS && (came.MSS == 0) == (sent.MSS == 0) && withoutMSS(came.Options) == withoutMSS(sent.Options)
}

// withoutMSS are the options but for the MSS.
func withoutMSS(options string) string {
	var rest []string
	for o := range strings.SplitSeq(options, ",") {
		if !strings.HasPrefix(o, "mss ") {
			rest = append(rest, o)
		}
	}
	return strings.Join(rest, ",")
}
