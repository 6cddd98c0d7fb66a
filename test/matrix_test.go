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
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tcpwhy/tcpwhy/internal/cli"
	"github.com/tcpwhy/tcpwhy/internal/judge"
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

// manyAtOnce lets many labs run at once: they spend their time waiting. The program
// is built once for all.
type manyAtOnce struct{ *testing.M }

func (m manyAtOnce) Run() int {
	flag.Parse()
	flag.Set("test.parallel", "12")
	forget, err := nettest.KeepBuilt()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer forget()
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
	l, err := lab.Open(t.Context(), s, f, lab.Params{})
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
// and as an ordinary user. The truth must be among the candidates, and a verdict
// that says certain must be the truth, in every case. No more may be left than
// the scenario's ideal, but in those that say why, one in twenty at most.
func TestMatrix(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		program := nettest.Build(t, "../cmd/tcpwhy")
		all := judge.Cases(lab.Scenarios(), judge.Vantages...)
		var (
			mu    sync.Mutex
			score judge.Score
		)
		t.Run("cases", func(t *testing.T) {
			for _, c := range all {
				t.Run(c.String(), func(t *testing.T) {
					t.Parallel()
					var args []string
					if dir := os.Getenv("TCPWHY_GOLDEN"); dir != "" && golden(c) {
						args = []string{"--evidence", goldenFile(t, dir, c.Scenario.Name)}
					}
					r := judge.Try(t.Context(), c, program, args...)
					if r.Sound && !r.Sharp && r.Why == "" {
						// A lost packet or a busy machine may hide what would have told more.
						r = judge.Try(t.Context(), c, program, args...)
					}
					mu.Lock()
					score.Add(r)
					mu.Unlock()
					if os.Getenv("TCPWHY_MATRIX") != "" {
						fmt.Printf("MATRIX %v %s %s %.0fms %v\n", c, r.Outcome, r.Certainty, r.ElapsedMS, r.Left)
					}
					switch {
					case r.Unsupported != "":
						nettest.Unsupported(t, r.Unsupported)
					case r.Error != "":
						t.Fatal(r.Error)
					case !r.Sound:
						t.Errorf("unsound: %s of %s, the truth is %s: %s", r.Certainty, r.Left, r.Truth, r.Finding)
					case !r.Sharp && r.Why == "":
						t.Errorf("not sharp: %s is left beyond the ideal %s: %s", r.Extra, c.Ideal(), r.Finding)
					}
					show(t, c, program)
				})
			}
		})
		// A selection of cases may be one of blunt ones.
		if n := score.Judged(); score.Cases == len(all) && score.Sharp*20 < n*19 {
			t.Errorf("%d of %d cases are sharp, want 95 %%", score.Sharp, n)
		}
	})
}

// show prints the answer as text where TCPWHY_MATRIX asks for it: t for text, v
// for everything.
func show(t *testing.T, c judge.Case, program string) {
	mode := os.Getenv("TCPWHY_MATRIX")
	if mode != "v" && mode != "t" {
		return
	}
	l := open(t, c.Scenario, c.Family)
	args := append(slices.Clone(c.Scenario.Arguments(c.Family)), l.Target())
	if mode == "v" {
		args = append(args, "-v")
	}
	out, _ := l.Command(c.Scenario.From, c.Vantage == judge.Ordinary, program, args...).Output()
	fmt.Printf("%s\n", out)
}

func who(ordinary bool) string {
	if ordinary {
		return string(judge.Ordinary)
	}
	return string(judge.Root)
}

// golden says whether the evidence of a run is kept for internal/diagnose: that
// of the scenario named like its cause, or the cause's first, as root, and IPv4
// where it can be had.
func golden(c judge.Case) bool {
	name := c.Scenario.Cause
	if _, ok := lab.Find(name); !ok {
		first := slices.IndexFunc(lab.Scenarios(), func(o lab.Scenario) bool { return o.Cause == name })
		name = lab.Scenarios()[first].Name
	}
	return c.Vantage == judge.Root && c.Scenario.Name == name && c.Family == c.Scenario.Families[0]
}

func goldenFile(t *testing.T, dir, name string) string {
	t.Helper()
	dir = filepath.Join(dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "evidence.json")
}
