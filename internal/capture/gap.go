package capture

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/tcpwhy/tcpwhy/internal/tcpflow"
)

// Gap is a time of which a file set holds no packets, or not all, though its files
// go on behind it.
type Gap struct {
	// After and Before are the files in Result.Files on either side. Where After is
	// damaged, the gap begins there.
	After, Before int
	// Missing names files that by the numbers of all names belong in between, the
	// first ones of Count; what of a name cannot be known is "*". There is none where
	// only damage tells of the gap.
	Missing []string
	Count   int

	from, to tcpflow.Time
	packets  uint64 // of the set before it
}

// mostMissing bounds Gap.Missing.
const mostMissing = 8

// gaps finds those between files, which are in the order of time, those without
// packets last.
func gaps(files []File) []Gap {
	var order []int
	names := make([]string, len(files))
	for i := range files {
		names[i] = files[i].Name
		if files[i].Packets > 0 {
			order = append(order, i)
		}
	}
	out := missing(files, names, order)
	for i := 1; i < len(order); i++ {
		at := order[i-1]
		if files[at].Damage != nil && !slices.ContainsFunc(out, func(g Gap) bool { return g.After == at }) {
			out = append(out, Gap{After: at, Before: order[i]})
		}
	}
	slices.SortFunc(out, func(a, b Gap) int { return a.After - b.After })
	for i := range out {
		g := &out[i]
		g.from, g.to = files[g.After].Last, files[g.Before].First
		for _, f := range files[:g.Before] {
			g.packets += f.Packets
		}
	}
	return out
}

// missing finds the gaps that names tell of. Where they can be read in several ways
// it is the one by which the least is missing.
func missing(files []File, names []string, order []int) (best []Gap) {
	least := math.MaxInt
	for _, x := range readings(names) {
		jumps, ok := x.jumps(order)
		if !ok || x.clock && x.byClock(files, order) {
			continue
		}
		there := map[int]bool{} // no packet, and nothing wrong with it
		for i := range files {
			if files[i].Packets == 0 && files[i].Damage == nil {
				there[x.numbers[i]] = true
			}
		}
		var out []Gap
		total := 0
		for _, j := range jumps {
			g := Gap{After: order[j.after], Before: order[j.after+1], Count: j.to - j.from}
			for n := range there {
				if n >= j.from && n < j.to {
					g.Count--
				}
			}
			for n := j.from; n < j.to && len(g.Missing) < mostMissing; n++ {
				if !there[n] {
					g.Missing = append(g.Missing, x.name(n))
				}
			}
			if g.Count > 0 {
				out, total = append(out, g), total+g.Count
			}
		}
		if total < least {
			best, least = out, total
		}
	}
	return best
}

// crossed are the gaps behind which a connection goes on; later are those to come.
func crossed(all []Gap, k *kept) (behind, later []Gap) {
	n, _ := slices.BinarySearchFunc(all, k.number, func(g Gap, number uint64) int { return cmp.Compare(g.packets, number) })
	all = all[n:] // it begins before these
	n, _ = slices.BinarySearchFunc(all, tcpflow.Time(k.last)+1, func(g Gap, t tcpflow.Time) int { return cmp.Compare(g.to, t) })
	return all[:n], all[n:]
}

// across tells the connections of a file set kept from the counts on about its gaps:
// which go on behind one, and which were watched only until one began.
func (b *book) across(from [tcpflow.Parts]int, all []Gap) {
	if len(all) == 0 {
		return
	}
	for i := range b.parts {
		p := &b.parts[i]
		for j := from[i]; j < p.kept.n; j++ {
			k := p.kept.at(j)
			behind, later := crossed(all, k)
			k.gap = len(behind) > 0
			if len(later) > 0 {
				k.watched = min(k.watched, max(int64(later[0].from)-k.last, 0))
			}
		}
		// What they show of a server is not known either.
		for s := range p.seen.all() {
			if s.kept != 0 && p.kept.at(int(s.kept)-1).gap && s.class != classOpen && s.class != classOlder {
				s.class, s.syns = classUnclear, 0
			}
		}
	}
}

// missed says why a connection that goes on behind a gap is not judged.
func (r *Result) missed(k *kept) string {
	behind, _ := crossed(r.Gaps, k)
	g := &behind[0]
	after, before := strconv.QuoteToASCII(r.Files[g.After].Name), strconv.QuoteToASCII(r.Files[g.Before].Name)
	switch g.Count {
	case 0:
		return fmt.Sprintf("in the middle of it %s is damaged, and the capture goes on in %s", after, before)
	case 1:
		return "in the middle of it a file of the set is missing: " + strconv.QuoteToASCII(g.Missing[0])
	}
	return fmt.Sprintf("in the middle of it %d files of the set are missing, between %s and %s", g.Count, after, before)
}
