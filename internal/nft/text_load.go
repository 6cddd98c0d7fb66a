package nft

import (
	"fmt"
	"slices"
	"strings"
)

func (p *printer) payload(e *Payload) {
	if e.Base == PayloadNetwork && p.family != FamilyIP6 && p.family != FamilyIP {
		// The offset tells, where nothing else has.
		if e.Len == 16 {
			p.family = FamilyIP6
		} else {
			p.family = FamilyIP
		}
	}
	fields := headerFields(e.Base, p.proto, p.v6())
	i := slices.IndexFunc(fields, func(f field) bool { return f.at == e.Offset })
	o := operand{text: fmt.Sprintf("@%s,%d,%d", []string{"ll", "nh", "th", "ih"}[e.Base&3], 8*e.Offset, 8*e.Len), kind: typeInteger}
	switch {
	case i < 0:
	case fields[i].len == e.Len:
		o.text, o.kind = fields[i].String(), fields[i].kind
	case fields[i].len > e.Len && (fields[i].kind == typeIP || fields[i].kind == typeIP6):
		// The start of an address: a prefix of whole bytes.
		o.text, o.kind = fields[i].String(), fields[i].kind
		p.imply(e.Base)
		p.set(e.Dst, operand{text: o.text, kind: typePrefix | o.kind})
		return
	case fields[i].len < e.Len:
		// Several fields at once.
		n := 0
		for j := i; j < len(fields) && n < e.Len && fields[j].at == e.Offset+n; j++ {
			n += fields[j].len
			o.fields = append(o.fields, fields[j])
		}
		if n != e.Len {
			o.fields = nil
		}
	}
	if i >= 0 {
		p.imply(e.Base)
	}
	if e.Src >= 0 {
		p.say("%s set %s", o.text, p.value(e.Src, o.kind))
		return
	}
	p.set(e.Dst, o)
}

// typePrefix marks the first bytes of an address, of which only those that are
// compared were loaded.
const typePrefix = 1 << 9

// imply takes back what the use of a header makes plain: "meta l4proto tcp"
// before "tcp dport".
func (p *printer) imply(base int) {
	if base == PayloadTransport && headerFields(base, p.proto, false)[0].header != "th" {
		p.out = slices.DeleteFunc(p.out, func(o piece) bool { return o.proto != 0 && o.proto == p.proto })
	}
	if base == PayloadNetwork || base == PayloadTransport && (p.proto == protoICMP || p.proto == protoICMP6) {
		p.implyFamily()
	}
}

// implyFamily takes back "meta nfproto" and its like.
func (p *printer) implyFamily() {
	p.out = slices.DeleteFunc(p.out, func(o piece) bool { return o.family != 0 })
}

func (p *printer) ct(e *Ct) {
	n, ok := ctNames[e.Key]
	if !ok {
		n.name, n.kind = fmt.Sprintf("key %d", e.Key), typeHost
	}
	if e.Src >= 0 {
		p.say("ct %s set %s", n.name, p.value(e.Src, n.kind))
		return
	}
	s := "ct "
	if e.Dir >= 0 {
		s += literal(typeCtDir, []byte{byte(e.Dir)}) + " "
	}
	if (e.Key == CtSrc || e.Key == CtDst) && p.family == FamilyIP6 {
		n.kind = typeIP6
	}
	p.set(e.Dst, operand{text: s + n.name, kind: n.kind})
}

func (p *printer) fib(e *Fib) {
	var parts []string
	for _, f := range []struct {
		bit  uint32
		name string
	}{{FibSaddr, "saddr"}, {FibDaddr, "daddr"}, {FibMark, "mark"}, {FibIif, "iif"}, {FibOifFlag, "oif"}} {
		if e.Flags&f.bit != 0 {
			parts = append(parts, f.name)
		}
	}
	s := "fib " + strings.Join(parts, " . ")
	o := operand{text: s + " oif", kind: typeIfindex}
	switch e.Result {
	case FibOifname:
		o = operand{text: s + " oifname", kind: typeIfname}
	case FibAddrtype:
		o = operand{text: s + " type", kind: typeFibType}
	}
	if e.Flags&FibPresent != 0 {
		o.kind = typeBoolean
	}
	p.set(e.Dst, o)
}

func (p *printer) exthdr(e *Exthdr) {
	const ipv6, tcpOption = 0, 1
	var s string
	kind := uint32(typeInteger)
	switch e.Op {
	case tcpOption:
		s = fmt.Sprintf("tcp option %d", e.Type)
		if name, ok := map[int]string{2: "maxseg", 3: "window", 4: "sack-perm", 5: "sack", 8: "timestamp"}[e.Type]; ok {
			s = "tcp option " + name
		}
		if e.Type == 2 && e.Offset == 2 && !e.Present {
			s += " size"
		} else if e.Type == 3 && !e.Present {
			s += " count"
		}
	case ipv6:
		p.implyFamily()
		s = fmt.Sprintf("exthdr %d", e.Type)
		if name, ok := map[int]string{0: "hbh", 43: "rt", 44: "frag", 60: "dst", 135: "mh"}[e.Type]; ok {
			s = "exthdr " + name
			if !e.Present {
				s = name + " " + map[bool]string{true: "type", false: "nexthdr"}[e.Type == 43 && e.Offset == 2]
			}
		}
	default:
		s = fmt.Sprintf("ip option %d", e.Type)
	}
	if e.Present {
		kind = typeBoolean
	}
	if e.Src >= 0 {
		p.say("%s set %s", s, p.value(e.Src, typeInteger))
		return
	}
	if e.Dst < 0 {
		p.say("reset %s", s)
		return
	}
	p.set(e.Dst, operand{text: s, kind: kind})
}
