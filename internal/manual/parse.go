package manual

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// The sections of a page, in their order.
const (
	showsHeading   = "How it shows"
	confirmHeading = "How to confirm"
	fixHeading     = "How to fix"
	verifyHeading  = "How to verify"
	preventHeading = "How to prevent it"
)

// ladderFence opens the picture of the packets.
const ladderFence = "```ladder\n"

// parse reads the page of a cause:
//
//	---
//	id: no-listener
//	stage: listener
//	title: nothing listens on the port
//	aliases: ["closed port"]
//	errors: [refused]
//	look_alikes: [service-down, host-firewall-reset]
//	topics: [refused-or-timeout]
//	sources: ["RFC 9293 section 3.10.7.1", "man 7 tcp"]
//	---
//	The sentence that says what it means.
//
//	```ladder
//	client          host
//	  |---- SYN ----->|
//	```
//
//	## How it shows
//	- curl | Failed to connect to {{.Host}} port {{.Port}}
//
//	## How to confirm
//	- linux host: what to look at | `command`
//	  healthy: what it says where all is well
//	  sick: what it says here
//
//	## How to fix
//	- linux host: what to do | `command`
//	  changes: what it changes
//	  undo: `command`
//
//	## How to verify
//	- any client: what must be so | `command`
//
//	## How to prevent it
//	- any host: what to do
//
// An indented line goes on with what is above it. Sections come in this order,
// each at most once; aliases, errors and topics may be left out.
func parse(text string) (*Cause, error) {
	front, body, err := split(text)
	if err != nil {
		return nil, err
	}
	c := &Cause{Markdown: body}
	if err := parseFront(front, []field{
		{key: "id", text: &c.ID},
		{key: "stage", text: &c.Stage},
		{key: "title", text: &c.Title},
		{key: "aliases", list: &c.Aliases, optional: true},
		{key: "errors", list: &c.Errors, optional: true},
		{key: "look_alikes", list: &c.LookAlikes},
		{key: "topics", list: &c.Topics, optional: true},
		{key: "sources", list: &c.Sources},
	}); err != nil {
		return nil, fmt.Errorf("front matter: %w", err)
	}
	intro, sections, more := strings.Cut(body, "\n## ")
	if err := c.parseIntro(intro); err != nil {
		return nil, err
	}
	if !more {
		return c, nil
	}
	order := []string{showsHeading, confirmHeading, fixHeading, verifyHeading, preventHeading}
	next := 0
	for s := range strings.SplitSeq(sections, "\n## ") {
		heading, lines, _ := strings.Cut(s, "\n")
		i := slices.Index(order, heading)
		switch {
		case i < 0:
			return nil, fmt.Errorf("unknown section %q", heading)
		case i < next:
			return nil, fmt.Errorf("section %q comes twice or too late", heading)
		}
		next = i + 1
		if err := c.parseSection(heading, lines); err != nil {
			return nil, fmt.Errorf("section %q: %w", heading, err)
		}
	}
	return c, nil
}

// parseIntro reads the sentence and the ladder.
func (c *Cause) parseIntro(intro string) error {
	meaning, ladder, ok := strings.Cut(intro, ladderFence)
	if ok {
		var rest string
		if ladder, rest, ok = strings.Cut(ladder, "\n```"); !ok || strings.TrimSpace(rest) != "" || strings.TrimSpace(ladder) == "" {
			return errors.New("the ladder is empty, does not end with a line ```, or something follows it")
		}
		c.Ladder = ladder
	}
	if c.Meaning = strings.Join(strings.Fields(meaning), " "); c.Meaning == "" || c.Meaning[0] == '#' {
		return errors.New("no paragraph that says what it means")
	}
	if strings.Contains(c.Meaning, "```") {
		return errors.New("a block that is no ```ladder")
	}
	return nil
}

func (c *Cause) parseSection(heading, lines string) (err error) {
	switch heading {
	case showsHeading:
		c.Shows, err = parseShown(lines)
	case confirmHeading:
		c.Confirm, err = parseItems(lines, "healthy", "sick")
	case fixHeading:
		c.Fix, err = parseItems(lines, "changes", "undo")
	case verifyHeading:
		c.Verify, err = parseItems(lines)
	case preventHeading:
		c.Prevent, err = parseItems(lines)
	}
	return err
}

// bullets yields the text of each "- " bullet, one string for each of its
// parts: the bullet itself with the lines that go on with it, and one for every
// continuation line that begins with one of the keys and a colon.
func bullets(lines string, keys []string) ([][]string, error) {
	var all [][]string
	for line := range strings.SplitSeq(lines, "\n") {
		switch {
		case line == "":
		case strings.HasPrefix(line, "- "):
			all = append(all, []string{line[2:]})
		case len(all) > 0 && strings.HasPrefix(line, "  "):
			line = strings.TrimSpace(line)
			b := &all[len(all)-1]
			key, _, ok := strings.Cut(line+" ", ": ")
			if ok && slices.Contains(keys, key) {
				*b = append(*b, line)
			} else {
				(*b)[len(*b)-1] += " " + line
			}
		default:
			return nil, fmt.Errorf("%q is neither an item nor goes on with one", line)
		}
	}
	return all, nil
}

// parseShown reads "- program | text".
func parseShown(lines string) ([]Shown, error) {
	all, err := bullets(lines, nil)
	if err != nil {
		return nil, err
	}
	var shown []Shown
	for _, b := range all {
		program, text, ok := strings.Cut(b[0], " | ")
		s := Shown{Program: strings.TrimSpace(program), Text: strings.TrimSpace(text)}
		if !ok || s.Program == "" || s.Text == "" {
			return nil, fmt.Errorf("%q is no program and its text, with \" | \" between", b[0])
		}
		shown = append(shown, s)
	}
	return shown, nil
}

// parseItems reads the items of a section, which may have parts with the keys.
func parseItems(lines string, keys ...string) ([]Item, error) {
	all, err := bullets(lines, keys)
	if err != nil {
		return nil, err
	}
	items := make([]Item, 0, len(all))
	for _, b := range all {
		it, err := parseItem(b[0])
		if err != nil {
			return nil, err
		}
		for _, part := range b[1:] {
			key, value, _ := strings.Cut(part, ":")
			if err := it.set(key, strings.TrimSpace(value)); err != nil {
				return nil, fmt.Errorf("%q: %w", b[0], err)
			}
		}
		items = append(items, it)
	}
	return items, nil
}

// set fills a part of an item, each once.
func (it *Item) set(key, value string) error {
	var into *string
	switch key {
	case "healthy":
		into = &it.Healthy
	case "sick":
		into = &it.Sick
	case "changes":
		into = &it.Changes
	case "undo":
		var err error
		if value, it.UndoCommand, err = cutCommand(value); err != nil {
			return err
		}
		into = &it.Undo
	}
	if *into != "" || value == "" && it.UndoCommand == "" {
		return fmt.Errorf("%s comes twice or is empty", key)
	}
	*into = value
	return nil
}

// parseItem reads "os where: text | `command`".
func parseItem(s string) (Item, error) {
	head, text, ok := strings.Cut(s, ": ")
	if !ok {
		return Item{}, fmt.Errorf("%q has no colon behind the system", s)
	}
	var it Item
	it.OS, it.Where, _ = strings.Cut(head, " ")
	if !slices.Contains(systems, it.OS) {
		return Item{}, fmt.Errorf("%q is no system (%s)", it.OS, strings.Join(systems, ", "))
	}
	switch it.Where {
	case "", "client", "host", "both":
	default:
		return Item{}, fmt.Errorf("%q is no place (client, host, both)", it.Where)
	}
	var err error
	if it.Text, it.Command, err = cutCommand(text); err != nil {
		return Item{}, err
	}
	if it.Text = strings.TrimSpace(it.Text); it.Text == "" {
		return Item{}, fmt.Errorf("%q has no text", s)
	}
	return it, nil
}

// cutCommand reads "text | `command`", a text alone, or a command alone.
func cutCommand(s string) (text, command string, err error) {
	text, command, ok := strings.Cut(s, " | `")
	if rest, alone := strings.CutPrefix(s, "`"); alone {
		text, command, ok = "", rest, true
	}
	if !ok {
		return s, "", nil
	}
	c := strings.TrimSuffix(command, "`")
	if c == "" || c == command || strings.Contains(c, "`") {
		return "", "", fmt.Errorf("%q does not end with one command in backticks", s)
	}
	return text, c, nil
}
