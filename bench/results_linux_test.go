package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestQuantile(t *testing.T) {
	sorted := make([]time.Duration, 11)
	for i := range sorted {
		sorted[i] = time.Duration(i + 1)
	}
	for _, c := range []struct {
		n, percent int
		want       time.Duration
	}{{11, 50, 6}, {11, 90, 10}, {1, 50, 1}, {1, 90, 1}, {2, 50, 1}, {3, 50, 2}, {3, 90, 3}, {10, 90, 9}} {
		if got := quantile(sorted[:c.n], c.percent); got != c.want {
			t.Errorf("%d%% of %d: %d, want %d", c.percent, c.n, got, c.want)
		}
	}
}

func TestShort(t *testing.T) {
	for ms, want := range map[float64]string{
		0.04: "0.0ms", 3.456: "3.5ms", 99.94: "99.9ms", 99.96: "100ms", 999.4: "999ms", 999.6: "1.00s", 9994: "9.99s", 9996: "10.0s", 40000: "40.0s",
	} {
		if got := short(ms); got != want || len(got) > 6 {
			t.Errorf("short(%v) = %s, want %s", ms, got, want)
		}
	}
}

// sampled is a case in which every tool took the same.
func sampled(t time.Duration, kb int64) *results {
	r := &results{Machine: machine(), Runs: 11, BinaryBytes: 12 << 20, LeftOut: []string{"mtr"}}
	for _, s := range scenes() {
		c := result{Name: s.Name, label: s.label(), limits: s.limits}
		for _, tool := range append(ours(), peerTools()...) {
			m := measured{Tool: tool.Name, tool: tool, samples: []sample{{Elapsed: t, PeakKB: kb, TimedOut: t >= perRun}}}
			m.summarise(s.limits)
			c.Tools = append(c.Tools, m)
		}
		r.Cases = append(r.Cases, c)
	}
	return r
}

func TestMissed(t *testing.T) {
	if sampled(15*time.Millisecond, 40<<10).missed() {
		t.Error("the limits themselves are met")
	}
	if !sampled(15*time.Millisecond+1, 1).missed() {
		t.Error("more time than the limit is a miss")
	}
	if !sampled(1, 40<<10+1).missed() {
		t.Error("more memory than the limit is a miss")
	}
	r := sampled(1, 1)
	if r.BinaryBytes = limitBinaryMB<<20 + 1; !r.missed() {
		t.Error("a larger binary than the limit is a miss")
	}
	// An ordinary user's limit is not root's.
	r = sampled(61*time.Millisecond, 1)
	if user, root := r.Cases[0].Tools[0], r.Cases[0].Tools[1]; !user.OverTime || root.OverTime {
		t.Errorf("61 ms on an open port: over as user %v, as root %v", user.OverTime, root.OverTime)
	}
}

func TestTextFits(t *testing.T) {
	for _, d := range []time.Duration{time.Millisecond, 119 * time.Millisecond, 9990 * time.Millisecond, perRun} {
		r := sampled(d, 123<<10)
		var b bytes.Buffer
		if err := r.text(&b); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(b.String()) {
			line = strings.TrimSuffix(line, "\n")
			if n := utf8.RuneCountInString(line); n > 80 {
				t.Errorf("%d columns: %s", n, line)
			}
			if strings.HasPrefix(line, "open v4") && len(strings.Fields(line)) != 10 && !strings.Contains(line, "MB") {
				t.Errorf("columns run together: %q", line)
			}
		}
		for _, want := range []string{"123.0MB!", "not installed: mtr"} {
			if !strings.Contains(b.String(), want) {
				t.Errorf("no %q in\n%s", want, &b)
			}
		}
		if t.Failed() {
			t.Fatalf("%s", &b)
		}
	}
}
