package reporttest

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/net/html"
)

// void are the elements of HTML that have no end tag.
var void = []string{"meta", "input", "br", "hr", "img", "link"}

// CheckPage says what is wrong with a page of HTML that should be complete in
// itself: not well formed, something from outside, a style or script that its
// own policy does not allow, control characters, and what keeps people out who
// do not see it: no language, headings out of order, tables without headers,
// pictures without words. links says which references are right beside those
// within the page.
func CheckPage(page []byte, links func(href string) bool) error {
	c := &checker{page: page, links: links, ids: map[string]int{}}
	c.walk()
	if c.policy == "" {
		c.complain("no Content-Security-Policy")
	}
	for kind, texts := range map[string][]string{"style": c.styles, "script": c.scripts} {
		for _, s := range texts {
			sum := sha256.Sum256([]byte(s))
			if hash := "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !strings.Contains(c.directive(kind+"-src"), hash) {
				c.complain("the policy does not allow the %s: %s", kind, c.policy)
			}
		}
	}
	for _, d := range []string{"default-src 'none'", "base-uri 'none'", "form-action 'none'"} {
		if !strings.Contains(c.policy, d) {
			c.complain("the policy has not %s", d)
		}
	}
	if strings.Contains(c.policy, "unsafe") {
		c.complain("the policy allows what is unsafe: %s", c.policy)
	}
	if c.lang == "" || c.title == "" {
		c.complain("no lang or no title")
	}
	if len(c.headings) == 0 || c.headings[0] != 1 || slices.Contains(c.headings[1:], 1) {
		c.complain("headings %v do not begin with the only h1", c.headings)
	}
	for i := 1; i < len(c.headings); i++ {
		if c.headings[i] > c.headings[i-1]+1 {
			c.complain("a heading %d follows a heading %d", c.headings[i], c.headings[i-1])
			break
		}
	}
	for id, n := range c.ids {
		if n > 1 {
			c.complain("id %q comes %d times", id, n)
		}
	}
	for _, ref := range c.refs {
		if c.ids[ref] == 0 {
			c.complain("nothing has the id %q", ref)
		}
	}
	return errors.Join(c.errs...)
}

type checker struct {
	page            []byte
	links           func(string) bool
	open            []string
	policy          string
	lang, title     string
	styles, scripts []string
	headings        []int
	ids             map[string]int
	refs            []string
	errs            []error
}

func (c *checker) complain(format string, args ...any) {
	if len(c.errs) < 20 {
		c.errs = append(c.errs, fmt.Errorf(format, args...))
	}
}

// directive is one directive of the policy.
func (c *checker) directive(name string) string {
	for d := range strings.SplitSeq(c.policy, ";") {
		if d = strings.TrimSpace(d); strings.HasPrefix(d, name+" ") {
			return d
		}
	}
	return ""
}

func (c *checker) walk() {
	z := html.NewTokenizer(bytes.NewReader(c.page))
	for {
		switch z.Next() {
		case html.ErrorToken:
			if !errors.Is(z.Err(), io.EOF) {
				c.complain("not HTML: %v", z.Err())
			}
			if len(c.open) > 0 {
				c.complain("not closed: %v", c.open)
			}
			return
		case html.StartTagToken:
			t := z.Token()
			c.tag(t)
			if !slices.Contains(void, t.Data) {
				c.open = append(c.open, t.Data)
			}
		case html.SelfClosingTagToken:
			c.tag(z.Token())
		case html.EndTagToken:
			t := z.Token()
			n := len(c.open) - 1
			if n < 0 || c.open[n] != t.Data {
				c.complain("</%s> closes %v", t.Data, c.open)
				return
			}
			c.open = c.open[:n]
		case html.TextToken:
			c.text(z.Token().Data)
		case html.CommentToken:
			c.complain("a comment: %q", z.Token().Data)
		}
	}
}

func (c *checker) text(s string) {
	in := ""
	if len(c.open) > 0 {
		in = c.open[len(c.open)-1]
	}
	switch in {
	case "style":
		c.styles = append(c.styles, s)
		for _, bad := range []string{"url(", "@import", "expression("} {
			if strings.Contains(s, bad) {
				c.complain("the style sheet has %s", bad)
			}
		}
	case "script":
		c.scripts = append(c.scripts, s)
	case "title":
		if !slices.Contains(c.open, "svg") {
			c.title += s
		}
	}
	for _, r := range s {
		if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
			c.complain("%q in %q", r, s[:min(len(s), 80)])
			return
		}
	}
}

// tag checks an element and its attributes.
func (c *checker) tag(t html.Token) {
	attr := map[string]string{}
	for _, a := range t.Attr {
		attr[a.Key] = a.Val
		switch {
		case strings.HasPrefix(a.Key, "on"), a.Key == "style", a.Key == "src", a.Key == "srcset", a.Key == "action", a.Key == "xlink:href":
			c.complain("<%s %s=%q>", t.Data, a.Key, a.Val)
		case a.Key == "href":
			c.href(t.Data, a.Val)
		case a.Key == "id":
			c.ids[a.Val]++
		case a.Key == "aria-labelledby", a.Key == "for":
			c.refs = append(c.refs, a.Val)
		}
	}
	switch t.Data {
	case "html":
		c.lang = attr["lang"]
	case "meta":
		if strings.EqualFold(attr["http-equiv"], "content-security-policy") {
			c.policy = attr["content"]
		} else if attr["http-equiv"] != "" {
			c.complain("meta http-equiv=%q", attr["http-equiv"])
		}
	case "svg":
		if attr["role"] != "img" || attr["aria-label"] == "" {
			c.complain("a picture without words: %v", t)
		}
	case "th":
		if attr["scope"] == "" {
			c.complain("a header of a table without scope")
		}
	case "h1", "h2", "h3", "h4", "h5", "h6":
		c.headings = append(c.headings, int(t.Data[1]-'0'))
	case "link", "iframe", "object", "embed", "img", "form", "base", "video", "audio", "use", "image", "foreignobject":
		c.complain("<%s> has no place on such a page", t.Data)
	}
}

func (c *checker) href(element, href string) {
	if id, ok := strings.CutPrefix(href, "#"); ok {
		c.refs = append(c.refs, id)
		return
	}
	if c.links == nil || !c.links(href) {
		c.complain("<%s href=%q> leads out of the page", element, href)
	}
}
