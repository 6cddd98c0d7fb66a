//go:build linux

// Package test holds the diagnosis against the lab and against real servers:
// the program as a user runs it, and the truth that only the lab knows.
package test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tcpwhy/tcpwhy/internal/cli"
	"github.com/tcpwhy/tcpwhy/internal/lab"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
	"github.com/tcpwhy/tcpwhy/internal/report/reporttest"
)

// TestMain is the program itself where a script of TestScripts runs tcpwhy.
func TestMain(m *testing.M) {
	testscript.Main(manyAtOnce{m}, map[string]func(){
		"tcpwhy": func() { os.Exit(cli.Main(os.Args[1:], cli.System())) },
	})
}

// manyAtOnce lets many labs run at once: they spend their time waiting.
type manyAtOnce struct{ *testing.M }

func (m manyAtOnce) Run() int {
	flag.Parse()
	flag.Set("test.parallel", "6")
	return m.M.Run()
}

// answer is what the tests read of the JSON.
type answer struct {
	Outcome string
	Elapsed float64 `json:"elapsed_ms"`
	Verdict struct {
		Certainty  string
		Cause      string
		Finding    string
		Candidates []struct {
			Cause   string
			Refines string
		}
	}
}

// candidates are the causes left, refinements left out.
func (a *answer) candidates() []string {
	var ids []string
	for _, c := range a.Verdict.Candidates {
		if c.Refines == "" {
			ids = append(ids, c.Cause)
		}
	}
	return ids
}

func parse(t *testing.T, out []byte) *answer {
	t.Helper()
	a, err := decode(out)
	if err != nil {
		t.Fatalf("%v\n%.2000s", err, out)
	}
	return a
}

func decode(out []byte) (*answer, error) {
	if err := reporttest.Validate(out); err != nil {
		return nil, fmt.Errorf("the answer breaks the schema: %w", err)
	}
	a := &answer{}
	return a, json.Unmarshal(out, a)
}

func open(t *testing.T, s lab.Scenario, f lab.Family) *lab.Lab {
	t.Helper()
	l, err := lab.Open(t.Context(), s, f)
	if errors.Is(err, errors.ErrUnsupported) {
		nettest.Unsupported(t, err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// TestMatrix judges the diagnosis of every scenario, for each family, as root
// and as an ordinary user. The truth must be among the candidates, a verdict
// that says certain must be the truth, and no more may be left than the
// scenario's entry in the ideals says.
func TestMatrix(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		program := nettest.Build(t, "../cmd/tcpwhy")
		for _, s := range lab.Scenarios() {
			for _, f := range s.Families {
				for _, ordinary := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s/%v/%s", s.Name, f, who(ordinary)), func(t *testing.T) {
						t.Parallel()
						l := open(t, s, f)
						judge(t, l, program, ordinary)
					})
				}
			}
		}
	})
}

func judge(t *testing.T, l *lab.Lab, program string, ordinary bool) {
	t.Helper()
	s := l.Scenario
	from := s.From
	if from == "" {
		from = lab.Client
	}
	args := []string{"-o", "json", l.Target()}
	if dir := os.Getenv("TCPWHY_GOLDEN"); dir != "" && golden(l, ordinary) {
		args = append(args, "--evidence", goldenFile(t, dir, s.Name))
	}
	cmd := l.Command(from, ordinary, program, args...)
	out, err := cmd.Output()
	if len(out) == 0 {
		t.Fatalf("no answer: %v", err)
	}
	a := parse(t, out)
	left := a.candidates()
	if os.Getenv("TCPWHY_MATRIX") != "" {
		fmt.Printf("MATRIX %s %v ordinary=%v %s %s %.0fms %v\n", s.Name, l.Family, ordinary, a.Outcome, a.Verdict.Certainty, a.Elapsed, left)
	}
	if mode := os.Getenv("TCPWHY_MATRIX"); mode == "v" || mode == "t" {
		show := []string{l.Target()}
		if mode == "v" {
			show = append(show, "-v")
		}
		out, _ := l.Command(from, ordinary, program, show...).Output()
		fmt.Printf("%s\n", out)
	}
	all := left
	for _, c := range a.Verdict.Candidates {
		all = append(all, c.Cause)
	}
	if !slices.Contains(all, s.Cause) {
		t.Errorf("the truth %s is not among the candidates %v: %s", s.Cause, all, a.Verdict.Finding)
	}
	if a.Verdict.Certainty == "certain" && a.Verdict.Cause != s.Cause {
		t.Errorf("certain of %s, the truth is %s: %s", a.Verdict.Cause, s.Cause, a.Verdict.Finding)
	}
	ideal, ok := ideals(t)[s.Name+" "+who(ordinary)]
	if !ok {
		t.Errorf("testdata/ideals.txt has no line for %s as %s; it leaves %s", s.Name, who(ordinary), strings.Join(left, " "))
	}
	for _, c := range left {
		if !slices.Contains(ideal, c) {
			t.Errorf("%s is still a candidate; the ideal leaves %v: %s", c, ideal, a.Verdict.Finding)
		}
	}
}

func who(ordinary bool) string {
	if ordinary {
		return "ordinary"
	}
	return "root"
}

// ideals are the causes that may be left, at most, by scenario and privilege:
// what the evidence that can be had there cannot tell apart.
var ideals = func() func(t *testing.T) map[string][]string {
	read := sync.OnceValues(func() (map[string][]string, error) {
		text, err := os.ReadFile("testdata/ideals.txt")
		m := map[string][]string{}
		for line := range strings.Lines(string(text)) {
			if key, causes, ok := strings.Cut(line, ":"); ok && line[0] != '#' {
				m[key] = strings.Fields(causes)
			}
		}
		return m, err
	})
	return func(t *testing.T) map[string][]string {
		t.Helper()
		m, err := read()
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
}()

// golden says whether the evidence of a run is kept for internal/diagnose: that
// of the first scenario of each cause, as root, and IPv4 where it can be had.
func golden(l *lab.Lab, ordinary bool) bool {
	s := l.Scenario
	first := slices.IndexFunc(lab.Scenarios(), func(o lab.Scenario) bool { return o.Cause == s.Cause })
	return !ordinary && lab.Scenarios()[first].Name == s.Name && l.Family == s.Families[0]
}

func goldenFile(t *testing.T, dir, name string) string {
	t.Helper()
	dir = filepath.Join(dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "evidence.json")
}
