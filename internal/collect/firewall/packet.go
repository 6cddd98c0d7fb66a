package firewall

import (
	"encoding/binary"
	"net/netip"
)

// Names of what may not be known of a packet, as Depends shows them.
const (
	whySrc   = "the client's address"
	whyDst   = "the destination address"
	whySport = "the client's port"
	whyDport = "the destination port"
	whyIn    = "the interface it comes in by"
	whyOut   = "the interface it leaves by"
	whyMark  = "the mark of the packet"
	whyCt    = "the state in connection tracking"
	whyOther = "a field of the packet"
)

// track is how connection tracking sees the packet.
type track uint8

const (
	trackNone      track = iota // it has not seen it yet
	trackNew                    // first of a connection
	trackReply                  // answer of a connection
	trackInvalid                // of no connection
	trackUntracked              // a rule excepted it
	trackAny                    // not known
)

// packet is one packet of a handshake and what the rules did to it. It is
// comparable: two that are equal meet the same fate from here on.
type packet struct {
	v6, synAck bool
	src, dst   netip.Addr // not valid: not known
	sport      int        // -1: not known
	dport      int
	in, out    string // "": not known, unless noIn or noOut
	noIn       bool   // there is none: the packet is made here
	noOut      bool   // not routed yet, or for this host
	track      track
	mark       mark
	ctMark     mark
	dnatDone   bool // the choice of a destination is made, or made not to be
	snatDone   bool
	nat        netip.AddrPort
	natRule    *ruleRef
	touched    uint64 // sets that rules added this packet to or took it from, program.sets
	local      answer // whether the destination is this host; set by NAT
}

// mark is a packet mark of which some bits may not be known.
type mark struct{ v, known uint32 }

func (m mark) value(why string) value {
	v := value{b: make([]byte, 4), known: make([]byte, 4), why: why}
	binary.NativeEndian.PutUint32(v.b, m.v)
	binary.NativeEndian.PutUint32(v.known, m.known)
	return v
}

func markOf(v value) mark {
	return mark{binary.NativeEndian.Uint32(v.b), binary.NativeEndian.Uint32(v.known)}
}

// and and xor compute with a constant.
func (m mark) and(mask uint32) mark { return mark{m.v & mask, m.known | ^mask} }
func (m mark) xor(o mark) mark      { return mark{m.v ^ o.v, m.known & o.known} }

// is compares the masked mark.
func (m mark) is(v, mask uint32) answer {
	if (m.v^v)&mask&m.known != 0 || v&^mask != 0 {
		return no
	}
	if mask&^m.known != 0 {
		return maybe
	}
	return yes
}

// network is the packet's IP header as far as it is known.
func (p *packet) network() value {
	const tcp = 6
	if p.v6 {
		v := unknown(40, whyOther)
		v.set(0, 0x60, 0xf0) // version
		v.set(6, tcp, 0xff)  // next header
		v.addr(8, p.src)
		v.addr(24, p.dst)
		return v
	}
	v := unknown(20, whyOther)
	v.set(0, 0x45, 0xff) // version, no options
	v.set(6, 0, 0xbf)    // fragment: all but don't fragment
	v.set(7, 0, 0xff)
	v.set(9, tcp, 0xff)
	v.addr(12, p.src)
	v.addr(16, p.dst)
	return v
}

// transport is the TCP header as far as it is known; RFC 9293 section 3.1.
func (p *packet) transport() value {
	const syn, ack, ecn = 0x02, 0x10, 0xc0
	v := unknown(20, whyOther)
	v.port(0, p.sport)
	v.port(2, p.dport)
	flags := byte(syn)
	if p.synAck {
		flags |= ack
	}
	v.set(13, flags, 0xff&^byte(ecn)) // it may ask for ECN
	return v
}

func (v value) set(at int, b, known byte) { v.b[at], v.known[at] = b, known }

func (v value) addr(at int, a netip.Addr) {
	if a.IsValid() {
		for i, b := range a.AsSlice() {
			v.set(at+i, b, 0xff)
		}
	}
}

func (v value) port(at, port int) {
	if port >= 0 {
		v.set(at, byte(port>>8), 0xff)
		v.set(at+1, byte(port), 0xff)
	}
}

// why names what is not known of a part of the IP or TCP header.
func (p *packet) why(transport bool, at int) string {
	switch {
	case transport && at < 2:
		return p.side(whySport, "the server's port")
	case transport && at < 4:
		return p.side(whyDport, whySport)
	case transport && at == 13:
		return "the flags ECE and CWR"
	case transport:
		return whyOther
	}
	src, dst := 12, 16
	if p.v6 {
		src, dst = 8, 24
	}
	switch {
	case at >= dst:
		return p.side(whyDst, whySrc)
	case at >= src:
		return p.side(whySrc, "the server's address")
	}
	return whyOther
}

// side chooses by the direction of the packet.
func (p *packet) side(syn, synAck string) string {
	if p.synAck {
		return synAck
	}
	return syn
}

// states is what "ct state" loads, NF_CT_STATE_BIT and relatives.
func (p *packet) states() value {
	const invalid, established, fresh, untracked = 1, 2, 8, 64
	one := func(bits uint32) value { return exact(binary.NativeEndian.AppendUint32(nil, bits)) }
	switch p.track {
	case trackNew:
		return one(fresh)
	case trackReply:
		return one(established)
	case trackUntracked:
		return one(untracked)
	case trackInvalid:
		return one(invalid)
	case trackNone:
		// What comes over the loopback was tracked on its way out.
		if p.in != "lo" && (p.in != "" || p.noIn) {
			return one(invalid)
		}
	}
	return unknown(4, whyCt)
}
