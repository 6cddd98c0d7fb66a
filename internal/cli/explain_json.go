package cli

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"unicode/utf8"

	"github.com/tcpwhy/tcpwhy"
	"github.com/tcpwhy/tcpwhy/internal/errtext"
	"github.com/tcpwhy/tcpwhy/internal/manual"
)

// explanationSchema is the value of "schema" in what explain -o json writes;
// schema/tcpwhy.explanation-1.schema.json is the contract. Within a version
// fields are only ever added.
const explanationSchema = "tcpwhy.explanation/1"

// document is one answer of explain: an error or a page.
type document struct {
	Input       string
	Explanation tcpwhy.Explanation // of an error
	Meanings    []jsonMeaning      // of its name or number
	Page        *jsonPage
}

type jsonExplanation struct {
	Schema     string           `json:"schema"`
	Input      string           `json:"input"`
	Kind       string           `json:"kind,omitempty"`
	Title      string           `json:"title,omitempty"`
	Certainty  tcpwhy.Certainty `json:"certainty,omitempty"`
	Proves     string           `json:"proves,omitempty"`
	CannotTell string           `json:"cannot_tell,omitempty"`
	Op         string           `json:"op,omitempty"`
	Errno      string           `json:"errno,omitempty"`
	Program    string           `json:"program,omitempty"`
	Target     *jsonEndpoint    `json:"target,omitempty"`
	Meanings   []jsonMeaning    `json:"meanings,omitempty"`
	Causes     []jsonCause      `json:"causes,omitempty"`
	Command    string           `json:"command,omitempty"`
	Page       *jsonPage        `json:"page,omitempty"`
}

type jsonEndpoint struct {
	Host string     `json:"host"`
	Addr netip.Addr `json:"addr,omitzero"`
	Port uint16     `json:"port,omitempty"`
}

type jsonMeaning struct {
	System string       `json:"system"`
	Name   string       `json:"name"`
	Number int          `json:"number"`
	Kind   errtext.Kind `json:"kind,omitempty"`
}

type jsonCause struct {
	Cause      string  `json:"cause"`
	Title      string  `json:"title"`
	Stage      string  `json:"stage"`
	Likelihood float64 `json:"likelihood"`
	Refines    string  `json:"refines,omitempty"`
}

// jsonPage is a page of the manual. The text is there only where one page was
// asked for.
type jsonPage struct {
	ID       string `json:"id"`
	Stage    string `json:"stage,omitempty"` // of a cause
	Title    string `json:"title"`
	Meaning  string `json:"meaning,omitempty"`
	Markdown string `json:"markdown,omitempty"`
}

func meanings(ms []errtext.Meaning) []jsonMeaning {
	var out []jsonMeaning
	for _, m := range ms {
		out = append(out, jsonMeaning{m.System, m.Name, m.Number, m.Kind})
	}
	return out
}

func pageDocument(input, id string, text bool) document {
	p := &jsonPage{ID: id}
	if c, ok := manual.Page(id); ok {
		p.Stage, p.Title, p.Meaning = c.Stage, c.Title, c.Meaning
	} else if t, ok := manual.Topic(id); ok {
		p.Title = t.Title
	}
	if text {
		p.Markdown, _ = manual.View{}.Markdown(id)
	}
	return document{Input: input, Page: p}
}

// writeDocument writes a document as one line. What is not printable, or no
// UTF-8, is written as escapes, so that the line is safe on a terminal.
func writeDocument(p *page, d document) error {
	x := d.Explanation
	out := jsonExplanation{
		Schema: explanationSchema, Input: bounded(d.Input), Kind: x.Kind, Title: x.Title, Certainty: x.Certainty, Proves: x.Proves, CannotTell: x.CannotTell,
		Op: x.Op, Errno: x.Errno, Program: x.Program, Meanings: d.Meanings, Command: x.Command(), Page: d.Page,
	}
	if x.Host != "" {
		out.Target = &jsonEndpoint{x.Host, x.Addr, x.Port}
	}
	for _, c := range x.Causes {
		out.Causes = append(out.Causes, jsonCause{c.ID, c.Title, c.Stage, c.Likelihood, c.Refines})
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(out); err != nil {
		return err
	}
	for _, r := range b.String() {
		if r < 0x7f {
			p.WriteRune(r)
			continue
		}
		p.WriteString(jsonEscape(r))
	}
	return nil
}

// jsonEscape writes a rune beyond ASCII as \u escapes, in UTF-16 where it needs
// two.
func jsonEscape(r rune) string {
	const hex = "0123456789abcdef"
	unit := func(u rune) string {
		return `\u` + string([]byte{hex[u>>12&15], hex[u>>8&15], hex[u>>4&15], hex[u&15]})
	}
	if r > 0xffff {
		r -= 0x10000
		return unit(0xd800+r>>10) + unit(0xdc00+r&0x3ff)
	}
	return unit(r)
}

// bounded cuts a line to what is looked at, at the start of a rune.
func bounded(s string) string {
	if len(s) <= errtext.MaxLine {
		return s
	}
	n := errtext.MaxLine
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
