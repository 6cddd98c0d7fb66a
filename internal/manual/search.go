package manual

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Hit is a page that Search found.
type Hit struct {
	ID    string // of a cause or topic
	Title string
	// Line is a line of the page that holds a word, at most 80 columns of it;
	// empty if the words are in its name alone.
	Line string
}

const (
	maxQuery = 200 // bytes of a query that count
	maxLine  = 80
)

// Search finds the pages of causes and topics that hold every word, in any
// case and inside longer words, too. Those with the words in their ID or title come
// first, then by aliases, then those that hold them more often.
func Search(words string) []Hit {
	if len(words) > maxQuery {
		words = strings.ToValidUTF8(words[:maxQuery], "")
	}
	want := strings.Fields(strings.ToLower(words))
	if len(want) == 0 {
		return nil
	}
	type scored struct {
		Hit
		names, times int
	}
	var found []scored
	add := func(id, title string, aliases []string) {
		text, _ := Render(id, maxLine)
		lower := strings.ToLower(text)
		name := strings.ToLower(id + "\n" + title)
		other := strings.ToLower(strings.Join(aliases, "\n"))
		s := scored{Hit: Hit{ID: id, Title: title}}
		for _, w := range want {
			n := strings.Count(lower, w)
			switch {
			case strings.Contains(name, w):
				s.names += 2
			case strings.Contains(other, w):
				s.names++
			case n == 0:
				return
			}
			s.times += n
		}
		s.Line = bestLine(text, want)
		found = append(found, s)
	}
	for _, id := range ids {
		if c, ok := Page(id); ok {
			add(id, c.Title, c.Aliases)
		}
	}
	for _, id := range topicIDs {
		if t, ok := Topic(id); ok {
			add(id, t.Title, t.Aliases)
		}
	}
	slices.SortStableFunc(found, func(a, b scored) int {
		return cmp.Or(cmp.Compare(b.names, a.names), cmp.Compare(b.times, a.times))
	})
	hits := make([]Hit, len(found))
	for i, s := range found {
		hits[i] = s.Hit
	}
	return hits
}

// bestLine is the line below the first that holds most of the words.
func bestLine(text string, want []string) (best string) {
	most := 0
	_, text, _ = strings.Cut(text, "\n")
	for line := range strings.Lines(text) {
		lower, n := strings.ToLower(line), 0
		for _, w := range want {
			if strings.Contains(lower, w) {
				n++
			}
		}
		if n > most {
			best, most = strings.TrimSpace(line), n
		}
	}
	if utf8.RuneCountInString(best) > maxLine {
		best = string([]rune(best)[:maxLine])
	}
	return best
}
