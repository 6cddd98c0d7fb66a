package cause

import (
	"slices"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/manual"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// The ID is the spine of the product: catalogue and manual hold the same set.
func TestCatalogueAndManualAgree(t *testing.T) {
	pages := manual.IDs()
	seen := map[verdict.CauseID]bool{}
	for _, c := range All() {
		if seen[c.ID] {
			t.Errorf("%s is in the catalogue twice", c.ID)
		}
		seen[c.ID] = true
		if !slices.Contains(pages, string(c.ID)) {
			t.Errorf("%s has no page in the manual", c.ID)
			continue
		}
		page, _ := manual.Page(string(c.ID))
		if page.Stage != string(c.Stage) {
			t.Errorf("%s: stage %q in the catalogue, %q in the manual", c.ID, c.Stage, page.Stage)
		}
	}
	for _, p := range pages {
		if !seen[verdict.CauseID(p)] && p != string(verdict.Undetermined) {
			t.Errorf("manual page %s is about no cause of the catalogue", p)
		}
	}
}

func TestPredictionsUseTheVocabulary(t *testing.T) {
	used := map[evidence.Key]map[evidence.Value]bool{}
	for _, c := range All() {
		if c.Title == "" || c.Prior <= 0 || len(c.Ways) == 0 {
			t.Errorf("%s lacks a title, a prior or predictions", c.ID)
		}
		if c.Refines != "" {
			if _, ok := Get(c.Refines); !ok {
				t.Errorf("%s refines %s, which does not exist", c.ID, c.Refines)
			}
		}
		for _, w := range c.Ways {
			for k, vs := range w {
				info, ok := evidence.Lookup(k)
				if !ok {
					t.Errorf("%s predicts the unknown key %s", c.ID, k)
					continue
				}
				if info.Scope != c.Scope() {
					t.Errorf("%s predicts %s, which is of another scope", c.ID, k)
				}
				if len(vs) == 0 {
					t.Errorf("%s predicts no answer at all for %s", c.ID, k)
				}
				for _, v := range vs {
					if !slices.Contains(info.Values, v) {
						t.Errorf("%s predicts %s = %s, which the key cannot be", c.ID, k, v)
					}
					if used[k] == nil {
						used[k] = map[evidence.Value]bool{}
					}
					used[k][v] = true
				}
			}
		}
		for _, w := range c.Weights {
			if info, ok := evidence.Lookup(w.Key); !ok || !slices.Contains(info.Values, w.Value) || w.Factor <= 0 {
				t.Errorf("%s has a weight for %s = %s that can never count", c.ID, w.Key, w.Value)
			}
		}
	}
	for _, info := range evidence.Keys() {
		if used[info.Key] == nil {
			t.Errorf("no cause predicts anything for %s", info.Key)
		}
	}
}
