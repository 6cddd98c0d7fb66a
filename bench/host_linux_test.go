package main

import (
	"bytes"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/bpf"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

func TestHost(t *testing.T) {
	nettest.NeedRoot(t)
	tr, err := bpf.Trace(bpf.Filter{Port: 1})
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, errors.ErrUnsupported) {
		nettest.Unsupported(t, err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	tr.Close()
	s, err := newHostScene(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	r, err := s.run(t.Context(), hostWatcher{"tcpwhy", s.watchTCPWhy}, 1000, 500*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if n := r.load.attempts(); n == 0 || r.load.Failed != 0 || r.seen.Attempts != n || r.seen.Known != n || r.seen.Lost != 0 || r.seen.CPU == 0 || r.machine == 0 {
		t.Errorf("%+v", r)
	}
	if r.load.Open == 0 || r.load.Refused == 0 {
		t.Errorf("not both ports were tried: %+v", r.load)
	}
}

func TestShowHost(t *testing.T) {
	load := hostLoad{Open: 50, Refused: 50, Elapsed: time.Second}
	for _, c := range []struct {
		known int
		lost  uint64
		code  int
	}{{100, 0, exitMet}, {97, 3, exitMet}, {90, 30, exitMet}, {99, 0, exitMissed}, {101, 0, exitMissed}, {101, 5, exitMet}, {110, 5, exitMissed}} {
		var out bytes.Buffer
		code, err := showHost(&out, []hostRun{{watcher: "nobody", load: load}, {watcher: "tcpwhy", rate: 100, load: load, seen: hostSeen{Known: c.known, Lost: c.lost}}})
		if err != nil || code != c.code || strings.Contains(out.String(), "!  ") != (c.code == exitMissed) {
			t.Errorf("%+v: %d, %v\n%s", c, code, err, &out)
		}
		for line := range strings.Lines(out.String()) {
			if len(line) > 100 {
				t.Errorf("long line: %q", line)
			}
		}
	}
}

func TestHostArguments(t *testing.T) {
	for _, args := range [][]string{{"-rate", "0"}, {"-seconds", "0"}, {"-flat", "-1"}, {"x"}} {
		var out bytes.Buffer
		if code, err := benchHost(t.Context(), args, &out, &out); err == nil || code != exitFailed {
			t.Errorf("%q: %d, %v", args, code, err)
		}
	}
}
