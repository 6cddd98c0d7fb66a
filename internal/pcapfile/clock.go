package pcapfile

import "math/bits"

// Resolution is that of times, as in if_tsresol of pcapng: units of 10 to the minus
// so many seconds or, with the highest bit set, of 2 to the minus so many.
type Resolution uint8

// Resolutions of classic captures; Microseconds is that of pcapng, too, where
// nothing else is said.
const (
	Microseconds Resolution = 6
	Nanoseconds  Resolution = 9

	binarySeconds Resolution = 1 << 7
)

// finestBinary is the finest resolution of powers of 2 that nanoseconds can hold:
// 2^-30 seconds are less than one.
const finestBinary = 29

// written is the resolution in which a time kept in nanoseconds is written: the same
// unless it is finer than they are.
func (r Resolution) written() Resolution {
	if r&binarySeconds != 0 && r&^binarySeconds <= finestBinary {
		return r
	}
	return min(r, Nanoseconds)
}

// clock converts time stamps, of 10^-res or, if binary, 2^-res seconds.
type clock struct {
	res    uint8
	binary bool
	offset int64 // s
}

// resolution is that of the time stamps.
func (c *clock) resolution() Resolution {
	r := Resolution(c.res)
	if c.binary {
		r |= binarySeconds
	}
	return r
}

// ns gives nanoseconds since 1970; what does not fit wraps.
func (c *clock) ns(hi, lo uint32) int64 {
	t := uint64(hi)<<32 | uint64(lo)
	var ns uint64
	switch {
	case c.binary && c.res >= 64:
	case c.binary:
		high, low := bits.Mul64(t, 1e9)
		ns = high<<(64-c.res) | low>>c.res
	case c.res == 6:
		ns = t * 1000
	case c.res <= 9:
		ns = t * pow10[9-c.res]
	case c.res <= 28:
		ns = t / pow10[c.res-9]
	}
	return int64(ns) + c.offset*1e9
}

var pow10 = func() (p [20]uint64) {
	p[0] = 1
	for i := 1; i < len(p); i++ {
		p[i] = p[i-1] * 10
	}
	return
}()

// units are the time stamp of which clock.ns, without an offset, makes a number of
// nanoseconds since 1970. The resolution is one that written gives. A time before
// 1970, for which pcapng has no time stamp, wraps and is exact in powers of 10 only.
func (r Resolution) units(ns int64) uint64 {
	if r&binarySeconds == 0 {
		unit := int64(pow10[Nanoseconds-r])
		if n := ns % unit; n < 0 { // before 1970
			ns -= unit
		}
		return uint64(ns / unit)
	}
	// clock.ns leaves out what is less than a nanosecond, so that the next whole
	// unit is the one that it came from.
	high, low := bits.Mul64(uint64(ns), 1<<(r&^binarySeconds))
	low, carry := bits.Add64(low, 1e9-1, 0)
	q, _ := bits.Div64(high+carry, low, 1e9) // high is less than 2^29
	return q
}
