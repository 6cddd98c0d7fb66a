package manual

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func idsOf(hits []Hit) []string {
	var ids []string
	for _, h := range hits {
		ids = append(ids, h.ID)
	}
	return ids
}

func TestSearch(t *testing.T) {
	for _, c := range []struct {
		words, first string
	}{
		{"accept queue", "accept-queue-full"},
		{"SOMAXCONN", "accept-queue-full"},
		{"four-tuple", "four-tuple"},
		{"tcp_syn_retries", "syn-retransmission"},
		{"nothing listens", "no-listener"},
	} {
		hits := Search(c.words)
		if len(hits) == 0 || hits[0].ID != c.first {
			t.Errorf("%q: %v, want %s first", c.words, idsOf(hits), c.first)
			continue
		}
		for _, h := range hits {
			page, ok := Render(h.ID, columns)
			if !ok || h.Title == "" || !strings.Contains(page, h.Line) || utf8.RuneCountInString(h.Line) > columns {
				t.Errorf("%q: hit %+v", c.words, h)
			}
		}
	}
	for _, w := range []string{"", "  ", "zzzzqq", "listens zzzzqq", "\xff\xfe", "\x00"} {
		if hits := Search(w); len(hits) != 0 {
			t.Errorf("%q: %v", w, idsOf(hits))
		}
	}
	all, both := Search("firewall"), Search("firewall windows")
	for _, id := range idsOf(both) {
		if !slices.Contains(idsOf(all), id) {
			t.Errorf("two words find %s, one of them does not", id)
		}
	}
	if len(both) == 0 || len(both) >= len(all) {
		t.Errorf("%d pages of %d with a second word", len(both), len(all))
	}
}

func FuzzSearch(f *testing.F) {
	f.Add("accept queue")
	f.Add("\xff")
	f.Add(strings.Repeat("ü ", 200))
	f.Fuzz(func(t *testing.T, words string) {
		for _, h := range Search(words) {
			if h.ID == "" || h.Title == "" || !utf8.ValidString(h.Line) {
				t.Fatalf("%q finds %+v", words, h)
			}
		}
	})
}

func BenchmarkSearch(b *testing.B) {
	for b.Loop() {
		Search("accept queue")
	}
}
