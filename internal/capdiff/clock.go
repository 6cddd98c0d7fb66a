package capdiff

import (
	"math"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/tcpflow"
)

// Clock is how the second file's clock runs by the first one's. A packet cannot
// arrive before it was sent, so that each matched packet bounds the offset: from
// above if it went from the first to the second, from below if it came back.
type Clock struct {
	// Known says that packets in both directions were matched. Without, if
	// Samples are not both 0, Offset is the bound of the one direction, off by the
	// time that packets take.
	Known bool
	// Offset is what the second clock shows more than the first at the time At of
	// the first, and Error how far from the truth that can be at most: half the
	// shortest round trip, where paths are equally long.
	Offset, Error time.Duration
	At            tcpflow.Time
	// Drift is by how many millionths the second clock is faster, DriftError how
	// far off that can be; 0 if the captures are too short to tell.
	Drift, DriftError float64
	// Stepped says that no even clock explains the times: one was set, or packets
	// have wrong times.
	Stepped bool
	// Samples counts the packets matched that the first file's side sent, and
	// the second one's.
	Samples [2]int
}

// at gives the offset, in ns, at a time of the first clock.
func (k *Clock) at(t int64) int64 {
	return int64(k.Offset) + int64(k.Drift*1e-6*float64(t-int64(k.At)))
}

// toFirst turns a time of a file's clock into the first one's.
func (k *Clock) toFirst(file int, t int64) int64 {
	if file == 0 {
		return t
	}
	return t - k.at(t-int64(k.Offset))
}

// slack is the most that a time turned over may be wrong.
func (k *Clock) slack() int64 {
	switch {
	case k.Known && !k.Stepped:
		return int64(k.Error) + 1e6
	case k.Known:
		return int64(k.Error) + 1e8
	}
	return oneWaySlack
}

// oneWaySlack is more than packets take on their way, where it is not known how
// long that is: as queues of slow links have been seen to.
const oneWaySlack = 3e9

// sample is a matched packet: the first clock's time and what the second's shows
// more at the other side.
type sample struct{ at, more int64 }

// buckets is how many spans of time keep their closest bounds.
const buckets = 256

// bounds collects samples.
type bounds struct {
	from, span int64
	up, low    [buckets]sample
	n          [2]int
}

func newBounds(from, to int64) *bounds {
	b := &bounds{from: from, span: max(to-from, 1)}
	for i := range buckets {
		b.up[i].more, b.low[i].more = math.MaxInt64, math.MinInt64
	}
	return b
}

// add takes a packet that was sent by the side of a file.
func (b *bounds) add(file int, s sample) {
	i := min(max(int(float64(s.at-b.from)/float64(b.span)*buckets), 0), buckets-1)
	b.n[file]++
	if file == 0 && s.more < b.up[i].more {
		b.up[i] = s
	}
	if file == 1 && s.more > b.low[i].more {
		b.low[i] = s
	}
}

// clock finds the line between the bounds. A slope is possible if and only if
// every upper bound allows it beside every lower one.
func (b *bounds) clock() Clock {
	k := Clock{Samples: b.n, At: tcpflow.Time(b.from + b.span/2)}
	least := func(slope float64) (int64, bool) {
		v, ok := int64(math.MaxInt64), false
		for _, s := range b.up {
			if s.more != math.MaxInt64 {
				v, ok = min(v, s.more-int64(slope*float64(s.at-int64(k.At)))), true
			}
		}
		return v, ok
	}
	most := func(slope float64) (int64, bool) {
		v, ok := int64(math.MinInt64), false
		for _, s := range b.low {
			if s.more != math.MinInt64 {
				v, ok = max(v, s.more-int64(slope*float64(s.at-int64(k.At)))), true
			}
		}
		return v, ok
	}
	u, haveUp := least(0)
	l, haveLow := most(0)
	switch {
	case haveUp && !haveLow:
		k.Offset = time.Duration(u)
		return k
	case haveLow && !haveUp:
		k.Offset = time.Duration(l)
		return k
	case !haveUp:
		return k
	}
	k.Known = true
	lo, hi := b.slopes()
	slope := 0.0
	switch {
	case lo > hi:
		k.Stepped = true
	case lo > 0 || hi < 0:
		slope = (lo + hi) / 2
		k.Drift, k.DriftError = slope*1e6, (hi-lo)/2*1e6
		u, _ = least(slope)
		l, _ = most(slope)
	default:
		k.DriftError = max(-lo, hi) * 1e6
		if u < l { // even without drift no offset fits
			slope = (lo + hi) / 2
			k.Drift = slope * 1e6
			u, _ = least(slope)
			l, _ = most(slope)
		}
	}
	k.Offset = time.Duration(l + (u-l)/2)
	k.Error = time.Duration(u-l).Abs()/2 + 1
	return k
}

// maxSlope is more than any clock drifts; what is beyond was set.
const maxSlope = 1e-3

// slopes gives the range of slopes that the bounds leave.
func (b *bounds) slopes() (lo, hi float64) {
	lo, hi = -maxSlope, maxSlope
	for _, u := range b.up {
		if u.more == math.MaxInt64 {
			continue
		}
		for _, l := range b.low {
			if l.more == math.MinInt64 {
				continue
			}
			dt, dm := float64(l.at-u.at), float64(l.more-u.more)
			switch {
			case dt > 0:
				lo = max(lo, dm/dt)
			case dt < 0:
				hi = min(hi, dm/dt)
			case dm > 0:
				return 1, -1
			}
		}
	}
	return lo, hi
}

// clocks measures the offset with the packets that are the same beyond doubt.
func (c *comparison) clocks() {
	from, to := int64(c.files[0].First), int64(c.files[0].Last)
	b := newBounds(from, to)
	for _, p := range c.pairs {
		if !p.Compared || p.Flow[0] == nil || p.Flow[1] == nil {
			continue
		}
		for s := range 2 {
			m := newMatching(p, tcpflow.Side(s), nil)
			m.byKey(exact, true)
			for i, j := range m.partner {
				if j < 0 {
					continue
				}
				x, y := m.sent[i].time, m.got[j].time
				if p.File[s] == 1 {
					x, y = y, x
				}
				b.add(p.File[s], sample{x, y - x})
			}
		}
	}
	c.clock = b.clock()
	c.result.Clock = c.clock
}
