package nft

import (
	"bytes"
	"encoding/binary"
	"iter"
	"strings"
)

// attrs is a run of netlink attributes, struct nlattr. Its numbers are in
// network order, as everywhere in nftables.
type attrs []byte

const (
	attrHeader = 4
	attrType   = 0x3fff // NLA_TYPE_MASK
)

// all gives the attributes one by one, and ends at the first that is not whole.
func (a attrs) all() iter.Seq2[int, attrs] {
	return func(yield func(int, attrs) bool) {
		for len(a) >= attrHeader {
			n := int(binary.NativeEndian.Uint16(a))
			if n < attrHeader || n > len(a) {
				return
			}
			if !yield(int(binary.NativeEndian.Uint16(a[2:]))&attrType, a[attrHeader:n]) {
				return
			}
			a = a[min((n+3)&^3, len(a)):]
		}
	}
}

// get returns the first attribute of a type, nil if there is none.
func (a attrs) get(kind int) attrs {
	for k, v := range a.all() {
		if k == kind {
			if v == nil {
				v = attrs{}
			}
			return v
		}
	}
	return nil
}

// has says whether there is an attribute of the type.
func (a attrs) has(kind int) bool { return a.get(kind) != nil }

// num is the number in the attribute, of its own width; 0 without one.
func (a attrs) num(kind int) uint64 {
	v := a.get(kind)
	switch {
	case len(v) >= 8:
		return binary.BigEndian.Uint64(v)
	case len(v) >= 4:
		return uint64(binary.BigEndian.Uint32(v))
	case len(v) >= 2:
		return uint64(binary.BigEndian.Uint16(v))
	case len(v) == 1:
		return uint64(v[0])
	}
	return 0
}

func (a attrs) u32(kind int) uint32 { return uint32(a.num(kind)) }

func (a attrs) int(kind int) int { return int(int32(a.num(kind))) }

func (a attrs) text(kind int) string { return cstring(a.get(kind)) }

// reg is the register in the attribute, by 32-bit words from 0.
func (a attrs) reg(kind int) int {
	if !a.has(kind) {
		return noRegister
	}
	switch r := a.int(kind); {
	case r >= 1 && r <= 4: // NFT_REG_1 to NFT_REG_4, of 16 bytes
		return (r - 1) * 4
	case r >= 8 && r < 24: // NFT_REG32_00 to NFT_REG32_15
		return r - 8
	}
	return noRegister
}

// data is the value in a nested nft_data attribute.
func (a attrs) data(kind int) []byte {
	const value = 1 // NFTA_DATA_VALUE
	return bytes.Clone(a.get(kind).get(value))
}

// verdict is the verdict in a nested nft_data attribute, nil if it has none.
func (a attrs) verdict(kind int) *Verdict {
	const verdict, code, chain = 2, 1, 2 // NFTA_DATA_VERDICT, NFTA_VERDICT_*
	v := a.get(kind).get(verdict)
	if !v.has(code) {
		return nil
	}
	return &Verdict{Code: int32(v.u32(code)), Chain: v.text(chain)}
}

// cstring is the text up to the first zero byte.
func cstring(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\x00")
	return s
}
