package errtext

import (
	"slices"
	"strings"
	"testing"
)

// naive finds what the automaton should, with a search for each phrase.
func naive(texts []string, line string) (all []hit) {
	line = lowered(line)
	for end := 1; end <= len(line); end++ {
		for i, t := range texts {
			if strings.HasSuffix(line[:end], t) {
				all = append(all, hit{i, end})
			}
		}
	}
	return all
}

// lowered folds the letters of ASCII alone, as the automaton does.
func lowered(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] += 'a' - 'A'
		}
	}
	return string(b)
}

func sorted(hits []hit) []hit {
	return slices.SortedFunc(slices.Values(hits), func(a, b hit) int {
		if a.end != b.end {
			return a.end - b.end
		}
		return a.phrase - b.phrase
	})
}

func TestAutomatonFindsOverlaps(t *testing.T) {
	texts := []string{"he", "she", "his", "hers", "s", "ushe"}
	a := build(texts)
	for _, line := range []string{"ushers", "hishers", "SHE", "", "xyz", "hehehe", "shis"} {
		var found [maxHits]hit
		n := a.scan([]byte(line), &found)
		if got, want := sorted(found[:n]), sorted(naive(texts, line)); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", line, got, want)
		}
	}
}

func FuzzAutomaton(f *testing.F) {
	for _, l := range lines(f, "lines.txt")[:40] {
		f.Add(l)
	}
	f.Add("hers she \xff\x00 HE")
	var texts []string
	for _, p := range phrases() {
		texts = append(texts, p.text)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if len(line) > 500 {
			return
		}
		var found [maxHits]hit
		n := machine().scan([]byte(line), &found)
		want := naive(texts, line)
		if n == maxHits && len(want) >= maxHits {
			return
		}
		if got := sorted(found[:n]); !slices.Equal(got, sorted(want)) {
			t.Errorf("%q: %v, want %v", line, got, want)
		}
	})
}

func FuzzRecognise(f *testing.F) {
	for _, l := range append(lines(f, "lines.txt"), lines(f, "others.txt")...) {
		if _, text, ok := strings.Cut(l, " | "); ok {
			l = text[strings.LastIndex(text, " | ")+1:]
		}
		f.Add([]byte(l))
	}
	f.Add([]byte("dial tcp [::1%\x1b]:80: connect: connection refused"))
	f.Add([]byte("connection refused -> :1->"))
	f.Add([]byte("] 1 ([ connection refused port port=1 ('', 1"))
	f.Add([]byte("could not be resolved lookup  host '' enotfound \xff‘"))
	f.Fuzz(func(t *testing.T, line []byte) {
		m, ok := Recognise(line)
		if !ok {
			if m != (Match{}) {
				t.Errorf("%q: %+v without a match", line, m)
			}
			return
		}
		if m.Start < 0 || m.Start >= m.End || m.End > len(line) || m.End > MaxLine {
			t.Fatalf("%q: words from %d to %d", line, m.Start, m.End)
		}
		if _, ok := Describe(m.Kind); !ok || m.Certainty == "" {
			t.Errorf("%q: %+v", line, m)
		}
		g := m.Target
		if g.IsZero() != (g == Target{}) || len(g.Host) > 253 {
			t.Errorf("%q: target %+v", line, g)
		}
		for _, c := range []byte(g.Host) {
			if !wordByte(c) && c != '.' && c != '-' && c != ':' && c != '%' || c >= 0x80 {
				t.Errorf("%q: host %q", line, g.Host)
			}
		}
	})
}
