package lab_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/lab"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// tried opens a lab and verifies it.
func tried(t *testing.T, s lab.Scenario, f lab.Family, p lab.Params) error {
	t.Helper()
	l, err := lab.Open(t.Context(), s, f, p)
	if errors.Is(err, errors.ErrUnsupported) {
		nettest.Unsupported(t, err.Error())
	}
	if err != nil {
		return err
	}
	err = l.Verify(t.Context())
	return errors.Join(err, l.Close())
}

// Loss comes on top of whatever is wrong between two hosts. Where it cannot be
// seen, or hides the fault, that is said.
func TestLosing(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		for i, c := range []struct {
			names   string
			percent int
			refused string
		}{
			{"none", 30, ""},
			{"none-own-link", 30, ""},
			{"none-load-balancer", 30, ""},
			{"no-listener", 3, ""},
			{"no-listener", 99, "is hidden by a loss of 99 %"},
			{"packet-loss", 30, ""},
			{"path-firewall-reset-r1", 30, ""},
			{"reset-on-accept", 30, ""},
			{"local-firewall-reject", 30, ""}, // another port shows the loss
			{"host-firewall-drop", 30, ""},    // so here
			{"host-firewall-drop", 99, "is hidden by a loss of 99 %"},
			{"host-firewall-drop-us", 30, ""}, // router1 tells
			{"ecn-blocked", 30, ""},
			{"name-not-found", 30, ""},
			{"packet-loss-20+no-listener", 0, ""},
			{"packet-loss+application-silent", 40, ""},
			{"no-listener-local", 30, "its target is on the client itself"},
			{"name-points-to-self-any", 30, "its target is on the client itself"},
			{"no-route", 30, "no packet leaves the client"},
			{"local-policy-denies", 30, "no packet leaves the client"},
			{"interface-no-carrier", 30, "leaves no path"},
			{"path-blackhole-route", 30, "leaves no path"},
			{"neighbour-unreachable", 30, "leaves no path"},
		} {
			f := []lab.Family{lab.V4, lab.V6}[i%2]
			t.Run(fmt.Sprintf("%s/%d/%v", c.names, c.percent, f), func(t *testing.T) {
				t.Parallel()
				s, err := lab.Combine(strings.Split(c.names, "+")...)
				if err != nil {
					t.Fatal(err)
				}
				if c.percent > 0 {
					s = s.Losing(c.percent)
				}
				if !slices.Contains(s.Truth(), "packet-loss") || s.Loss == 0 {
					t.Errorf("the causes are %v, with a loss of %d %%", s.Truth(), s.Loss)
				}
				err = tried(t, s, f, lab.Params{})
				refusal(t, err, "loss", c.refused)
			})
		}
	})
}

// refusal checks that an error is about a parameter and has a text, or that there
// is none where the text is empty.
func refusal(t *testing.T, err error, param, text string) {
	t.Helper()
	var refused *lab.ParamsError
	switch {
	case text == "":
		if err != nil {
			t.Error(err)
		}
	case !errors.As(err, &refused) || refused.Param != param || !strings.Contains(err.Error(), text):
		t.Errorf("error %v, want one about %s: %s", err, param, text)
	}
}

// What Losing says of a scenario that has loss by itself is about the new share.
func TestLosingInstead(t *testing.T) {
	for _, c := range []struct {
		name    string
		percent int
		truth   string
		count   string
	}{
		{"packet-loss", 50, "packet-loss", "8"},
		{"packet-loss-5", 50, "packet-loss", "8"},
		{"packet-loss-50", 2, "packet-loss none", "20"}, // a run may well meet none
		{"packet-loss-closed", 20, "packet-loss no-listener", "12"},
		{"none-loss-1", 10, "none packet-loss", ""},
		{"host-down", 10, "host-down packet-loss", ""},
	} {
		s := find(t, c.name).Losing(c.percent)
		args := s.Arguments(lab.V4)
		if s.Loss != c.percent || !slices.Equal(s.Truth(), strings.Fields(c.truth)) || c.count == "" != (args == nil) || c.count != "" && args[1] != c.count {
			t.Errorf("%s with %d %%: %d %%, causes %v, arguments %v", c.name, c.percent, s.Loss, s.Truth(), args)
		}
		for _, ideal := range [][]string{s.Ideal.Ordinary, s.Ideal.Root, s.HostIdeal()} {
			if !slices.Contains(ideal, "packet-loss") {
				t.Errorf("%s with %d %%: the best verdict leaves %v", c.name, c.percent, ideal)
			}
		}
	}
	if before := find(t, "no-listener"); len(before.Losing(5).Also) != 1 || len(before.Also) != 0 {
		t.Error("Losing changes the scenario that it is made from")
	}
}

// A port that a scenario cannot have is not left aside without a word.
func TestPort(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		for _, c := range []struct {
			name    string
			port    uint16
			refused string
		}{
			{"no-listener", 9000, ""},
			{"none-ssh", 22, ""},
			{"none-ssh", 9000, "cannot have port 9000: it is about port 22"},
			{"self-connection", 9000, "it is about port 40000"},
			{"listens-on-other-port", 8443, "cannot be proven at port 8443"},
		} {
			t.Run(fmt.Sprintf("%s/%d", c.name, c.port), func(t *testing.T) {
				t.Parallel()
				err := tried(t, find(t, c.name), lab.V4, lab.Params{Port: c.port})
				refusal(t, err, "port", c.refused)
			})
		}
	})
}

// A full table is that of one host: the others, and the machine, are not touched.
func TestTableFull(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		read := func(name string) (n int, err error) {
			b, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_" + name)
			if err == nil {
				n, err = strconv.Atoi(strings.TrimSpace(string(b)))
			}
			return n, err
		}
		l := open(t, find(t, "conntrack-full"), lab.V4)
		defer l.Close()
		counts := make(map[string]int)
		limit := 0
		for _, host := range []string{lab.Client, lab.Server} {
			err := l.Do(host, func() (err error) {
				if limit, err = read("max"); err != nil {
					return err
				}
				counts[host], err = read("count")
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if counts[lab.Client] < limit || counts[lab.Server] > 100 {
			t.Errorf("the client tracks %d connections and the server %d, with a limit of %d", counts[lab.Client], counts[lab.Server], limit)
		}
	})
}
