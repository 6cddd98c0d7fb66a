package cli

import (
	"slices"
	"strings"
	"testing"
)

func TestNear(t *testing.T) {
	names := strings.Fields("no-listener no-route ttl EACCES host-down host-down-off a1 a2 a3 a4 a5 a6 a7 a8 a9")
	for _, c := range []struct{ typed, want string }{
		{"no-listner", "no-listener"},
		{"NO-LISTENER", "no-listener"},
		{"no-litsener", "no-listener"}, // two letters exchanged
		{"no-lister", "no-listener"},
		{"no-liste", "no-listener"}, // the beginning
		{"eaces", "EACCES"},
		{"host-down", "host-down host-down-off"},
		{"the no-route thing", "no-route"},
		{"bottled water", ""},                         // "ttl" is too short to be meant
		{"a", ""},                                     // too many
		{"", ""},                                      // nothing typed
		{"no-listener" + strings.Repeat(" ", 60), ""}, // too long for a name
	} {
		if got := near(c.typed, names...); !slices.Equal(got, strings.Fields(c.want)) {
			t.Errorf("near %q are %v, want %s", c.typed, got, c.want)
		}
	}
	many := strings.Fields("long-one-indeed long-3 long-4 long-5 long-6 long-7 long-8 long-9 long-10 long")
	if got := near("long-", many...); !slices.Equal(got, strings.Fields("long-3 long-4 long-5 long-6 long-7 long-8 long-9 long")) {
		t.Errorf("the nearest of many are %v", got)
	}
	if got := near("route", "no-route", "no-route"); len(got) != 1 {
		t.Errorf("a name is found twice: %v", got)
	}
}
