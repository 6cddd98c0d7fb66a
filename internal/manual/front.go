package manual

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// field is one key of a front matter and where its value goes: to text, or to
// list when the value is a list in brackets.
type field struct {
	key      string
	text     *string
	list     *[]string
	optional bool
}

// split cuts a file into its front matter and what follows.
func split(file string) (front, body string, err error) {
	rest, ok := strings.CutPrefix(file, "---\n")
	if !ok {
		return "", "", errors.New(`a page begins with a line "---"`)
	}
	front, body, ok = strings.Cut(rest, "\n---\n")
	if !ok {
		return "", "", errors.New(`the front matter ends with a line "---"`)
	}
	return front, body, nil
}

// parseFront reads lines "key: value", each key once, in any order.
func parseFront(front string, fields []field) error {
	seen := make(map[string]bool)
	for line := range strings.SplitSeq(front, "\n") {
		key, value, ok := strings.Cut(line, ": ")
		if !ok || seen[key] {
			return fmt.Errorf("%q is no new key with a value", line)
		}
		seen[key] = true
		i := slices.IndexFunc(fields, func(f field) bool { return f.key == key })
		if i < 0 {
			return fmt.Errorf("unknown key %q", key)
		}
		f := fields[i]
		if f.text != nil {
			*f.text = value
			continue
		}
		list, err := parseList(value)
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		*f.list = list
	}
	for _, f := range fields {
		if !f.optional && !seen[f.key] {
			return fmt.Errorf("no %s", f.key)
		}
	}
	return nil
}

// parseList reads [a, b] or ["a, b", "c"]: commas count outside of quotes only,
// and no element holds a quote.
func parseList(s string) ([]string, error) {
	if len(s) < 2 || s[0] != '[' || s[len(s)-1] != ']' {
		return nil, fmt.Errorf("%q is no list in brackets", s)
	}
	quoted := false
	split := func(r rune) bool {
		quoted = quoted != (r == '"')
		return r == ',' && !quoted
	}
	var list []string
	for e := range strings.FieldsFuncSeq(s[1:len(s)-1]+",", split) {
		e = strings.TrimSpace(e)
		if n := len(e); n >= 2 && e[0] == '"' && e[n-1] == '"' {
			e = e[1 : n-1]
		}
		if strings.TrimSpace(e) == "" || strings.Contains(e, `"`) {
			return nil, fmt.Errorf("%q has an empty or badly quoted element", s)
		}
		list = append(list, e)
	}
	if len(list) == 0 || quoted {
		return nil, fmt.Errorf("%q has an empty or badly quoted element", s)
	}
	return list, nil
}
