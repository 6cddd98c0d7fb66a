package tcpwhy

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/cause"
	"github.com/tcpwhy/tcpwhy/internal/errtext"
	ev "github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

func TestPicturesSpeakTheVocabulary(t *testing.T) {
	for k, ps := range pictures() {
		for _, p := range ps {
			for _, f := range p.facts {
				if info, ok := ev.Lookup(f.Key); !ok || !slices.Contains(info.Values, f.Value) {
					t.Errorf("%s: %s = %s is no fact", k, f.Key, f.Value)
				}
			}
		}
	}
	for _, k := range errtext.Kinds() {
		got := remaining(k.Kind, errtext.OpUnknown, "", errtext.Target{}.Addr)
		if len(got) == 0 && k.Kind != errtext.PoolTimeout {
			t.Errorf("%s leaves no cause", k.Kind)
		}
		sum := 0.0
		for i, c := range got {
			sum += c.Likelihood
			if c.Title == "" || c.Stage == "" || i > 0 && c.Likelihood > got[i-1].Likelihood {
				t.Errorf("%s: %+v", k.Kind, got)
			}
		}
		if len(got) > 0 && (sum < 0.98 || sum > 1.02) {
			t.Errorf("%s: the likelihoods sum to %v", k.Kind, sum)
		}
	}
}

// TestEveryCauseHasAnError: an error text leads to every cause, except those
// that only show when things are compared.
func TestEveryCauseHasAnError(t *testing.T) {
	compared := map[verdict.CauseID]bool{
		"none":            true,
		"self-connection": true, // it works, in a way
	}
	left := map[string]bool{}
	for _, k := range errtext.Kinds() {
		for _, c := range remaining(k.Kind, errtext.OpUnknown, "", errtext.Target{}.Addr) {
			left[c.ID] = true
		}
	}
	for _, c := range cause.All() {
		if left[string(c.ID)] == compared[c.ID] {
			t.Errorf("%s: an error leads to it: %v", c.ID, left[string(c.ID)])
		}
	}
}

// TestTheTruthRemains takes what connect() said in the lab under each fault,
// and asks what its error leaves: the fault must be among it. A wrong exclusion
// here would be a wrong answer with an air of certainty.
func TestTheTruthRemains(t *testing.T) {
	dirs, err := filepath.Glob("internal/diagnose/testdata/golden/*/evidence.json")
	if err != nil || len(dirs) < 40 {
		t.Fatalf("%d golden directories, %v", len(dirs), err)
	}
	tried := 0
	for _, file := range dirs {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var s ev.Set
		if err := json.Unmarshal(text, &s); err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(filepath.Dir(file))
		for _, k := range shown(&s) {
			tried++
			got := remaining(k, errtext.OpUnknown, s.Target.Host, s.Target.Addr)
			if !slices.ContainsFunc(got, func(c Cause) bool { return c.ID == name || strings.HasPrefix(name, c.ID+"-") }) && !strings.HasPrefix(name, "none") {
				t.Errorf("%s: its %s leaves %v", name, k, got)
			}
		}
		for _, a := range s.Addresses {
			for _, at := range a.Attempts {
				var kind errtext.Kind
				switch m := errtext.Lookup(at.Errno); {
				case at.Connected:
					continue
				case at.Errno == "":
					kind = errtext.ConnectTimeout
				case len(m) > 0:
					kind = m[0].Kind
				default:
					t.Errorf("%s: errno %q is not known", name, at.Errno)
					continue
				}
				tried++
				host := s.Target.Host
				got := remaining(kind, errtext.OpConnect, host, a.Addr.Addr())
				// The directory is named for its cause and how that was made.
				if !slices.ContainsFunc(got, func(c Cause) bool { return c.ID == name || strings.HasPrefix(name, c.ID+"-") }) {
					t.Errorf("%s: connect to %s said %s, whose %s leaves %v", name, s.Target.Input, at.Errno, kind, got)
				}
			}
		}
	}
	if tried < 30 {
		t.Errorf("only %d attempts that failed", tried)
	}
}

// shown are the kinds of error that a program would have to tell after the
// handshake of the run, or of its name.
func shown(s *ev.Set) (kinds []errtext.Kind) {
	for _, a := range s.Addresses {
		x := a.Session
		switch {
		case x == nil:
		case x.HTTP != nil && x.HTTP.Status >= 502 && x.HTTP.Status <= 504:
			kinds = append(kinds, errtext.BadGateway)
		case x.TLS != nil && x.TLS.Problem == "not-tls":
			kinds = append(kinds, errtext.WrongProtocol)
		case x.TLS != nil && !x.TLS.OK:
			kinds = append(kinds, errtext.TLSFailed)
		case x.End == "rst" && x.Received == 0:
			kinds = append(kinds, errtext.Reset, errtext.Closed)
		case x.End == "fin" && x.Received == 0:
			kinds = append(kinds, errtext.Closed)
		case x.Hello != "" && x.Received == 0:
			kinds = append(kinds, errtext.ReadTimeout, errtext.Timeout)
		}
	}
	if n := s.Name; n != nil && len(n.Addrs) == 0 && len(s.Addresses) == 0 {
		kinds = append(kinds, errtext.NameFailed)
	}
	return kinds
}

func TestTheTargetExcludes(t *testing.T) {
	has := func(line, cause string) bool {
		e, ok := ExplainText([]byte(line))
		if !ok {
			t.Fatalf("%s is not known", line)
		}
		return slices.ContainsFunc(e.Causes, func(c Cause) bool { return c.ID == cause })
	}
	for _, c := range []struct {
		line, cause string
		left        bool
	}{
		{"dial tcp 192.0.2.7:80: connect: connection refused", "no-listener", true},
		{"dial tcp 192.0.2.7:80: connect: connection refused", "path-firewall-reset", true},
		{"dial tcp 192.0.2.7:80: connect: connection refused", "host-firewall-reject", true},
		{"dial tcp 192.0.2.7:80: connect: connection refused", "host-down", false},
		{"dial tcp 192.0.2.7:80: connect: connection refused", "host-firewall-drop", false},
		{"dial tcp 192.0.2.7:80: connect: connection refused", "path-no-route", false},
		// An address was typed: no name can have misled.
		{"dial tcp 192.0.2.7:80: connect: connection refused", "hosts-file-override", false},
		{"ssh: connect to host db.example port 22: Connection refused", "hosts-file-override", true},
		// The target is this host: no path is between.
		{"dial tcp 127.0.0.1:80: connect: connection refused", "path-firewall-reset", false},
		{"dial tcp 127.0.0.1:80: connect: connection refused", "no-listener", true},
		{"dial tcp 192.0.2.7:80: i/o timeout", "host-firewall-drop", true},
		{"dial tcp 192.0.2.7:80: i/o timeout", "accept-queue-full", true},
		{"dial tcp 192.0.2.7:80: i/o timeout", "no-listener", false},
		{"dial tcp 192.0.2.7:80: connect: no route to host", "host-down", true},
		{"dial tcp 192.0.2.7:80: connect: no route to host", "path-prohibited", true},
		{"dial tcp 192.0.2.7:80: connect: network is unreachable", "no-route", true},
		{"dial tcp 192.0.2.7:80: connect: network is unreachable", "path-no-route", true},
		{"read tcp 192.0.2.2:4000->192.0.2.7:80: read: connection reset by peer", "reset-on-accept", true},
		{"read tcp 192.0.2.2:4000->192.0.2.7:80: read: connection reset by peer", "no-listener", false},
		{"x509: certificate signed by unknown authority", "tls-failed", true},
		{"x509: certificate signed by unknown authority", "syn-queue-full", false},
		{"listen tcp :8080: bind: address already in use", "bind-address-in-use", true},
		{"listen tcp :8080: bind: address already in use", "source-port-busy", false},
		{"dial tcp: lookup db.example: no such host", "name-not-found", true},
		{"dial tcp: lookup db.example: no such host", "dns-timeout", false},
		{"dial tcp: lookup db.example: no such host", "no-listener", false},
	} {
		if has(c.line, c.cause) != c.left {
			t.Errorf("%s: %s left: %v", c.line, c.cause, !c.left)
		}
	}
}
