package nft

import (
	"bytes"
	"encoding/binary"
	"math/big"
	"slices"
)

func nativeU32(b []byte) uint32 { return binary.NativeEndian.Uint32(b) }

// hooks by their number: enum nf_inet_hooks, and for netdev and inet's own
// ingress what follows it.
var (
	inetHooks   = []string{"prerouting", "input", "forward", "output", "postrouting", "ingress"}
	netdevHooks = []string{"ingress", "egress"}
	arpHooks    = []string{"input", "output", "forward"}
)

func (f Family) hook(n int) string {
	names := inetHooks
	switch f {
	case FamilyNetdev:
		names = netdevHooks
	case FamilyARP:
		names = arpHooks
	}
	if n < 0 || n >= len(names) {
		return "unknown"
	}
	return names[n]
}

// decodeChain decodes enum nft_chain_attributes.
func decodeChain(f Family, a attrs) *TableChain {
	c := &TableChain{Handle: a.num(2), Name: a.text(3), Drops: a.has(5) && a.int(5) == 0, Type: a.text(7)}
	if h := a.get(4); h != nil { // enum nft_hook_attributes
		c.Hook, c.Priority = f.hook(h.int(1)), h.int(2)
		for _, dev := range h.get(4).all() {
			c.Devices = append(c.Devices, cstring(dev))
		}
		if dev := h.text(3); dev != "" && len(c.Devices) == 0 {
			c.Devices = []string{dev}
		}
	}
	return c
}

// decodeRule decodes enum nft_rule_attributes.
func decodeRule(a attrs) *TableRule {
	return &TableRule{Handle: a.num(3), Exprs: decodeExprs(a.get(4), 0), Comment: comment(a.get(7))}
}

// comment is the comment in the user data of a rule or element, which is nft's
// own: one byte of type, one of length, then the text with a zero byte. Type 0
// is the comment in both; enum nftnl_udata_rule_types of libnftnl.
func comment(u []byte) string {
	for len(u) >= 2 {
		n := min(int(u[1]), len(u)-2)
		if u[0] == 0 {
			return cstring(u[2 : 2+n])
		}
		u = u[2+n:]
	}
	return ""
}

// decodeSet decodes enum nft_set_attributes.
func decodeSet(a attrs) *Set {
	flags := a.int(3)
	s := &Set{
		Name: a.text(2), KeyType: a.u32(4), KeyLen: a.int(5), DataType: a.u32(6),
		Anonymous: flags&0x1 != 0, Interval: flags&0x4 != 0, Map: flags&0x8 != 0, Dynamic: flags&0x20 != 0,
	}
	for _, field := range a.get(9).get(2).all() { // NFTA_SET_DESC_CONCAT
		s.Fields = append(s.Fields, field.int(1))
	}
	return s
}

// decodeElement decodes enum nft_set_elem_attributes. last says that the element
// is the end of an interval and no element of its own.
func decodeElement(a attrs) (e Element, last bool) {
	flags := a.int(3)
	e = Element{
		Key: a.data(1), End: a.data(10), CatchAll: flags&2 != 0,
		Data: a.data(2), Verdict: a.verdict(2),
		Comment: comment(a.get(6)), Timeout: a.has(5),
	}
	if one := a.get(7); one != nil {
		e.Exprs = []Expr{decodeExpr(one, maxNested)}
	} else {
		e.Exprs = decodeExprs(a.get(11), maxNested)
	}
	return e, flags&1 != 0
}

// intervals makes whole intervals of the elements of a set without
// concatenation, where the kernel gives their starts and, as elements of their
// own, the first keys after their ends.
func intervals(elems []Element, ends []bool) []Element {
	type bound struct {
		Element
		end bool
	}
	var (
		sorted []bound
		out    []Element
	)
	for i, e := range elems {
		if e.CatchAll || len(e.End) > 0 {
			out = append(out, e)
			continue
		}
		sorted = append(sorted, bound{e, ends[i]})
	}
	slices.SortStableFunc(sorted, func(a, b bound) int {
		if c := bytes.Compare(a.Key, b.Key); c != 0 {
			return c
		}
		if a.end == b.end {
			return 0
		}
		if a.end {
			return -1
		}
		return 1
	})
	open := -1
	for _, b := range sorted {
		if open >= 0 {
			out[open].End = before(b.Key)
			open = -1
		}
		if !b.end {
			out, open = append(out, b.Element), len(out)
		}
	}
	if open >= 0 {
		out[open].End = bytes.Repeat([]byte{0xff}, len(out[open].Key))
	}
	return out
}

// before is the key one below, as a number in network order.
func before(key []byte) []byte {
	n := new(big.Int).SetBytes(key)
	if n.Sign() > 0 {
		n.Sub(n, big.NewInt(1))
	}
	return n.FillBytes(make([]byte, len(key)))
}

// Contains says whether the element holds for a key.
func (s *Set) Contains(e Element, key []byte) bool {
	if e.CatchAll || len(e.Key) != len(key) {
		return false
	}
	if e.End == nil {
		return bytes.Equal(e.Key, key)
	}
	if len(s.Fields) == 0 || len(e.End) != len(key) {
		return bytes.Compare(e.Key, key) <= 0 && bytes.Compare(key, e.End) <= 0
	}
	at := 0
	for _, n := range s.Fields {
		if n <= 0 || at+n > len(key) {
			return false
		}
		if bytes.Compare(e.Key[at:at+n], key[at:at+n]) > 0 || bytes.Compare(key[at:at+n], e.End[at:at+n]) > 0 {
			return false
		}
		at += (n + 3) &^ 3
	}
	return true
}
