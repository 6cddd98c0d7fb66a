package cli

import (
	"slices"
	"strings"
)

// near are the names that look like what was typed, whatever the case: that hold
// it, are held by it, or differ from it by two letters at most. Of many it is the
// nearest; it is nil where there are none, or so little was typed that any would do.
func near(typed string, names ...string) []string {
	const most, longest = 8, 60 // names, and bytes of what can be one
	typed = strings.ToLower(typed)
	if typed == "" || len(typed) > longest {
		return nil
	}
	var found []string
	for _, n := range names {
		low := strings.ToLower(n)
		if slices.Contains(found, n) {
			continue
		}
		if strings.Contains(low, typed) || len(n) > 3 && strings.Contains(typed, low) || distance(low, typed) <= 2 {
			found = append(found, n)
		}
	}
	switch {
	case len(found) <= most:
		return found
	case len(typed) <= 3:
		return nil
	}
	slices.SortStableFunc(found, func(a, b string) int {
		return distance(strings.ToLower(a), typed) - distance(strings.ToLower(b), typed)
	})
	return found[:most]
}

// distance is the number of letters to insert, delete or replace to make one
// word of the other (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := last
			if a[i] != b[j] {
				cost++
			}
			last = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
