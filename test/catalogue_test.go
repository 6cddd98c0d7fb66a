//go:build linux

package test

import (
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/cause"
	"github.com/tcpwhy/tcpwhy/internal/lab"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// The lab, the catalogue and the list above name the same causes.
func TestEveryCauseHasAScenarioOrAReason(t *testing.T) {
	made := map[string]bool{}
	for _, s := range lab.Scenarios() {
		made[s.Cause] = true
		if _, ok := cause.Get(verdict.CauseID(s.Cause)); !ok {
			t.Errorf("scenario %s is about %s, which is no cause", s.Name, s.Cause)
		}
	}
	known := map[string]bool{}
	for _, c := range cause.All() {
		id := string(c.ID)
		known[id] = true
		switch why, listed := lab.Unmade[id]; {
		case made[id] && listed:
			t.Errorf("%s has a scenario and must leave the list of lab.Unmade causes", id)
		case !made[id] && why == "":
			t.Errorf("%s has neither a scenario nor a reason why not", id)
		}
	}
	for id := range lab.Unmade {
		if !known[id] {
			t.Errorf("%s is listed as lab.Unmade and is no cause", id)
		}
	}
}
