package manual

import (
	"errors"
	"fmt"
	"slices"
)

// ErrorTexts are the texts that programs print for one kind of failure, which
// many causes share.
type ErrorTexts struct {
	ID      string
	Title   string
	Names   []string // of the error: ECONNREFUSED and the like
	Numbers []string // "Linux 111" and the like
	Sources []string
	Texts   []Shown
}

// ErrorIDs lists the kinds of failure that have a table of texts.
func ErrorIDs() []string { return slices.Clone(errorIDs[:]) }

// Errors returns the table of a kind, parsed anew at each call. It is false for
// an ID without one.
func Errors(id string) (*ErrorTexts, bool) { return load(errorIDs[:], "errors", id, parseErrors) }

// The kinds are those of the recogniser of error texts.
var errorIDs = [...]string{
	"refused",
	"connect-timeout",
	"read-timeout",
	"host-unreachable",
	"network-unreachable",
	"access-denied",
	"not-permitted",
	"reset",
	"closed",
	"name-not-found",
	"name-temporary",
	"address-not-available",
	"address-in-use",
	"too-many-files",
}

// parseErrors reads front matter and "- program | text" lines.
func parseErrors(text string) (*ErrorTexts, error) {
	front, body, err := split(text)
	if err != nil {
		return nil, err
	}
	e := new(ErrorTexts)
	if err := parseFront(front, []field{
		{key: "id", text: &e.ID},
		{key: "title", text: &e.Title},
		{key: "names", list: &e.Names},
		{key: "numbers", list: &e.Numbers, optional: true},
		{key: "sources", list: &e.Sources},
	}); err != nil {
		return nil, fmt.Errorf("front matter: %w", err)
	}
	if e.Texts, err = parseShown(body); err != nil {
		return nil, err
	}
	if len(e.Texts) == 0 {
		return nil, errors.New("a table without texts")
	}
	return e, nil
}

// Texts returns everything that shows: the cause's own texts, then those of the
// tables that it points to.
func (c *Cause) Texts() []Shown {
	all := slices.Clone(c.Shows)
	for _, id := range c.Errors {
		if e, ok := Errors(id); ok {
			all = append(all, e.Texts...)
		}
	}
	return all
}
