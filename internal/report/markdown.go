package report

import (
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// Markdown writes diagnoses as GitHub Flavored Markdown without HTML, for a
// ticket or a chat. No text of a diagnosis becomes markup, a mention, a link or
// a reference to an issue.
func Markdown(w io.Writer, list []*verdict.Diagnosis, o Options) error {
	o.Unicode, o.Color, o.Verbose, o.Width = true, false, true, 0
	m := &markdown{options: o}
	for i, d := range list[:min(len(list), mostTargets)] {
		if i > 0 {
			m.line("---")
			m.line()
		}
		m.target(newTargetView(d, i+1, o), d.Redacted)
	}
	if n := len(list) - mostTargets; n > 0 {
		m.line(fmt.Sprintf("%d more targets are left out.", n))
	}
	_, err := io.WriteString(w, strings.TrimRight(m.b.String(), "\n")+"\n")
	return err
}

type markdown struct {
	b       strings.Builder
	options Options
}

func (m *markdown) line(parts ...string) {
	for _, s := range parts {
		m.b.WriteString(s)
	}
	m.b.WriteByte('\n')
}

// heading begins a section.
func (m *markdown) heading(text string) {
	m.line()
	m.line("### ", text)
	m.line()
}

func (m *markdown) target(t targetView, redacted bool) {
	m.line("## ", mdText(t.Answer))
	m.line()
	if t.Finding != "" {
		m.line(mdText(t.Finding), "  ")
	}
	if t.Cause != "" {
		s := "Cause: " + mdCode(t.Cause)
		if t.Where != "" {
			s += " at " + mdText(t.Where)
		}
		if t.CauseTitle != "" {
			s += ": " + mdText(t.CauseTitle)
		}
		m.line(s, "  ")
	}
	m.line(t.Started, ", took ", t.Elapsed, "; asked for ", mdCode(t.Input))
	if redacted {
		m.line()
		m.line("*", redactedNote, "*")
	}
	if t.Stopped != "" {
		m.line()
		m.line("*", t.Stopped, "*")
	}
	if len(t.Addresses) > 0 {
		m.heading("Addresses")
		rows := [][]string{{"address", "outcome", "why"}}
		for _, a := range t.Addresses {
			rows = append(rows, []string{mdText(a.Addr), a.Outcome, mdText(a.Short)})
		}
		m.table(rows)
		if t.SkippedAddresses != "" {
			m.line()
			m.line(t.SkippedAddresses, " left out")
		}
	}
	for i := range t.Blocks {
		m.block(&t.Blocks[i])
	}
	m.steps(t.NextTitle, t.Next)
	m.steps("Fix", t.Fix)
	if len(t.NotChecked) > 0 {
		m.heading("Not checked")
		for _, n := range t.NotChecked {
			m.line("- ", mdText(n.Checks), ": ", mdText(n.Reason))
			if n.Command {
				m.fenced("  ", "sh", n.How)
			} else if n.How != "" {
				m.line("  To get it: ", mdText(n.How))
			}
		}
	}
	if len(t.RuledOut) > 0 {
		m.heading("Ruled out")
		for _, r := range t.RuledOut {
			ids := make([]string, len(r.Causes))
			for i, c := range r.Causes {
				ids[i] = mdCode(c.ID)
			}
			m.line("- ", mdText(r.Fact), " (", mdText(r.ID), "): ", strings.Join(ids, ", "))
		}
	}
	if len(t.Facts) > 0 {
		m.heading("Evidence")
		rows := [][]string{{"fact", "what was seen", "answer", "by, at"}}
		for _, f := range t.Facts {
			text := f.Text
			if f.About != "" {
				text = f.About + ": " + text
			}
			rows = append(rows, []string{mdText(f.ID), mdText(text), mdText(f.Question + " " + f.Value), mdText(f.Source + ", " + f.At)})
		}
		m.table(rows)
	}
}

func (m *markdown) block(b *blockView) {
	if b.Title != "" {
		m.heading(mdText(b.Title))
	}
	if b.Finding != "" {
		m.line(mdText(b.Finding))
	}
	if len(b.Candidates) > 0 {
		m.heading(map[bool]string{false: "What is left", true: "What may be behind it"}[b.Behind])
		for _, c := range b.Candidates {
			lead := "- "
			if c.Below {
				lead = "  - "
			}
			s := c.Share + " " + mdCode(c.ID)
			if c.Title != "" {
				s += ": " + mdText(c.Title)
			}
			m.line(lead, s)
		}
		if b.MoreCandidates > 0 {
			m.line(fmt.Sprintf("- %d more", b.MoreCandidates))
		}
	}
	if b.address != nil {
		p := newPage(Options{Unicode: true})
		p.ladder(b.address)
		if s := strings.Trim(p.buf.String(), "\n"); s != "" {
			m.line()
			m.fenced("", "text", s)
		}
	}
	if len(b.Why) > 0 {
		m.heading("Why")
		for _, f := range b.Why {
			m.line("- ", mdText(f.Text), " (", mdText(f.ID), ")")
		}
	}
}

func (m *markdown) steps(title string, steps []stepView) {
	if len(steps) == 0 {
		return
	}
	m.heading(title)
	for i, s := range steps {
		text := mdText(s.Text)
		if s.Where != "" {
			text += " (" + mdText(s.Where) + ")"
		}
		m.line(fmt.Sprintf("%d. ", i+1), text)
		if s.Command != "" {
			m.fenced("   ", "sh", s.Command)
		}
	}
}

// fenced writes lines as they are, behind a fence that is not in them.
func (m *markdown) fenced(indent, language, text string) {
	fence := strings.Repeat("`", max(3, longestTicks(text)+1))
	m.line(indent, fence, language)
	for l := range strings.SplitSeq(text, "\n") {
		m.line(strings.TrimRight(indent+l, " "))
	}
	m.line(indent, fence)
}

func (m *markdown) table(rows [][]string) {
	for i, r := range rows {
		m.line("| ", strings.Join(r, " | "), " |")
		if i == 0 {
			m.line(strings.Repeat("| --- ", len(r)), "|")
		}
	}
}

func longestTicks(s string) int {
	longest, run := 0, 0
	for _, r := range s {
		if run++; r != '`' {
			run = 0
		}
		longest = max(longest, run)
	}
	return longest
}

// mdCode is text as a code span (CommonMark section 6.1), fit for a table, too.
func mdCode(s string) string {
	if s == "" {
		return ""
	}
	tick := strings.Repeat("`", longestTicks(s)+1)
	if strings.HasPrefix(s, "`") || strings.HasSuffix(s, "`") || strings.Trim(s, " ") == "" {
		s = " " + s + " "
	}
	return tick + strings.ReplaceAll(s, "|", `\|`) + tick
}

// mdText escapes text for any place in a line: CommonMark section 2.4, and
// GitHub's autolinks, mentions and issue references.
func mdText(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	var b strings.Builder
	runes := []rune(s)
	at := func(i int) rune {
		if i < 0 || i >= len(runes) {
			return ' '
		}
		return runes[i]
	}
	word := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
	for i, r := range runes {
		switch {
		case strings.ContainsRune("\\`*[]<>|~$&", r),
			r == '_' && !(word(at(i-1)) && word(at(i+1))), // within a word it is no emphasis
			r == '!' && at(i+1) == '[',
			i == 0 && strings.ContainsRune("#+-=:", r),
			r == ':' && at(i+1) == '/',
			(r == '.' || r == ')') && at(i+1) == ' ' && startsNumber(runes[:i]),
			r == '.' && strings.HasSuffix(strings.ToLower(string(runes[max(0, i-3):i])), "www"):
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '@' && word(at(i+1)), r == '#' && unicode.IsDigit(at(i+1)):
			b.WriteString("`" + string(r) + "`") // neither mention nor reference
		case r == '-' && strings.EqualFold(string(runes[max(0, i-2):i]), "GH") && unicode.IsDigit(at(i+1)):
			b.WriteString(`\-`)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// startsNumber says whether a line begins with these digits and nothing else,
// which a dot would make a list of.
func startsNumber(r []rune) bool {
	return len(r) > 0 && len(r) < 10 && strings.Trim(string(r), "0123456789") == ""
}
