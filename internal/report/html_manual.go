package report

import (
	"slices"
	"strconv"

	"github.com/tcpwhy/tcpwhy/internal/manual"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// manualView is what the manual says about the cause.
type manualView struct {
	ID, Title, Meaning string
	If                 bool // the cause is likeliest, not certain
	Sections           []sectionView
	Sources            []string
}

type sectionView struct {
	Title string
	Later bool // not for paper, which is for now
	Items []itemView
}

type itemView struct {
	Place, Text, Command, Changes, Undo, UndoCommand string
}

// newManualView fills the page of the cause with what the diagnosis knows; nil
// where there is nothing to fix.
func newManualView(p *page, d *verdict.Diagnosis) *manualView {
	v := &d.Verdict
	page, ok := manual.Page(string(v.Cause))
	if !ok || !explained(v) {
		return nil
	}
	vars := manual.Vars{Host: d.Set.Target.Host, Port: strconv.Itoa(int(d.Set.Target.Port))}
	if v.Where.IsValid() {
		vars.Router = v.Where.String()
	}
	for i := range d.Addresses {
		v := &d.Addresses[i]
		a := evidenceOf(d, v)
		if a == nil || vars.Addr != "" && v.Outcome == verdict.Open {
			continue
		}
		vars.Addr = v.Addr.Addr().String()
		if att, _ := shown(a); att != nil && att.Tuple.Local.IsValid() && !att.Tuple.Local.Addr().IsUnspecified() {
			vars.Client = att.Tuple.Local.Addr().WithZone("").String()
		}
		if v.Outcome != verdict.Open {
			break
		}
	}
	if l := listenerOf(d); l != "" {
		vars.Service = l
	}
	out := &manualView{ID: page.ID, Title: page.Title, Meaning: page.Meaning, If: v.Certainty != verdict.Certain, Sources: page.Sources}
	for _, s := range []struct {
		title string
		items []manual.Item
		later bool
	}{{"Fix it", page.Fix, false}, {"See that it works again", page.Verify, false}, {"Keep it from coming back", page.Prevent, true}} {
		section := sectionView{Title: s.title, Later: s.later}
		for _, it := range s.items {
			it = it.Fill(vars)
			if slices.ContainsFunc(v.Fix, func(f verdict.Fix) bool { return f.Text == it.Text && f.Command == it.Command }) && it.Undo == "" && it.UndoCommand == "" {
				continue // it stands above
			}
			section.Items = append(section.Items, itemView{
				p.clean(itemPlace(it)), p.clean(it.Text), command(it.Command), p.clean(it.Changes), p.clean(it.Undo), command(it.UndoCommand),
			})
		}
		if len(section.Items) > 0 {
			out.Sections = append(out.Sections, section)
		}
	}
	return out
}

// listenerOf is the program that listens on the port, if that was seen.
func listenerOf(d *verdict.Diagnosis) string {
	for i := range d.Set.Addresses {
		if l := d.Set.Addresses[i].Listeners; l != nil && len(l.OnPort) > 0 {
			return l.OnPort[0].Process
		}
	}
	return ""
}

// itemPlace says on which system and at which end an item is to be done.
func itemPlace(it manual.Item) string {
	system := map[string]string{"linux": "Linux", "macos": "macOS", "windows": "Windows", "docker": "Docker",
		"kubernetes": "Kubernetes", "aws": "AWS", "azure": "Azure", "gcp": "Google Cloud"}[it.OS]
	at := map[string]string{"client": "client", "host": "host", "both": "both ends"}[it.Where]
	switch {
	case system == "":
		return at
	case at == "":
		return system
	}
	return system + ", " + at
}
