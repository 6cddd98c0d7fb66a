package nft

import (
	"encoding/binary"
	"testing"
	"unicode"
)

// attr makes a netlink attribute, its length rounded up.
func attr(kind int, data ...byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(attrHeader+len(data)))
	b = binary.NativeEndian.AppendUint16(b, uint16(kind))
	b = append(b, data...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func join(parts ...[]byte) []byte {
	var out []byte
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

func be32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

// expression makes one as a rule has it.
func expression(name string, parts ...[]byte) []byte {
	return attr(1, join(attr(1, append([]byte(name), 0)...), attr(2, join(parts...)...))...)
}

// Whatever stands for a rule, a set and its elements: no panic, no expression
// left out, and text that is harmless and bounded.
func FuzzDecode(f *testing.F) {
	port := expression("payload", attr(1, be32(1)...), attr(2, be32(2)...), attr(3, be32(2)...), attr(4, be32(2)...))
	is := expression("cmp", attr(1, be32(1)...), attr(2, be32(0)...), attr(3, attr(1, 0, 80)...))
	verdict := expression("immediate", attr(1, be32(0)...), attr(2, attr(2, join(attr(1, be32(0xfffffffd)...), attr(2, 'x', 0))...)...))
	lookup := expression("lookup", attr(1, 's', 0), attr(2, be32(8)...), attr(3, be32(0)...))
	limit := expression("limit", attr(1, 0, 0, 0, 0, 0, 0, 0, 3), attr(2, 0, 0, 0, 0, 0, 0, 0, 1), attr(3, be32(5)...))
	dynset := expression("dynset", attr(1, 's', 0), attr(3, be32(0)...), attr(4, be32(1)...), attr(7, join(attr(1, append([]byte("limit"), 0)...), attr(2))...))
	mask := expression("bitwise", attr(1, be32(1)...), attr(2, be32(1)...), attr(3, be32(4)...), attr(4, attr(1, 255, 0, 0, 0)...), attr(5, attr(1, 0, 0, 0, 0)...))
	nat := expression("nat", attr(1, be32(1)...), attr(2, be32(2)...), attr(3, be32(1)...), attr(5, be32(9)...))
	xtMatch := expression("match", attr(1, append([]byte("multiport"), 0)...), attr(2, be32(1)...), attr(3, make([]byte, 48)...))
	set := join(attr(2, 's', 0), attr(3, be32(4)...), attr(4, be32(7<<6|13)...), attr(5, be32(8)...), attr(9, attr(2, join(attr(1, attr(1, be32(4)...)...), attr(1, attr(1, be32(2)...)...))...)...))
	elem := attr(1, join(attr(1, attr(1, 192, 0, 2, 1, 0, 80, 0, 0)...), attr(10, attr(1, 192, 0, 2, 9, 0, 90, 0, 0)...), attr(6, 0, 3, 'h', 'i', 0))...)
	for _, exprs := range [][]byte{join(port, is, verdict), join(port, lookup), join(port, mask, is, limit, verdict), join(port, dynset), join(port, nat), join(xtMatch, expression("osf")), expression("\x1b[2J")} {
		f.Add(uint8(FamilyINet), attr(4, exprs...), set, elem)
	}
	f.Fuzz(func(t *testing.T, family uint8, rule, set, elems []byte) {
		table := &Table{Family: Family(family)}
		s := decodeSet(set)
		var ends []bool
		for _, v := range attrs(elems).all() {
			e, last := decodeElement(v)
			s.Elements, ends = append(s.Elements, e), append(ends, last)
		}
		if s.Interval {
			s.Elements = intervals(s.Elements, ends)
		}
		for _, e := range s.Elements {
			if !e.CatchAll && len(e.Key) > 0 && e.End == nil && !s.Contains(e, e.Key) {
				t.Errorf("an element does not contain its key %x", e.Key)
			}
		}
		table.Sets = []*Set{s}
		r := decodeRule(rule)
		n := 0
		for kind := range attrs(rule).get(4).all() {
			if kind == 1 {
				n++
			}
		}
		if len(r.Exprs) != n {
			t.Errorf("%d expressions of %d", len(r.Exprs), n)
		}
		text := table.Text(r)
		if len(text) > 1100 {
			t.Errorf("%d bytes of text", len(text))
		}
		for _, x := range text {
			if !unicode.IsPrint(x) {
				t.Errorf("%q is in the text", x)
			}
		}
	})
}
