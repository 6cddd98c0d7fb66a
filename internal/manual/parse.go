package manual

import (
	"errors"
	"fmt"
	"strings"
)

const (
	confirmHeading = "How to confirm"
	fixHeading     = "How to fix"
)

// parse reads a page:
//
//	---
//	id: no-listener
//	stage: listener
//	title: nothing listens on the port
//	look_alikes: [service-down, host-firewall-reset]
//	sources: ["RFC 9293 section 3.10.7.1", "man 7 tcp"]
//	---
//	The paragraph that says what it means.
//
//	## How to confirm
//	- linux host: what to look at | `command`
//
//	## How to fix
//	- linux: what to do | `command`
//
// An indented line goes on with the item above it. Other sections may follow;
// they are kept in Markdown only.
func parse(text string) (*Cause, error) {
	rest, ok := strings.CutPrefix(text, "---\n")
	if !ok {
		return nil, errors.New(`a page begins with a line "---"`)
	}
	front, body, ok := strings.Cut(rest, "\n---\n")
	if !ok {
		return nil, errors.New(`the front matter ends with a line "---"`)
	}
	c := &Cause{Markdown: body}
	if err := c.parseFront(front); err != nil {
		return nil, fmt.Errorf("front matter: %w", err)
	}
	intro, sections, _ := strings.Cut(body, "\n## ")
	if c.Meaning = strings.Join(strings.Fields(intro), " "); c.Meaning == "" || c.Meaning[0] == '#' {
		return nil, errors.New("no paragraph that says what it means")
	}
	for s := range strings.SplitSeq(sections, "\n## ") {
		heading, lines, _ := strings.Cut(s, "\n")
		into := &c.Confirm
		switch heading {
		case confirmHeading:
		case fixHeading:
			into = &c.Fix
		default:
			continue
		}
		if *into != nil {
			return nil, fmt.Errorf("section %q comes twice", heading)
		}
		items, err := parseItems(lines)
		if err != nil {
			return nil, fmt.Errorf("section %q: %w", heading, err)
		}
		*into = items
	}
	return c, nil
}

// parseFront reads the five keys, each once, in any order.
func (c *Cause) parseFront(front string) error {
	seen := make(map[string]bool)
	for line := range strings.SplitSeq(front, "\n") {
		key, value, ok := strings.Cut(line, ": ")
		if !ok || seen[key] {
			return fmt.Errorf("%q is no new key with a value", line)
		}
		seen[key] = true
		var err error
		switch key {
		case "id":
			c.ID = value
		case "stage":
			c.Stage = value
		case "title":
			c.Title = value
		case "look_alikes":
			c.LookAlikes, err = parseList(value)
		case "sources":
			c.Sources, err = parseList(value)
		default:
			err = errors.New("unknown key")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	for _, key := range []string{"id", "stage", "title", "look_alikes", "sources"} {
		if !seen[key] {
			return fmt.Errorf("no %s", key)
		}
	}
	return nil
}

// parseList reads [a, b] or ["a", "b"]; no element holds a comma or a quote.
func parseList(s string) ([]string, error) {
	if len(s) < 2 || s[0] != '[' || s[len(s)-1] != ']' {
		return nil, fmt.Errorf("%q is no list in brackets", s)
	}
	var list []string
	for e := range strings.SplitSeq(s[1:len(s)-1], ",") {
		e = strings.TrimSpace(e)
		if n := len(e); n >= 2 && e[0] == '"' && e[n-1] == '"' {
			e = e[1 : n-1]
		}
		if e == "" || strings.Contains(e, `"`) {
			return nil, fmt.Errorf("%q has an empty or badly quoted element", s)
		}
		list = append(list, e)
	}
	return list, nil
}

// parseItems reads the items of a section. The result is never nil.
func parseItems(lines string) ([]Item, error) {
	items := []Item{}
	var item string
	flush := func() error {
		if item == "" {
			return nil
		}
		it, err := parseItem(item)
		items, item = append(items, it), ""
		return err
	}
	for line := range strings.SplitSeq(lines, "\n") {
		switch {
		case line == "":
		case strings.HasPrefix(line, "- "):
			if err := flush(); err != nil {
				return nil, err
			}
			item = line[2:]
		case item != "" && strings.HasPrefix(line, "  "):
			item += " " + strings.TrimSpace(line)
		default:
			return nil, fmt.Errorf("%q is neither an item nor goes on with one", line)
		}
	}
	return items, flush()
}

// parseItem reads "os where: text | `command`".
func parseItem(s string) (Item, error) {
	head, text, ok := strings.Cut(s, ": ")
	if !ok {
		return Item{}, fmt.Errorf("%q has no colon behind the system", s)
	}
	var it Item
	it.OS, it.Where, _ = strings.Cut(head, " ")
	switch it.OS {
	case "linux", "macos", "windows":
	default:
		return Item{}, fmt.Errorf("%q is no system (linux, macos, windows)", it.OS)
	}
	switch it.Where {
	case "", "client", "host", "both":
	default:
		return Item{}, fmt.Errorf("%q is no place (client, host, both)", it.Where)
	}
	it.Text = text
	if text, command, ok := strings.Cut(text, " | `"); ok {
		it.Text, it.Command = text, strings.TrimSuffix(command, "`")
		if it.Command == "" || it.Command == command || strings.Contains(it.Command, "`") {
			return Item{}, fmt.Errorf("%q does not end with one command in backticks", s)
		}
	}
	if it.Text = strings.TrimSpace(it.Text); it.Text == "" {
		return Item{}, fmt.Errorf("%q has no text", s)
	}
	return it, nil
}
