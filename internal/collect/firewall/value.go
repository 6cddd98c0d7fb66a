package firewall

// answer is the outcome of a match: it may turn on what is not known.
type answer uint8

const (
	no answer = iota
	maybe
	yes
)

func answerOf(b bool) answer {
	if b {
		return yes
	}
	return no
}

// not turns a match around.
func (a answer) not(inverted bool) answer {
	if !inverted || a == maybe {
		return a
	}
	return yes - a
}

// both is the conjunction.
func both(a, b answer) answer { return min(a, b) }

// either is the disjunction.
func either(a, b answer) answer { return max(a, b) }

// value is bytes of which some bits may not be known; why says what they are.
type value struct {
	b, known []byte
	why      string
}

func exact(b []byte) value {
	v := value{b: b, known: make([]byte, len(b))}
	for i := range v.known {
		v.known[i] = 0xff
	}
	return v
}

func unknown(n int, why string) value {
	return value{b: make([]byte, n), known: make([]byte, n), why: why}
}

// whole says that all bits are known.
func (v value) whole() bool {
	for _, k := range v.known {
		if k != 0xff {
			return false
		}
	}
	return true
}

// equal compares the first bytes with b.
func (v value) equal(b []byte) answer {
	out := yes
	for i := range min(len(b), len(v.b)) {
		if (v.b[i]^b[i])&v.known[i] != 0 {
			return no
		}
		if v.known[i] != 0xff {
			out = maybe
		}
	}
	return out
}

// bounds are the least and the greatest bytes that the value can be, as numbers
// in network order.
func (v value) bounds() (low, high []byte) {
	low, high = make([]byte, len(v.b)), make([]byte, len(v.b))
	for i := range v.b {
		low[i] = v.b[i] & v.known[i]
		high[i] = low[i] | ^v.known[i]
	}
	return low, high
}
