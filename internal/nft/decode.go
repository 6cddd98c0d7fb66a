package nft

import (
	"bytes"
	"slices"
)

// maxNested bounds expressions within expressions: a set operation may carry a
// few, and those none.
const maxNested = 2

// decodeExprs decodes a list of expressions. One that makes no sense becomes an
// Unknown: it is never left out.
func decodeExprs(list attrs, depth int) []Expr {
	const elem = 1 // NFTA_LIST_ELEM
	var out []Expr
	for kind, v := range list.all() {
		if kind == elem {
			out = append(out, decodeExpr(v, depth))
		}
	}
	return out
}

func decodeExpr(a attrs, depth int) Expr {
	const nameAttr, dataAttr = 1, 2 // NFTA_EXPR_NAME, NFTA_EXPR_DATA
	name, d := a.text(nameAttr), a.get(dataAttr)
	if decode := decoders[name]; decode != nil {
		if e := decode(d); e != nil {
			return e
		}
	}
	switch name {
	case "dynset":
		return decodeDynset(d, depth)
	case "dup", "flow_offload", "secmark":
		return &Plain{name}
	}
	return &Unknown{name}
}

// decoders by the name of the expression. They return nil for what is not whole.
var decoders = map[string]func(attrs) Expr{
	"immediate": func(d attrs) Expr {
		e := &Immediate{Dst: d.reg(1), Data: d.data(2), Verdict: d.verdict(2)}
		if e.Verdict == nil && (e.Dst < 0 || len(e.Data) == 0) {
			return nil
		}
		return e
	},
	"cmp": func(d attrs) Expr {
		e := &Cmp{Src: d.reg(1), Op: CmpOp(d.int(2)), Data: d.data(3)}
		return whole(e, e.Src >= 0 && len(e.Data) > 0 && e.Op >= CmpEq && e.Op <= CmpGte)
	},
	"range": func(d attrs) Expr {
		e := &Range{Src: d.reg(1), Not: d.int(2) == 1, From: d.data(3), To: d.data(4)}
		return whole(e, e.Src >= 0 && len(e.From) > 0 && len(e.From) == len(e.To))
	},
	"bitwise": func(d attrs) Expr {
		e := &Bitwise{Src: d.reg(1), Dst: d.reg(2), Len: d.int(3), Mask: d.data(4), Xor: d.data(5), Op: BitwiseOp(d.int(6))}
		if shift := d.data(7); len(shift) == 4 {
			e.Shift = int(nativeU32(shift))
		}
		// Later operations (and, or, xor of two registers) have other operands.
		known := e.Op == BitwiseMaskXor && len(e.Mask) == e.Len && len(e.Xor) == e.Len ||
			(e.Op == BitwiseLeft || e.Op == BitwiseRight) && e.Shift > 0 && e.Shift < 32
		return whole(e, e.Src >= 0 && e.Dst >= 0 && e.Len > 0 && known)
	},
	"byteorder": func(d attrs) Expr {
		e := &Byteorder{Src: d.reg(1), Dst: d.reg(2), HostToNet: d.int(3) == 1, Len: d.int(4), Size: d.int(5)}
		return whole(e, e.Src >= 0 && e.Dst >= 0 && e.Len > 0 && slices.Contains([]int{2, 4, 8}, e.Size))
	},
	"payload": func(d attrs) Expr {
		e := &Payload{Dst: d.reg(1), Base: d.int(2), Offset: d.int(3), Len: d.int(4), Src: d.reg(5)}
		return whole(e, (e.Dst >= 0) != (e.Src >= 0) && e.Len > 0 && e.Len <= 64 && e.Offset >= 0)
	},
	"meta": func(d attrs) Expr {
		e := &Meta{Dst: d.reg(1), Key: d.int(2), Src: d.reg(3)}
		return whole(e, (e.Dst >= 0) != (e.Src >= 0))
	},
	"ct": func(d attrs) Expr {
		e := &Ct{Dst: d.reg(1), Key: d.int(2), Dir: -1, Src: d.reg(4)}
		if d.has(3) {
			e.Dir = d.int(3)
		}
		return whole(e, (e.Dst >= 0) != (e.Src >= 0))
	},
	"lookup": func(d attrs) Expr {
		e := &Lookup{Set: d.text(1), Src: d.reg(2), Dst: d.reg(3), Verdicts: d.has(3) && d.int(3) == 0, Not: d.int(5)&1 != 0}
		return whole(e, e.Src >= 0 && e.Set != "")
	},
	"limit": func(d attrs) Expr {
		return &Limit{Rate: d.num(1), Unit: d.num(2), Burst: d.u32(3), Bytes: d.int(4) == 1, Not: d.int(5)&1 != 0}
	},
	"quota": func(d attrs) Expr {
		return &Quota{Bytes: d.num(1), Over: d.int(2)&1 != 0, Used: d.num(4)}
	},
	"connlimit": func(d attrs) Expr { return &Connlimit{Count: d.u32(1), Over: d.int(2)&1 != 0} },
	"counter":   func(d attrs) Expr { return &Counter{Bytes: d.num(1), Packets: d.num(2)} },
	"last":      func(attrs) Expr { return &Last{} },
	"objref": func(d attrs) Expr {
		return &ObjRef{Type: d.int(1), Name: d.text(2), Src: d.reg(3), Map: d.text(4)}
	},
	"log": func(d attrs) Expr {
		e := &Log{Group: -1, Prefix: d.text(2), Snaplen: d.u32(3), QueueMax: d.int(4), Level: -1, Flags: d.u32(6)}
		if d.has(1) {
			e.Group = d.int(1)
		}
		if d.has(5) {
			e.Level = d.int(5)
		}
		return e
	},
	"reject": func(d attrs) Expr { return &Reject{Type: d.int(1), Code: d.int(2)} },
	"nat": func(d attrs) Expr {
		return &Translate{Dest: d.int(1) == 1, Family: Family(d.int(2)), AddrMin: d.reg(3), AddrMax: d.reg(4), PortMin: d.reg(5), PortMax: d.reg(6), Flags: d.u32(7)}
	},
	"masq":   func(d attrs) Expr { return &Masquerade{Flags: d.u32(1), PortMin: d.reg(2), PortMax: d.reg(3)} },
	"redir":  func(d attrs) Expr { return &Redirect{PortMin: d.reg(1), PortMax: d.reg(2), Flags: d.u32(3)} },
	"tproxy": func(d attrs) Expr { return &TProxy{Family: Family(d.int(1)), Addr: d.reg(2), Port: d.reg(3)} },
	"fib": func(d attrs) Expr {
		e := &Fib{Dst: d.reg(1), Result: d.int(2), Flags: d.u32(3)}
		return whole(e, e.Dst >= 0)
	},
	"numgen": func(d attrs) Expr {
		e := &Numgen{Dst: d.reg(1), Modulus: d.u32(2), Random: d.int(3) == 1, Offset: d.u32(4)}
		return whole(e, e.Dst >= 0)
	},
	"hash": func(d attrs) Expr {
		e := &Hash{Src: d.reg(1), Dst: d.reg(2), Len: d.int(3), Modulus: d.u32(4), Seed: d.u32(5), Offset: d.u32(6), Symmetric: d.int(7) == 1}
		return whole(e, e.Dst >= 0)
	},
	"rt": func(d attrs) Expr {
		e := &Rt{Dst: d.reg(1), Key: d.int(2)}
		return whole(e, e.Dst >= 0)
	},
	"socket": func(d attrs) Expr {
		e := &Socket{Key: d.int(1), Dst: d.reg(2), Level: d.int(3)}
		return whole(e, e.Dst >= 0)
	},
	"exthdr": func(d attrs) Expr {
		return &Exthdr{Dst: d.reg(1), Type: d.int(2), Offset: d.int(3), Len: d.int(4), Present: d.int(5)&1 != 0, Op: d.int(6), Src: d.reg(7)}
	},
	"notrack": func(attrs) Expr { return &NoTrack{} },
	"synproxy": func(d attrs) Expr {
		return &SYNProxyTo{MSS: d.int(1), Wscale: d.int(2), Flags: d.u32(3)}
	},
	"queue": func(d attrs) Expr {
		return &Queue{Num: d.int(1), Total: d.int(2), Flags: d.int(3), Src: d.reg(4)}
	},
	"match":  func(d attrs) Expr { return xt(d, false) },
	"target": func(d attrs) Expr { return xt(d, true) },
}

// whole is e, or nil when a part of it is missing.
func whole(e Expr, ok bool) Expr {
	if !ok {
		return nil
	}
	return e
}

// xt decodes what nft_compat wraps; its attributes have the same numbers for
// matches and targets.
func xt(d attrs, target bool) Expr {
	return &XT{Target: target, Name: d.text(1), Revision: d.int(2), Info: bytes.Clone(d.get(3))}
}

func decodeDynset(d attrs, depth int) Expr {
	e := &Dynset{Set: d.text(1), Op: d.int(3), Key: d.reg(4), Data: d.reg(5), Timeout: d.num(6), Not: d.int(9)&1 != 0}
	if depth >= maxNested {
		return &Unknown{"dynset"}
	}
	if one := d.get(7); one != nil { // NFTA_DYNSET_EXPR
		e.Exprs = []Expr{decodeExpr(one, depth+1)}
	} else {
		e.Exprs = decodeExprs(d.get(10), depth+1) // NFTA_DYNSET_EXPRESSIONS
	}
	return e
}
