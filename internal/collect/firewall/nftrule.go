package firewall

import (
	"encoding/binary"
	"slices"

	"github.com/tcpwhy/tcpwhy/internal/nft"
)

// registers are those of one run of a rule, by words of four bytes, with what
// is known of them.
type registers struct {
	b, known [64]byte
	why      [16]string
}

func (r *registers) load(at, n int) value {
	lo, hi := min(4*at, len(r.b)), min(4*at+n, len(r.b))
	v := value{b: slices.Clone(r.b[lo:hi]), known: slices.Clone(r.known[lo:hi])}
	for i := lo; i < hi; i++ {
		if r.known[i] != 0xff && r.why[i/4] != "" {
			v.why = r.why[i/4]
			break
		}
	}
	return v
}

// store puts a value into the register; the rest of its last word is zero, as
// the kernel has it.
func (r *registers) store(at int, v value) {
	for i := range (len(v.b) + 3) &^ 3 {
		to := 4*at + i
		if to >= len(r.b) {
			return
		}
		r.b[to], r.known[to] = 0, 0xff
		if i < len(v.b) {
			r.b[to], r.known[to] = v.b[i]&v.known[i], v.known[i]
		}
		r.why[to/4] = v.why
	}
}

// run is one way through the expressions of a rule.
type run struct {
	packet
	regs  registers
	conds []condition
}

// nftRule runs the expressions of one rule.
type nftRule struct {
	w   *walker
	r   *ruleRef
	at  place
	out []branch
}

func (w *walker) execNFT(r *ruleRef, p packet, at place) []branch {
	x := &nftRule{w: w, r: r, at: at}
	runs := []run{{packet: p}}
	for _, e := range r.nft.Exprs {
		var on []run
		for _, m := range runs {
			on = append(on, x.step(m, e)...)
			if len(on)+len(x.out) > maxBranches {
				return anything(r, p)
			}
		}
		if runs = on; len(runs) == 0 {
			break
		}
	}
	for _, m := range runs {
		x.leave(m, branch{})
	}
	return x.out
}

// leave ends a run: b says how.
func (x *nftRule) leave(m run, b branch) {
	b.packet, b.conds = m.packet, m.conds
	x.out = append(x.out, b)
}

// match goes on if the answer is yes, else ends the rule; where it is not known,
// both.
func (x *nftRule) match(m run, a answer, why string) []run {
	switch a {
	case yes:
		return []run{m}
	case maybe:
		m.conds = append(slices.Clone(m.conds), condition{why, x.r})
		x.leave(m, branch{})
		return []run{m}
	}
	x.leave(m, branch{})
	return nil
}

// step runs one expression. What it returns goes on with the next; what ended
// the rule is in x.out.
func (x *nftRule) step(m run, e nft.Expr) []run {
	switch e := e.(type) {
	case *nft.Immediate:
		if e.Verdict != nil {
			return x.verdict(m, e.Verdict)
		}
		m.regs.store(e.Dst, exact(e.Data))
	case *nft.Cmp:
		v := m.regs.load(e.Src, len(e.Data))
		return x.match(m, compare(v, e.Op, e.Data), v.why)
	case *nft.Range:
		v := m.regs.load(e.Src, len(e.From))
		a := both(compare(v, nft.CmpGte, e.From), compare(v, nft.CmpLte, e.To))
		return x.match(m, a.not(e.Not), v.why)
	case *nft.Bitwise:
		m.regs.store(e.Dst, bitwise(m.regs.load(e.Src, e.Len), e))
	case *nft.Byteorder:
		m.regs.store(e.Dst, swap(m.regs.load(e.Src, e.Len), e.Size))
	case *nft.Payload:
		return x.payload(m, e)
	case *nft.Meta:
		return x.meta(m, e)
	case *nft.Ct:
		return x.ct(m, e)
	case *nft.Lookup:
		return x.lookup(m, e)
	case *nft.Fib:
		m.regs.store(e.Dst, x.w.fib(&m.packet, e))
	case *nft.Numgen:
		m.regs.store(e.Dst, unknown(4, nft.ExprText(e)))
	case *nft.Hash:
		m.regs.store(e.Dst, unknown(4, nft.ExprText(e)))
	case *nft.Rt:
		m.regs.store(e.Dst, unknown(16, "the route of the packet"))
	case *nft.Socket:
		m.regs.store(e.Dst, unknown(8, "the socket that the packet belongs to"))
		return x.match(m, maybe, "the socket that the packet belongs to")
	case *nft.Exthdr:
		return x.exthdr(m, e)
	case *nft.Counter, *nft.Last, *nft.Log, *nft.Plain:
	case *nft.NoTrack:
		if m.track == trackNone {
			m.track = trackUntracked
		}
	case *nft.Reject:
		do, with := rejection(e, m.v6)
		x.leave(m, branch{do: do, with: with})
		return nil
	case *nft.Translate, *nft.Redirect, *nft.Masquerade:
		return x.translate(m, e)
	case *nft.Queue:
		x.leave(m, branch{do: doGive, with: "the program that reads the queue"})
		return nil
	case *nft.SYNProxyTo:
		if m.synAck {
			return []run{m}
		}
		x.leave(m, branch{do: doGive, with: "the SYN proxy, which answers itself"})
		return nil
	case *nft.ObjRef:
		return x.object(m, e)
	case *nft.XT:
		return x.xt(m, e)
	case *nft.TProxy:
		m.conds = append(slices.Clone(m.conds), condition{"the local socket that tproxy finds", x.r})
		x.leave(m, branch{})
		x.leave(m, branch{do: doGive, with: "the local socket that tproxy finds"})
		return nil
	case *nft.Unknown:
		return x.mystery(m, "the expression "+nft.Printable(e.Name))
	case *nft.Dynset:
		m.touched |= x.w.prog.bit(x.r.chain.table.Lookup(e.Set))
		return x.match(m, maybe, nft.ExprText(e))
	default: // limit, quota, connlimit
		return x.match(m, maybe, nft.ExprText(e))
	}
	return []run{m}
}

// mystery is an expression that may do anything: match or not, end the packet.
func (x *nftRule) mystery(m run, what string) []run {
	m.conds = append(slices.Clone(m.conds), condition{what, x.r})
	x.leave(m, branch{})
	x.leave(m, branch{do: doGive, with: what})
	m.regs = registers{}
	for i := range m.regs.why {
		m.regs.why[i] = what
	}
	return []run{m}
}

func (x *nftRule) verdict(m run, v *nft.Verdict) []run {
	const codeMask = 0xff
	if v.Code >= 0 {
		switch v.Code & codeMask {
		case nft.VerdictDrop:
			x.leave(m, branch{do: doDrop})
		case nft.VerdictAccept:
			x.leave(m, branch{do: doAccept})
		default: // queue, and what no rule has
			x.leave(m, branch{do: doGive, with: "the program that reads the queue"})
		}
		return nil
	}
	switch v.Code {
	case nft.VerdictJump, nft.VerdictGoto:
		to := x.w.prog.jump(x.r.chain, v.Chain)
		if to == nil {
			return x.mystery(m, "the chain "+nft.Printable(v.Chain)+", which is not there")
		}
		do := doJump
		if v.Code == nft.VerdictGoto {
			do = doGoto
		}
		x.leave(m, branch{do: do, chain: to})
		return nil
	case nft.VerdictReturn:
		x.leave(m, branch{do: doReturn})
		return nil
	case nft.VerdictContinue:
		return []run{m}
	}
	x.leave(m, branch{})
	return nil
}

// rejection is what a reject answers with; nft_reject.c.
func rejection(e *nft.Reject, v6 bool) (action, string) {
	if e.Type == nft.RejectReset {
		return doReset, "tcp reset"
	}
	return doReject, e.Answer(v6)
}

// compare is a Cmp; numbers are in network order.
func compare(v value, op nft.CmpOp, data []byte) answer {
	switch op {
	case nft.CmpEq:
		return v.equal(data)
	case nft.CmpNeq:
		return v.equal(data).not(true)
	}
	low, high := v.bounds()
	c := func(b []byte) int { return slices.Compare(b, data[:min(len(data), len(b))]) }
	// Of all values that it can be, how many hold?
	var atLow, atHigh bool
	switch op {
	case nft.CmpLt:
		atLow, atHigh = c(low) < 0, c(high) < 0
	case nft.CmpLte:
		atLow, atHigh = c(low) <= 0, c(high) <= 0
	case nft.CmpGt:
		atLow, atHigh = c(low) > 0, c(high) > 0
	case nft.CmpGte:
		atLow, atHigh = c(low) >= 0, c(high) >= 0
	}
	if atLow == atHigh {
		return answerOf(atLow)
	}
	return maybe
}

func bitwise(v value, e *nft.Bitwise) value {
	out := value{b: make([]byte, len(v.b)), known: make([]byte, len(v.b)), why: v.why}
	switch e.Op {
	case nft.BitwiseMaskXor:
		for i := range min(len(v.b), len(e.Mask)) {
			out.b[i] = v.b[i]&e.Mask[i] ^ e.Xor[i]
			out.known[i] = v.known[i] | ^e.Mask[i]
		}
	default: // shifts work on 32-bit words in the machine's order, with carry
		if !v.whole() || len(v.b) > 4 || len(v.b) == 0 {
			return unknown(len(v.b), v.why)
		}
		var w [4]byte
		copy(w[:], v.b)
		n := binary.NativeEndian.Uint32(w[:])
		if e.Op == nft.BitwiseLeft {
			n <<= e.Shift
		} else {
			n >>= e.Shift
		}
		binary.NativeEndian.PutUint32(w[:], n)
		return exact(slices.Clone(w[:len(v.b)]))
	}
	return out
}

func swap(v value, size int) value {
	one := uint16(1)
	if b := binary.NativeEndian.AppendUint16(nil, one); b[0] == 0 {
		return v // the machine's order is that of the network
	}
	out := value{b: slices.Clone(v.b), known: slices.Clone(v.known), why: v.why}
	for i := 0; i+size <= len(v.b); i += size {
		slices.Reverse(out.b[i : i+size])
		slices.Reverse(out.known[i : i+size])
	}
	return out
}

func (x *nftRule) payload(m run, e *nft.Payload) []run {
	var head value
	switch e.Base {
	case nft.PayloadNetwork:
		head = m.network()
	case nft.PayloadTransport:
		head = m.transport()
	default:
		if e.Src >= 0 {
			return []run{m}
		}
		m.regs.store(e.Dst, unknown(e.Len, "the link layer header"))
		return []run{m}
	}
	transport := e.Base == nft.PayloadTransport
	if e.Src >= 0 {
		x.write(&m, e, transport)
		return []run{m}
	}
	v := unknown(e.Len, m.why(transport, e.Offset))
	for i := range e.Len {
		if at := e.Offset + i; at < len(head.b) {
			v.set(i, head.b[at], head.known[at])
			if head.known[at] != 0xff {
				v.why = m.why(transport, at)
			}
		}
	}
	m.regs.store(e.Dst, v)
	return []run{m}
}

// exthdr: a SYN without fragments has no IPv6 extension header and no IPv4
// option; which TCP options it has is not known.
func (x *nftRule) exthdr(m run, e *nft.Exthdr) []run {
	const tcpOption = 1 // NFT_EXTHDR_OP_TCPOPT
	if e.Op == tcpOption || e.Dst < 0 {
		if e.Dst >= 0 {
			m.regs.store(e.Dst, unknown(max(e.Len, 1), "the TCP options"))
			if e.Present {
				return []run{m}
			}
		}
		return x.match(m, maybe, "the TCP options")
	}
	if e.Present {
		m.regs.store(e.Dst, exact([]byte{0}))
		return []run{m}
	}
	return x.match(m, no, "")
}

func (x *nftRule) object(m run, e *nft.ObjRef) []run {
	kind := e.Type
	if e.Map != "" {
		return x.match(m, maybe, "the object in the map "+nft.Printable(e.Map))
	}
	switch kind {
	case nft.ObjectCounter, nft.ObjectCtHelper, nft.ObjectCtTimeout, nft.ObjectSecmark, nft.ObjectCtExpect:
		return []run{m}
	case nft.ObjectSYNProxy:
		return x.step(m, &nft.SYNProxyTo{})
	}
	return x.match(m, maybe, nft.ExprText(e))
}
