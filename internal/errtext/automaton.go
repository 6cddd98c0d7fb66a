package errtext

import (
	"cmp"
	"slices"
	"sync"
)

// maxHits bounds the words that are weighed on one line.
const maxHits = 24

// hit is the end of a phrase in a line.
type hit struct {
	phrase int
	end    int
}

// automaton finds all phrases in one pass: Aho and Corasick, Efficient string
// matching, CACM 18 (1975), as a table with the failure links worked in.
// Letters are matched whatever their case.
type automaton struct {
	class   [256]uint8 // of a byte; 0 for those in no phrase
	shift   uint8      // log2 of the classes in a row
	next    []uint16   // state<<shift | class
	accept  uint16     // states from here on end a phrase
	outputs [][]int    // of state accept+i: the phrases that end there
}

var machine = sync.OnceValue(func() *automaton {
	texts := make([]string, len(phrases()))
	for i, p := range phrases() {
		texts[i] = p.text
	}
	return build(texts)
})

// scan fills found with the phrases of the line and returns how many.
func (a *automaton) scan(line []byte, found *[maxHits]hit) (n int) {
	var s uint16
	next, shift := a.next, a.shift&15
	for i, c := range line {
		s = next[uint(s)<<shift|uint(a.class[c])]
		if s < a.accept {
			continue
		}
		for _, p := range a.outputs[s-a.accept] {
			if n == len(found) {
				return n
			}
			found[n] = hit{p, i + 1}
			n++
		}
	}
	return n
}

// build makes the automaton of lower-case texts.
func build(texts []string) *automaton {
	a := &automaton{}
	classes := a.classify(texts)
	// States in the order of the trie; row n of next leads on from state n.
	next := make([]uint16, classes)
	outputs := [][]int{nil}
	for i, t := range texts {
		at := 0
		for _, c := range []byte(t) {
			to := &next[at*classes+int(a.class[c])]
			if *to == 0 {
				*to = uint16(len(outputs))
				next = append(next, make([]uint16, classes)...)
				outputs = append(outputs, nil)
				to = &next[at*classes+int(a.class[c])]
			}
			at = int(*to)
		}
		outputs[at] = append(outputs[at], i)
	}
	order := link(next, outputs, classes)
	// States that end a phrase come last, so that one comparison tells them.
	slices.SortStableFunc(order, func(x, y int) int {
		return cmp.Compare(min(len(outputs[x]), 1), min(len(outputs[y]), 1))
	})
	number := make([]uint16, len(order))
	for i, n := range order {
		number[n] = uint16(i)
	}
	a.accept = uint16(slices.IndexFunc(order, func(n int) bool { return len(outputs[n]) > 0 }))
	a.next = make([]uint16, len(order)<<a.shift)
	for i, n := range order {
		for c := range classes {
			a.next[i<<a.shift|c] = number[next[n*classes+c]]
		}
		if i >= int(a.accept) {
			a.outputs = append(a.outputs, outputs[n])
		}
	}
	return a
}

// classify gives every byte of the texts a class of its own, capital letters
// that of the small ones, and returns how many classes there are.
func (a *automaton) classify(texts []string) int {
	n := 1
	for _, t := range texts {
		for _, c := range []byte(t) {
			if a.class[c] == 0 {
				a.class[c] = uint8(n)
				n++
			}
		}
	}
	for c := 'a'; c <= 'z'; c++ {
		a.class[c-'a'+'A'] = a.class[c]
	}
	for 1<<a.shift < n {
		a.shift++
	}
	return n
}

// link fills the rows of the trie with where a failure leads, and gives every
// state the outputs of the one that it fails to. It returns the states breadth
// first: the first is the start.
func link(next []uint16, outputs [][]int, classes int) []int {
	fail := make([]int, len(outputs))
	order := make([]int, 1, len(outputs))
	for i := 0; i < len(order); i++ {
		n := order[i]
		for c := range classes {
			to := &next[n*classes+c]
			other := 0
			if n != 0 {
				other = int(next[fail[n]*classes+c])
			}
			if *to == 0 {
				*to = uint16(other)
				continue
			}
			fail[*to] = other
			outputs[*to] = append(outputs[*to], outputs[other]...)
			order = append(order, int(*to))
		}
	}
	return order
}
