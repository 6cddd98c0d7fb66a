package fwtrace

import (
	"net/netip"
	"slices"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/flow"
	"github.com/tcpwhy/tcpwhy/internal/nfttrace"
)

// maxPackets bounds the packets that are kept.
const maxPackets = 1 << 10

// book puts the messages about packets together. A packet meets several base
// chains, and the first message in each tells its headers.
type book struct {
	clock   collect.Clock
	client  netip.Addr
	port    uint16
	judge   *ruleBook
	names   *interfaceNames
	packets []*packet
	latest  map[segment]*packet
	met     map[uint32]visit // by the ID of messages
	omitted int
}

// segment tells TCP segments apart. Addresses are not in it: NAT changes them.
type segment struct {
	v6       bool
	seq, ack uint32
	flags    byte
}

// visit is a packet in a base chain.
type visit struct {
	packet *packet
	base   nfttrace.Chain
}

// packet is one on its way through the chains.
type packet struct {
	at        time.Duration
	kind      string
	src, dst  netip.AddrPort // as first seen
	now       netip.AddrPort // where it goes
	in, out   string
	local     bool // it was made here
	forwarded bool
	bases     []nfttrace.Chain
	dropped   bool
	outcome   outcome        // of the drop
	accepted  *evidence.Rule // the last rule that accepted
	policy    *evidence.Rule // the last policy that did
	nat       *evidence.Rule // the last rule with NAT met
	natRule   *evidence.Rule // the one that changed the destination
	waits     string         // for a verdict from elsewhere
}

func (b *book) add(e nfttrace.Event) {
	if e.Packet != nil {
		b.enter(e)
	}
	v, ok := b.met[e.ID]
	if !ok || v.packet.dropped {
		return
	}
	p := v.packet
	switch e.Verdict {
	case nfttrace.Drop:
		p.dropped, p.outcome = true, b.judge.drop(e, v.base)
	case nfttrace.Accept:
		if e.Kind == nfttrace.KindPolicy {
			p.policy = b.judge.rule(e, v.base).rule
			break
		}
		switch r := b.judge.rule(e, v.base); {
		case r.nat:
			p.nat = r.rule
		default:
			p.accepted = r.rule
		}
	case nfttrace.Queue:
		p.waits = "a program decides, by queue (" + place(e) + ")"
	case nfttrace.Stolen:
		p.waits = "taken over by the rule (" + place(e) + ")"
	}
}

// enter notes that a packet has come to a base chain.
func (b *book) enter(e nfttrace.Event) {
	delete(b.met, e.ID) // of another packet before
	kind := kindOf(e.Packet.Flags)
	if kind == "" {
		return
	}
	key := segment{e.V6, e.Packet.Seq, e.Packet.Ack, e.Packet.Flags}
	p := b.latest[key]
	if p == nil || !p.continues(e) {
		if !b.wanted(kind, e.Packet) {
			return
		}
		if len(b.packets) == maxPackets {
			b.omitted++
			return
		}
		if b.met == nil {
			b.met, b.latest = make(map[uint32]visit), make(map[segment]*packet)
		}
		p = &packet{
			at: b.clock.Now(), kind: kind, src: e.Packet.Src, dst: e.Packet.Dst, now: e.Packet.Dst,
			local: e.In == 0,
		}
		b.packets = append(b.packets, p)
		b.latest[key] = p
	}
	if p.now != e.Packet.Dst {
		p.now, p.natRule = e.Packet.Dst, p.nat
	}
	p.bases, p.waits = append(p.bases, e.Chain), ""
	if e.In != 0 && p.in == "" {
		p.in = b.names.name(e.In)
	}
	if e.Out != 0 {
		p.out = b.names.name(e.Out)
	}
	p.forwarded = p.forwarded || e.In != 0 && e.Out != 0 && !p.local
	if len(b.met) > maxPackets {
		clear(b.met)
	}
	b.met[e.ID] = visit{p, e.Chain}
}

// continues says whether the event is about the packet, farther on: one that is
// sent again starts from the beginning.
func (p *packet) continues(e nfttrace.Event) bool {
	return !p.dropped && !slices.Contains(p.bases, e.Chain) &&
		(p.src == e.Packet.Src || p.now == e.Packet.Dst)
}

// wanted says whether a packet belongs to what is watched.
func (b *book) wanted(kind string, p *nfttrace.Packet) bool {
	client, server := p.Src, p.Dst
	if kind != "syn" {
		client, server = server, client
	}
	return (b.port == 0 || server.Port() == b.port) && (!b.client.IsValid() || client.Addr() == b.client)
}

// kindOf is the place in the handshake by the flags of RFC 9293; "" when the
// segment is not of it.
func kindOf(flags byte) string {
	const syn, rst, ack = 0x02, 0x04, 0x10
	switch {
	case flags&rst != 0:
		return "rst"
	case flags&(syn|ack) == syn:
		return "syn"
	case flags&(syn|ack) == syn|ack:
		return "syn-ack"
	}
	return ""
}

// verdicts are the different ends of the packets. Where messages were lost a
// packet may have been dropped after what is known of it.
func (b *book) verdicts(lost bool) (list []evidence.RuleVerdict) {
	for _, p := range b.packets {
		v := p.verdict()
		if lost && v.Verdict == "accept" ||
			slices.ContainsFunc(list, func(o evidence.RuleVerdict) bool { return same(o, v) }) {
			continue
		}
		list = append(list, v)
	}
	return list
}

func (p *packet) verdict() evidence.RuleVerdict {
	v := evidence.RuleVerdict{
		At: p.at, Packet: p.kind, Tuple: flow.Tuple{Local: p.src, Remote: p.dst},
		In: p.in, Out: p.out, Forwarded: p.forwarded, Verdict: "accept",
	}
	if p.now != p.dst {
		v.NAT, v.NATRule = p.now, p.natRule
	}
	switch {
	case p.dropped:
		v.Verdict, v.Rule, v.With, v.Depends = p.outcome.verdict, p.outcome.rule, p.outcome.with, p.outcome.depends
	case p.waits != "":
		v.Verdict, v.Depends = "depends", []string{p.waits}
	case p.accepted != nil:
		v.Rule = p.accepted
	default:
		v.Rule = p.policy
	}
	return v
}

// same compares everything but the time.
func same(a, b evidence.RuleVerdict) bool {
	return a.Packet == b.Packet && a.Tuple == b.Tuple && a.In == b.In && a.Out == b.Out &&
		a.Verdict == b.Verdict && a.With == b.With && a.NAT == b.NAT && a.Forwarded == b.Forwarded &&
		slices.Equal(a.Depends, b.Depends) && sameRule(a.Rule, b.Rule) && sameRule(a.NATRule, b.NATRule)
}

func sameRule(a, b *evidence.Rule) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Family == b.Family && a.Table == b.Table && a.Chain == b.Chain && a.Handle == b.Handle && a.Policy == b.Policy && a.Text == b.Text
}
