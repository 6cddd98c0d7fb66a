package diagnose

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/flow"
)

// watched derives what the host's kernel did with the client's attempts. What was
// seen is about an attempt if its four-tuple is the client's. What was not seen
// proves something only where the host was watched while the attempts were made,
// all of it, and nothing else could have been meant.
func (o *observer) watched(v *hostView) {
	w := v.h.Watched
	if w == nil || !v.main.Local.IsValid() {
		return
	}
	s := v.seen(w)
	complete := v.live && w.Capture != nil && w.Capture.Dropped == 0 && w.Omitted == 0 && (!v.translated.IsValid() || w.OthersOmitted == 0)
	led, in, refused := v.ledTo(complete)
	switch {
	case s.syn && v.translated.IsValid():
		o.add(evidence.HostSYN, evidence.Yes, "host", s.synAt, "the SYN arrives at %s%s, by NAT from %v: its sequence number and options are those of ours", v.name(), on(s.in), v.translated)
	case s.syn:
		o.add(evidence.HostSYN, evidence.Yes, "host", s.synAt, "the SYN arrives at %s%s", v.name(), on(s.in))
	case led.IsValid():
		how := "sends no SYN-ACK"
		if refused {
			how = "answers with RST"
		}
		o.add(evidence.HostSYN, evidence.OtherPort, "host", w.From, "NAT before %s leads the SYN to %v%s, which %s", v.name(), led, on(in), how)
		return
	case complete && (s.others || !s.anybody) && v.h.LinksRead && !slices.ContainsFunc(v.h.Programs, func(p evidence.Program) bool { return p.Kind == "xdp" }):
		// An XDP program drops before a capture sees the packet.
		o.add(evidence.HostSYN, evidence.No, "host", w.From, "no SYN to port %d arrived at %s while it was watched", v.port, v.name())
		return
	}
	if !s.syn {
		o.dropReason(v, s, false)
		return
	}
	if s.synACK {
		o.add(evidence.HostSYNACK, evidence.Yes, "host", s.synAt, "a SYN-ACK leaves %s", v.name())
	} else if complete {
		o.add(evidence.HostSYNACK, evidence.No, "host", s.synAt, "no SYN-ACK leaves %s", v.name())
	}
	if s.ack { // the capture has no bare ACKs that could be missing
		o.add(evidence.HostACK, evidence.Yes, "host", s.synAt, "the ACK of the SYN-ACK arrives at %s", v.name())
	}
	if s.rst {
		o.add(evidence.HostReset, evidence.Yes, "host", s.synAt, "a RST leaves %s", v.name())
	} else if complete {
		o.add(evidence.HostReset, evidence.No, "host", s.synAt, "no RST leaves %s", v.name())
	}
	o.dropReason(v, s, complete)
	o.accepted(v, s)
}

func on(name string) string {
	if name == "" {
		return ""
	}
	return " on " + name
}

// hostSighting is what was seen on the host of the client's attempts.
type hostSighting struct {
	syn, synACK, ack, rst bool
	others                bool // other attempts of the client arrived as it sent them: no NAT hides this one
	anybody               bool // anybody's SYN arrived
	established, accepted bool
	synAt, establishedAt  time.Duration
	in                    string
	drops                 []*evidence.KernelEvent // of segments of the handshakes
}

func (v *hostView) seen(w *evidence.Watched) hostSighting {
	s := hostSighting{anybody: w.OtherSYNs > 0}
	arrived := func(at time.Duration, in string) {
		if !s.syn {
			s.syn, s.synAt, s.in = true, at, in
		}
	}
	for i := range w.Packets {
		p := &w.Packets[i]
		if p.Kind != "tcp" {
			continue
		}
		syn, ack := hasFlag(p.Flags, "SYN"), hasFlag(p.Flags, "ACK")
		switch {
		case !p.Outgoing && p.Dst.Port() == v.port && syn && !ack:
			s.anybody = true
			s.others = s.others || slices.ContainsFunc(v.tuples, func(t flow.Tuple) bool { return sameEnd(t.Local, p.Src) })
			if v.ours(p.Src, p.Dst) {
				arrived(p.At, p.Interface)
			}
		case p.Outgoing && v.ours(p.Dst, p.Src) && syn && ack:
			s.synACK = true
		case p.Outgoing && v.ours(p.Dst, p.Src) && hasFlag(p.Flags, "RST"):
			s.rst = true
		}
	}
	for i := range w.Events {
		e := &w.Events[i]
		// A SYN that asks for ECN has other flags, too.
		syn := hasFlag(e.Flags, "SYN") && !hasFlag(e.Flags, "ACK") && !e.FromServer
		if e.Server.Port() == v.port && syn {
			s.anybody = true
		}
		if !v.ours(e.Client, e.Server) {
			continue
		}
		switch e.Kind {
		case evidence.EventDrop:
			if e.Reason == "OTHERHOST" {
				continue // it came by, for another machine
			}
			if syn {
				arrived(e.At, e.Interface)
			}
			if syn || e.FromServer && hasFlag(e.Flags, "SYN") && hasFlag(e.Flags, "ACK") {
				s.drops = append(s.drops, e)
			}
		case evidence.EventEstablished:
			arrived(e.At, e.Interface)
			s.synACK, s.ack = true, true
			s.established, s.establishedAt = true, e.At
		case evidence.EventAccepted:
			s.accepted = true
		case evidence.EventRetransSYNACK:
			arrived(e.At, e.Interface)
			s.synACK = true
		}
	}
	return s
}

// ours says whether the ends are those of the attempt. The host may have the port
// under another address, where NAT before it rewrites that.
func (v *hostView) ours(client, server netip.AddrPort) bool {
	end := v.main.Local
	if v.translated.IsValid() {
		end = v.translated
	}
	return server.Port() == v.port && sameEnd(end, client)
}

// sameEnd compares two ends without zones and the IPv4-mapped form.
func sameEnd(a, b netip.AddrPort) bool {
	return a.Port() == b.Port() && a.Addr().Unmap().WithZone("") == b.Addr().Unmap().WithZone("")
}

// dropReasons turns the kernel's words (enum skb_drop_reason in
// include/net/dropreason-core.h) into answers.
var dropReasons = map[string]evidence.Value{
	"NETFILTER_DROP":      evidence.DropNetfilter,
	"NETFILTER_INGRESS":   evidence.DropNetfilter,
	"NO_SOCKET":           evidence.DropNoSocket,
	"IP_RPFILTER":         evidence.DropRPFilter,
	"IP_OUTNOROUTES":      evidence.DropNoRoute,
	"XDP":                 evidence.DropPacketFilter,
	"TC_INGRESS":          evidence.DropPacketFilter,
	"TC_EGRESS":           evidence.DropPacketFilter,
	"SOCKET_FILTER":       evidence.DropPacketFilter,
	"BPF_CGROUP_EGRESS":   evidence.DropPacketFilter,
	"TCP_MINTTL":          evidence.DropMinTTL,
	"IP_INADDRERRORS":     evidence.DropNotLocal,
	"IP_LOCALNET":         evidence.DropNotLocal,
	"TCP_LISTEN_OVERFLOW": evidence.DropQueue,
	"LISTEN_OVERFLOW":     evidence.DropQueue,
	"TCP_REQQFULLDROP":    evidence.DropQueue,
	"TCP_MD5NOTFOUND":     evidence.DropMD5,
	"TCP_MD5UNEXPECTED":   evidence.DropMD5,
	"TCP_MD5FAILURE":      evidence.DropMD5,
	"TCP_AONOTFOUND":      evidence.DropMD5,
	"TCP_AOUNEXPECTED":    evidence.DropMD5,
	"TCP_AOKEYNOTFOUND":   evidence.DropMD5,
	"TCP_AOFAILURE":       evidence.DropMD5,
	"TCP_AUTH_HDR":        evidence.DropMD5,
	"BPF_CGROUP_INGRESS":  evidence.DropPacketFilter,
	"IP_INNOROUTES":       evidence.DropNotLocal,
}

// dropPlaces tell where the kernel gives no reason: functions of net/core/dev.c.
var dropPlaces = map[string]evidence.Value{
	"do_xdp_generic":            evidence.DropPacketFilter,
	"netif_receive_generic_xdp": evidence.DropPacketFilter,
}

// dropReason: the reason that the kernel gives for the drop of a SYN or SYN-ACK;
// none where it was asked and gave none. Where it gives several, or one that is
// not known here, no fact comes of it.
func (o *observer) dropReason(v *hostView, s hostSighting, complete bool) {
	w := v.h.Watched
	if len(s.drops) == 0 {
		if complete && w.Traced && w.Lost == 0 {
			o.add(evidence.HostDrop, evidence.DropNone, "host", w.From, "the kernel of %s dropped no SYN of ours, nor its answer", v.name())
		}
		return
	}
	var val evidence.Value
	for _, e := range s.drops {
		r, ok := dropReasons[strings.TrimPrefix(e.Reason, "SKB_DROP_REASON_")]
		if e.Reason == "NOT_SPECIFIED" {
			r, ok = dropPlaces[e.Location]
		}
		if !ok || val != "" && val != r {
			return
		}
		val = r
	}
	e := s.drops[0]
	what := "SYN"
	if e.FromServer {
		what = "SYN-ACK"
	}
	o.add(evidence.HostDrop, val, "host", e.At, "the kernel of %s dropped %s of ours: %s%s%s", v.name(), plural(len(s.drops), what, what+"s"), e.Reason, in(e.Location), on(e.Interface))
}

func in(location string) string {
	if location == "" {
		return ""
	}
	return " in " + location
}

// accepted: did a process take a connection of ours? That none did is said only
// where one that is complete had the time.
func (o *observer) accepted(v *hostView, s hostSighting) {
	const enough = 500 * time.Millisecond
	w, t := v.h.Watched, v.h.Sockets
	switch {
	case s.accepted:
		o.add(evidence.HostAccepted, evidence.Yes, "host", s.establishedAt, "the application on %s accepted the connection", v.name())
	case s.established && w.Lost == 0 && t != nil && t.Unaccepted > 0 && w.Until-s.establishedAt > enough:
		o.add(evidence.HostAccepted, evidence.No, "host", s.establishedAt, "%s after the handshake the connection still waits in the accept queue of %s", ms(w.Until-s.establishedAt), v.name())
	}
}
