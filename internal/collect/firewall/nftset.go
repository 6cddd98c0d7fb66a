package firewall

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/tcpwhy/tcpwhy/internal/nft"
)

// lookup is a set, a map or a verdict map.
func (x *nftRule) lookup(m run, e *nft.Lookup) []run {
	set := x.r.chain.table.Lookup(e.Set)
	if set == nil {
		return x.mystery(m, "the set "+nft.Printable(e.Set)+", which is not there")
	}
	key := m.regs.load(e.Src, set.KeyLen)
	if m.touched&x.w.prog.bit(set) != 0 { // it may be in it since
		what := "whether the packet was just added to the set " + nft.Printable(e.Set)
		if e.Verdicts || e.Dst >= 0 {
			return x.mystery(m, what)
		}
		return x.match(m, maybe, what)
	}
	found, miss := find(set, key)
	why := key.why
	if why == "" {
		why = fmt.Sprintf("what is in the set %s", nft.Printable(e.Set))
	}
	if !e.Verdicts && e.Dst < 0 {
		a := maybe
		switch {
		case len(found) == 0:
			a = no
			if miss == maybe {
				a = maybe
			}
		case miss == no && !slices.ContainsFunc(found, uncertain):
			a = yes
		}
		return x.match(m, a.not(e.Not), why)
	}
	if set.Truncated && miss != no {
		return x.mystery(m, why)
	}
	// A map: every datum that it may be, and none.
	var (
		on    []run
		forks = m
		seen  [][]byte
	)
	if len(found) > 1 || miss != no && len(found) > 0 || slices.ContainsFunc(found, uncertain) {
		forks.conds = append(slices.Clone(m.conds), condition{why, x.r})
	}
	for _, el := range found {
		id := append(bytes.Clone(el.Data), fmt.Sprint(el.Verdict)...)
		if el.Verdict != nil {
			id = fmt.Append(nil, *el.Verdict)
		}
		if slices.ContainsFunc(seen, func(b []byte) bool { return bytes.Equal(b, id) }) {
			continue
		}
		if seen = append(seen, id); len(seen) > maxBranches {
			return x.mystery(m, why)
		}
		one := forks
		if el.Verdict != nil {
			on = append(on, x.verdict(one, el.Verdict)...)
			continue
		}
		one.regs.store(e.Dst, exact(el.Data))
		on = append(on, one)
	}
	if miss != no || slices.ContainsFunc(found, uncertain) {
		x.leave(forks, branch{})
	}
	return on
}

// uncertain says that an element may turn a packet away although its key fits:
// it has a limit or a quota of its own.
func uncertain(e nft.Element) bool {
	return slices.ContainsFunc(e.Exprs, func(e nft.Expr) bool {
		switch e.(type) {
		case *nft.Counter, *nft.Last:
			return false
		}
		return true
	})
}

// find gives the elements that the key may find, and whether it may find none.
func find(set *nft.Set, key value) (found []nft.Element, miss answer) {
	miss = yes
	var rest []nft.Element
	whole := key.whole()
	for _, e := range set.Elements {
		switch {
		case e.CatchAll:
			rest = append(rest, e)
		case whole && set.Contains(e, key.b):
			return []nft.Element{e}, no
		case !whole && mayContain(set, e, key):
			found, miss = append(found, e), maybe
		}
	}
	if set.Truncated {
		miss = maybe
	}
	if miss != no && len(rest) > 0 {
		found, miss = append(found, rest...), no
	}
	return found, miss
}

// mayContain says whether an element may hold for a key of which not all is
// known. It may say yes where that is not so.
func mayContain(set *nft.Set, e nft.Element, key value) bool {
	if len(e.Key) > len(key.b) {
		return false
	}
	if e.End == nil {
		return key.equal(e.Key) != no
	}
	low, high := key.bounds()
	overlaps := func(from, to int) bool {
		return bytes.Compare(low[from:to], e.End[from:to]) <= 0 && bytes.Compare(e.Key[from:to], high[from:to]) <= 0
	}
	if len(e.End) != len(e.Key) {
		return true
	}
	if len(set.Fields) == 0 {
		return overlaps(0, len(e.Key))
	}
	at := 0
	for _, n := range set.Fields {
		if n <= 0 || at+n > len(e.Key) {
			return true
		}
		if !overlaps(at, at+n) {
			return false
		}
		at += (n + 3) &^ 3
	}
	return true
}
