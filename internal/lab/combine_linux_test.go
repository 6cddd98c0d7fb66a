package lab_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/lab"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

func TestCombine(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		for _, c := range []struct {
			names string
			want  lab.Outcome
			truth string
		}{
			{"local-firewall-drop+no-listener", lab.TimesOut, "local-firewall-drop no-listener"},
			{"no-listener+local-firewall-drop", lab.TimesOut, "no-listener local-firewall-drop"},
			{"host-firewall-reject+none-dual-stack", lab.Refused, "host-firewall-reject"},
			{"dns-server-failure+host-firewall-drop", "", "dns-server-failure host-firewall-drop"},
			{"packet-loss+application-silent", lab.Opens, "packet-loss application-silent"},
		} {
			t.Run(c.names, func(t *testing.T) {
				t.Parallel()
				s, err := lab.Combine(strings.Split(c.names, "+")...)
				if err != nil {
					t.Fatal(err)
				}
				if s.Name != c.names || s.Stage != "combined" || !slices.Equal(s.Truth(), strings.Fields(c.truth)) {
					t.Errorf("%s, stage %s, causes %v", s.Name, s.Stage, s.Truth())
				}
				if got := s.Expected(lab.V6); c.want != "" && got != c.want {
					t.Errorf("connect(2) is to see %s, want %s", got, c.want)
				}
				l := open(t, s, lab.V6)
				if err := l.Verify(t.Context()); err != nil {
					t.Error(err)
				}
				if err := l.Close(); err != nil {
					t.Error(err)
				}
			})
		}
	})
}

// Until Break all is well.
func TestCombineLater(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		s, err := lab.Combine("local-firewall-reject", "no-listener")
		if err != nil {
			t.Fatal(err)
		}
		l, err := lab.Open(t.Context(), s, lab.V4, lab.Params{Later: true})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if err := l.Verify(t.Context()); err == nil || !strings.Contains(err.Error(), "open, want ECONNREFUSED") {
			t.Errorf("before the fault: %v", err)
		}
		if err := l.Break(); err != nil {
			t.Fatal(err)
		}
		if err := l.Verify(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestCombineErrors(t *testing.T) {
	for _, c := range []struct{ names, want string }{
		{"no-listener nonsense", `"nonsense"`},
		{"no-listener no-listener", "twice"},
		{"no-listener no-listener-own-link", "other networks (two-routers and own-link)"},
		{"local-firewall-drop host-reverse-path-filter family-unsupported", "other networks"},
		{"", "no scenario"},
	} {
		if _, err := lab.Combine(strings.Fields(c.names)...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want an error with %q", c.names, err, c.want)
		}
	}
	if s, err := lab.Combine("no-listener"); err != nil || s.Stage != "listener" {
		t.Errorf("one alone: %v, stage %s", err, s.Stage)
	}
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		s, err := lab.Combine("dns-server-failure", "host-down")
		if err != nil {
			t.Fatal(err)
		}
		if l, err := lab.Open(t.Context(), s, lab.V4, lab.Params{}); err == nil || !strings.Contains(err.Error(), "need other targets") {
			if l != nil {
				l.Close()
			}
			t.Errorf("a name and an address as targets: %v", err)
		}
	})
}
