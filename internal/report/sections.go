package report

import (
	"slices"
	"strconv"
	"strings"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// set finds repetitions.
type set[T comparable] map[T]struct{}

// add says whether v was not there yet.
func (s set[T]) add(v T) bool {
	n := len(s)
	s[v] = struct{}{}
	return len(s) > n
}

// cause names the cause of a certain verdict and where it is.
func (p *page) cause(v *verdict.Verdict) {
	if v.Certainty != verdict.Certain || !explained(v) {
		return
	}
	s := string(v.Cause)
	if v.Where.IsValid() {
		s += " at " + v.Where.String()
	}
	if t := p.title(v.Cause); t != "" {
		s += ": " + t
	}
	p.section("cause")
	p.item("", s)
}

// why writes the facts that a verdict rests on.
func (p *page) why(d *verdict.Diagnosis, v *verdict.Verdict) {
	n := p.limit(6, len(v.Because))
	marks := make([]string, n)
	for i, id := range v.Because[:n] {
		marks[i] = string(id)
	}
	p.section("why", marks...)
	for _, id := range v.Because[:n] {
		if i := slices.IndexFunc(d.Facts, func(f evidence.Fact) bool { return f.ID == id }); i >= 0 {
			p.item(string(id), d.Facts[i].Text)
		} else {
			p.item(string(id), "")
		}
	}
	p.more(len(v.Because) - n)
}

// ruledOut writes the causes that facts contradict, gathered by the first of
// those facts; unless Verbose a line each.
func (p *page) ruledOut(list []verdict.RuledOut) {
	type fact struct {
		id     string
		causes []string
	}
	var facts []fact
	index := map[string]int{}
	for _, r := range list {
		id := ""
		if len(r.Because) > 0 {
			id = string(r.Because[0])
		}
		i, ok := index[id]
		if !ok {
			i = len(facts)
			index[id] = i
			facts = append(facts, fact{id: id})
		}
		facts[i].causes = append(facts[i].causes, string(r.Cause))
	}
	slices.SortStableFunc(facts, func(a, b fact) int { return len(b.causes) - len(a.causes) })
	n := p.limit(3, len(facts))
	rest := 0
	for _, f := range facts[n:] {
		rest += len(f.causes)
	}
	marks := make([]string, n)
	for i, f := range facts[:n] {
		marks[i] = f.id
	}
	p.section("ruled out", marks...)
	for _, f := range facts[:n] {
		if p.Verbose {
			p.list(f.id, f.causes[:p.limit(0, len(f.causes))])
		} else {
			p.item(f.id, p.fit(f.causes, p.Width-p.margin-p.marks-1))
		}
	}
	p.more(rest)
}

// fit joins as many names as n columns hold and says how many it left out.
func (p *page) fit(names []string, n int) string {
	s, used := "", 0
	for i, name := range names {
		sep := ", "
		if i == 0 {
			sep = ""
		}
		tail := 0
		if left := len(names) - i - 1; left > 0 {
			tail = len(andMore(left))
		}
		if w := cells(p.clean(name)) + len(sep); used+w+tail <= n || i == 0 {
			s, used = s+sep+name, used+w
			continue
		}
		return s + andMore(len(names)-i)
	}
	return s
}

func andMore(n int) string {
	if n <= 0 {
		return ""
	}
	return ", +" + strconv.Itoa(n)
}

// notChecked writes what was not looked at, gathered by reason, and how it
// could be.
func (p *page) notChecked(list []evidence.NotChecked) {
	type reason struct {
		evidence.NotChecked
		checks []string
	}
	var reasons []reason
	index := map[[2]string]int{}
	seen := set[[3]string]{}
	for _, c := range list {
		i, ok := index[[2]string{c.Reason, c.How}]
		if !ok {
			i = len(reasons)
			index[[2]string{c.Reason, c.How}] = i
			reasons = append(reasons, reason{NotChecked: c})
		}
		if seen.add([3]string{c.Check, c.Reason, c.How}) {
			reasons[i].checks = append(reasons[i].checks, c.Check)
		}
	}
	p.section("not checked")
	n := p.limit(3, len(reasons))
	for _, r := range reasons[:n] {
		k := p.limit(4, len(r.checks))
		p.item("", strings.Join(r.checks[:k], ", ")+andMore(len(r.checks)-k)+": "+r.Reason)
		p.how(r.How)
	}
	p.more(len(reasons) - n)
}

// how writes what would make a check possible: a command on its own line,
// words wrapped.
func (p *page) how(s string) {
	switch {
	case s == "":
	case isCommand(s):
		p.command(indent, strings.ReplaceAll(s, "\n", " "))
	default:
		p.item(" ", s)
	}
}

// isCommand guesses whether a remedy is a command to copy, which is never
// broken, or a sentence.
func isCommand(s string) bool {
	first, _, _ := strings.Cut(s, " ")
	switch first {
	case "sudo", "setcap", "sysctl", "ip", "nft", "ss", "tcpwhy", "modprobe", "unshare", "apt", "apt-get", "systemctl":
		return true
	}
	return false
}

// advice writes what to do next and what would fix it: of the name as a whole,
// then of the addresses where that differs.
func (p *page) advice(d *verdict.Diagnosis, blocks []block) {
	verdicts := []*verdict.Verdict{&d.Verdict}
	for _, b := range blocks {
		verdicts = append(verdicts, &b.v.Verdict)
	}
	var steps []verdict.Step
	seen := set[[2]string]{}
	for _, v := range verdicts {
		for _, s := range v.Next {
			if seen.add([2]string{s.Check, s.Command}) {
				steps = append(steps, s)
			}
		}
	}
	if d.Verdict.Certainty == verdict.Certain {
		p.section("to confirm") // the answer is there; this shows it once more
	} else {
		p.section("do next")
	}
	n := p.limit(3, len(steps))
	for i, s := range steps[:n] {
		p.step(i+1, s)
	}
	p.more(len(steps) - n)
	p.fixes(verdicts)
}

// step writes one thing to do.
func (p *page) step(n int, s verdict.Step) {
	text := s.Check
	if p.Verbose && len(s.Separates) > 0 {
		ids := make([]string, len(s.Separates))
		for i, c := range s.Separates {
			ids[i] = string(c)
		}
		text += " (tells apart " + strings.Join(ids, ", ") + ")"
	}
	mark := strconv.Itoa(n) + "."
	p.item(mark, text)
	p.command(len(mark)+1, s.Command)
}

// fixes writes what would remove the cause. When the verdict is not certain it
// says for which cause that would be; the system is named unless all are for
// Linux or for any.
func (p *page) fixes(verdicts []*verdict.Verdict) {
	type remedy struct {
		verdict.Fix
		only verdict.CauseID
	}
	var all []remedy
	seen := set[remedy]{}
	for _, v := range verdicts {
		var only verdict.CauseID
		if v.Certainty != verdict.Certain {
			only = v.Cause
		}
		for _, f := range v.Fix {
			if r := (remedy{f, only}); seen.add(r) {
				all = append(all, r)
			}
		}
	}
	general := []string{"", "any"}
	plain := !slices.ContainsFunc(all, func(r remedy) bool { return r.OS != "linux" && !slices.Contains(general, r.OS) })
	p.section("fix")
	n := p.limit(3, len(all))
	for _, r := range all[:n] {
		text := r.Text
		if r.only != "" {
			text = "if " + string(r.only) + ": " + text
		}
		if !plain && !slices.Contains(general, r.OS) {
			text += " (" + r.OS + ")"
		}
		p.item("", text)
		p.command(indent, r.Command)
	}
	p.more(len(all) - n)
}
