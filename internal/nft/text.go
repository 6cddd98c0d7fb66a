package nft

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tcpwhy/tcpwhy/internal/xtables"
)

// maxShown bounds the elements of an anonymous set that are printed.
const maxShown = 64

// Text is the rule as "nft list ruleset" prints it, counters, comment and all,
// without the handle. Matches and targets of iptables in it are as "iptables -S"
// prints them, what is not understood is `unknown expression "name"`. Control
// characters are made visible and no more than 1 KiB is given.
func (t *Table) Text(r *TableRule) string {
	p := &printer{table: t, family: t.Family}
	for i, e := range r.Exprs {
		p.next = nil
		if i+1 < len(r.Exprs) {
			p.next = r.Exprs[i+1]
		}
		p.expr(e)
	}
	s := p.String()
	if r.Comment != "" {
		s = strings.TrimSpace(s + " comment " + quoted(r.Comment))
	}
	return xtables.Bound(s)
}

// ExprText is one expression alone, as nft names it: "limit rate 10/second".
func ExprText(e Expr) string {
	p := &printer{table: &Table{}}
	p.expr(e)
	if len(p.out) > 0 {
		return p.String()
	}
	for _, o := range p.regs {
		if o.text != "" {
			return o.text
		}
	}
	return "an expression"
}

// operand is what a register holds, as text.
type operand struct {
	text string
	kind uint32
	data []byte // of a constant
	mask []byte // of the bitwise operation behind it
	// fields are those of a load that spans several.
	fields []field
}

// piece is a part of the rule as text. One that only settles a protocol goes
// when a later one implies it.
type piece struct {
	text   string
	proto  int // transport protocol that it settles
	family Family
	from   int // register of an open range: "x >= 1" that may become "x 1-2"
	lower  []byte
}

type printer struct {
	table  *Table
	family Family // what is known of the family of the packet
	proto  int
	regs   [16]operand
	out    []piece
	next   Expr
}

func (p *printer) String() string {
	var words []string
	for _, o := range p.out {
		words = append(words, o.text)
	}
	return strings.Join(words, " ")
}

func (p *printer) say(format string, args ...any) {
	p.out = append(p.out, piece{text: fmt.Sprintf(format, args...), from: noRegister})
}

func (p *printer) set(at int, o operand) {
	if at >= 0 && at < len(p.regs) {
		p.regs[at] = o
	}
}

func (p *printer) get(at int) operand {
	if at < 0 || at >= len(p.regs) {
		return operand{}
	}
	return p.regs[at]
}

// value is a register as the right side of something of a type.
func (p *printer) value(at int, kind uint32) string {
	o := p.get(at)
	if o.data != nil {
		return literal(kind, o.data)
	}
	return o.text
}

func (p *printer) v6() bool { return p.family == FamilyIP6 }

func (p *printer) expr(e Expr) {
	switch e := e.(type) {
	case *Immediate:
		if e.Verdict != nil {
			p.say("%s", e.Verdict)
			return
		}
		p.set(e.Dst, operand{data: e.Data})
	case *Cmp:
		p.cmp(e)
	case *Range:
		o := p.get(e.Src)
		op := " "
		if e.Not {
			op = " != "
		}
		p.say("%s%s%s", o.text, op, interval(o.kind, e.From, e.To))
	case *Bitwise:
		p.bitwise(e)
	case *Byteorder:
		o := p.get(e.Src)
		if native(o.kind) {
			o.kind = swapped(o.kind)
		}
		p.set(e.Dst, o)
	case *Payload:
		p.payload(e)
	case *Meta:
		n, ok := metaNames[e.Key]
		if !ok {
			n.name, n.kind = fmt.Sprintf("meta key %d", e.Key), typeHost
		}
		if e.Src >= 0 {
			name := n.name
			if !strings.HasPrefix(name, "meta ") {
				name = "meta " + name
			}
			p.say("%s set %s", name, p.value(e.Src, n.kind))
			return
		}
		p.set(e.Dst, operand{text: n.name, kind: n.kind})
	case *Ct:
		p.ct(e)
	case *Lookup:
		p.lookup(e)
	case *Dynset:
		p.dynset(e)
	case *Fib:
		p.fib(e)
	case *Numgen:
		s := "numgen inc"
		if e.Random {
			s = "numgen random"
		}
		p.set(e.Dst, operand{text: s + " mod " + modulus(e.Modulus, e.Offset), kind: typeHost})
	case *Hash:
		s := "symhash mod " + modulus(e.Modulus, e.Offset)
		if !e.Symmetric {
			s = "jhash " + p.value(e.Src, typeInteger) + " mod " + strconv.FormatUint(uint64(e.Modulus), 10)
			if e.Seed != 0 {
				s += fmt.Sprintf(" seed %#x", e.Seed)
			}
			if e.Offset != 0 {
				s += fmt.Sprintf(" offset %d", e.Offset)
			}
		}
		p.set(e.Dst, operand{text: s, kind: typeHost})
	case *Rt:
		names := []string{"rt classid", "rt ip nexthop", "rt ip6 nexthop", "rt mtu", "rt ipsec"}
		kinds := []uint32{typeHost, typeIP, typeIP6, typeHost, typeBoolean}
		if e.Key >= 0 && e.Key < len(names) {
			p.set(e.Dst, operand{text: names[e.Key], kind: kinds[e.Key]})
		}
	case *Socket:
		names := []string{"socket transparent", "socket mark", "socket wildcard", "socket cgroupv2 level " + strconv.Itoa(e.Level)}
		kinds := []uint32{typeHost, typeMark, typeHost, typeHost}
		if e.Key >= 0 && e.Key < len(names) {
			p.set(e.Dst, operand{text: names[e.Key], kind: kinds[e.Key]})
		}
	case *Exthdr:
		p.exthdr(e)
	default:
		p.statement(e)
	}
}

// swapped is the type in the network's order.
func swapped(kind uint32) uint32 {
	if kind == typeHost {
		return typeInteger
	}
	return kind | typeSwapped
}

// typeSwapped marks a type whose numbers were turned to the network's order, as
// they are for comparisons by size.
const typeSwapped = 1 << 8

func modulus(n, offset uint32) string {
	s := strconv.FormatUint(uint64(n), 10)
	if offset != 0 {
		s += fmt.Sprintf(" offset %d", offset)
	}
	return s
}

// cmpWords are the operators as nft prints them; eq is understood.
var cmpWords = [...]string{"", "!= ", "< ", "<= ", "> ", ">= "}

func (p *printer) cmp(e *Cmp) {
	o := p.get(e.Src)
	if len(o.fields) > 0 && e.Op == CmpEq {
		at := 0
		for _, f := range o.fields {
			if at+f.len > len(e.Data) {
				break
			}
			p.say("%s %s", f, literal(f.kind, e.Data[at:at+f.len]))
			at += f.len
		}
		return
	}
	// A range is two comparisons.
	if n := len(p.out); e.Op == CmpLte && n > 0 && p.out[n-1].from == e.Src {
		last := &p.out[n-1]
		last.text, last.from = o.text+" "+interval(o.kind, last.lower, e.Data), noRegister
		return
	}
	out := piece{from: noRegister}
	switch {
	case o.mask != nil:
		out.text = masked(o, e)
	case o.kind == typeTCPFlag && e.Op == CmpEq:
		out.text = o.text + " == " + literal(o.kind, e.Data)
	default:
		out.text = o.text + " " + cmpWords[e.Op] + literal(o.kind, e.Data)
	}
	out.text = strings.TrimSpace(out.text) // of an unknown expression there is no left side
	if e.Op == CmpGte {
		out.from, out.lower = e.Src, e.Data
	}
	if e.Op == CmpEq && len(e.Data) > 0 {
		switch o.text {
		case "meta l4proto", "ip protocol", "ip6 nexthdr":
			out.proto = int(e.Data[0])
			p.proto = out.proto
		case "meta nfproto":
			out.family = Family(e.Data[0])
			p.family = out.family
		case "meta protocol", "ether type":
			switch number(typeEtherType, e.Data) {
			case 0x0800:
				out.family, p.family = FamilyIP, FamilyIP
			case 0x86dd:
				out.family, p.family = FamilyIP6, FamilyIP6
			}
		}
	}
	p.out = append(p.out, out)
}

// masked is a comparison of a value with a mask before it.
func masked(o operand, e *Cmp) string {
	zero := !slices.ContainsFunc(e.Data, func(b byte) bool { return b != 0 })
	if o.kind == typeIP || o.kind == typeIP6 || o.kind == typeEther {
		if n, ok := prefixLen(o.mask); ok && e.Op <= CmpNeq {
			return o.text + " " + cmpWords[e.Op] + literal(o.kind, e.Data) + "/" + strconv.Itoa(n)
		}
	}
	if o.kind == typeDSCP && len(e.Data) == 1 && o.mask[0] == 0xfc { // the upper six bits of the byte
		return o.text + " " + cmpWords[e.Op] + literal(typeDSCP, []byte{e.Data[0] >> 2})
	}
	if masks[o.kind] != nil {
		switch {
		case zero && e.Op == CmpNeq:
			return o.text + " " + literal(o.kind, o.mask)
		case zero && e.Op == CmpEq:
			return o.text + " ! " + literal(o.kind, o.mask)
		}
		value := literal(o.kind, e.Data)
		if zero {
			value = "0x0"
		}
		op := " "
		if e.Op == CmpNeq {
			op = " != "
		}
		return o.text + op + value + " / " + literal(o.kind, o.mask)
	}
	op := "=="
	if e.Op != CmpEq {
		op = strings.TrimSpace(cmpWords[e.Op])
	}
	return fmt.Sprintf("%s & %s %s %s", o.text, hexOf(o.kind, o.mask), op, hexOf(o.kind, e.Data))
}

// hexOf is a number as operands of "&" are printed.
func hexOf(kind uint32, b []byte) string {
	if kind == typeMark || kind == typeIP || kind == typeIP6 {
		return literal(kind, b)
	}
	return fmt.Sprintf("%#x", number(kind, b))
}

func (p *printer) bitwise(e *Bitwise) {
	o := p.get(e.Src)
	switch {
	case e.Op == BitwiseLeft:
		o.text = fmt.Sprintf("%s << %d", o.text, e.Shift)
	case e.Op == BitwiseRight && (o.kind == typeDSCP || strings.HasSuffix(o.text, "dscp")):
		o.mask = nil // the field starts in the middle of a byte
	case e.Op == BitwiseRight:
		o.text = fmt.Sprintf("%s >> %d", o.text, e.Shift)
	case slices.ContainsFunc(e.Xor, func(b byte) bool { return b != 0 }):
		mask, xor := number(o.kind, e.Mask), number(o.kind, e.Xor)
		switch all := uint64(1)<<(8*min(e.Len, 7)) - 1; {
		case mask == all:
			o.text = fmt.Sprintf("%s ^ %s", o.text, hexOf(o.kind, e.Xor))
		case ^mask&all == xor: // what is masked out is set
			o.text = fmt.Sprintf("%s | %s", o.text, hexOf(o.kind, e.Xor))
		default:
			o.text = fmt.Sprintf("%s & %s ^ %s", o.text, hexOf(o.kind, e.Mask), hexOf(o.kind, e.Xor))
		}
	default:
		o.mask = e.Mask
		switch p.next.(type) {
		case *Cmp, *Bitwise, *Lookup:
		default:
			o.text, o.mask = fmt.Sprintf("%s & %s", o.text, hexOf(o.kind, e.Mask)), nil
		}
	}
	p.set(e.Dst, o)
}
