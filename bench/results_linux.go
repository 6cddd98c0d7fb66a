package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// results are what is printed; times in milliseconds, memory in megabytes of
// 1024 kB.
type results struct {
	Machine     computer `json:"machine"`
	Runs        int      `json:"runs"`
	LeftOut     []string `json:"left_out,omitempty"` // tools that are not installed
	BinaryBytes int64    `json:"binary_bytes"`
	Cases       []result `json:"cases"`
}

// result is one case.
type result struct {
	Name        string     `json:"name"`
	Target      string     `json:"target,omitempty"`
	LimitUserMS float64    `json:"limit_user_ms"`
	LimitRootMS float64    `json:"limit_root_ms"`
	Tools       []measured `json:"tools"`

	label  string
	limits limits
}

// measured is one tool in one case.
type measured struct {
	Tool     string    `json:"tool"`
	Runs     int       `json:"runs"`
	MedianMS float64   `json:"median_ms"`
	P90MS    float64   `json:"p90_ms"`
	AllMS    []float64 `json:"all_ms"`
	PeakMB   float64   `json:"peak_mb"`             // the most of all runs
	TimedOut int       `json:"timed_out,omitempty"` // runs ended by the bench
	Failed   int       `json:"failed,omitempty"`    // runs whose exit code says so
	// OverTime and OverMemory say that tcpwhy missed a limit.
	OverTime   bool `json:"over_time,omitempty"`
	OverMemory bool `json:"over_memory,omitempty"`

	tool    tool
	samples []sample
}

// computer is what the figures were measured on.
type computer struct {
	Cores  int    `json:"cores"`
	Arch   string `json:"arch"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
	Load   string `json:"load"` // average of the last minute as the bench began
}

func machine() computer {
	c := computer{Cores: runtime.NumCPU(), Arch: runtime.GOARCH, Go: runtime.Version()}
	var u unix.Utsname
	if err := unix.Uname(&u); err == nil {
		c.Kernel, _, _ = strings.Cut(unix.ByteSliceToString(u.Release[:]), "-")
	}
	load, _ := os.ReadFile("/proc/loadavg")
	c.Load, _, _ = strings.Cut(string(load), " ")
	return c
}

// summarise fills the fields from the samples, of which there is at least one.
func (m *measured) summarise(l limits) {
	var times []time.Duration
	for _, s := range m.samples {
		times = append(times, s.Elapsed)
		m.AllMS = append(m.AllMS, ms(s.Elapsed))
		m.PeakMB = max(m.PeakMB, float64(s.PeakKB)/1024)
		switch {
		case s.TimedOut:
			m.TimedOut++
		case !m.tool.worked(s):
			m.Failed++
		}
	}
	slices.Sort(times)
	m.Runs = len(times)
	median := quantile(times, 50)
	m.MedianMS, m.P90MS = ms(median), ms(quantile(times, 90))
	if m.tool.program == "" {
		limit := l.User
		if m.tool.root {
			limit = l.Root
		}
		m.OverTime = median > limit
		m.OverMemory = m.PeakMB > limitPeakMB
	}
}

// quantile is the smallest of the sorted times that is not exceeded by percent
// of them (nearest rank).
func quantile(sorted []time.Duration, percent int) time.Duration {
	return sorted[(len(sorted)*percent+99)/100-1]
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func (r *results) binaryMB() float64 { return float64(r.BinaryBytes) / (1 << 20) }

// missed says whether any limit was.
func (r *results) missed() bool {
	return r.binaryMB() > limitBinaryMB || slices.ContainsFunc(r.Cases, func(c result) bool {
		return slices.ContainsFunc(c.Tools, func(m measured) bool { return m.OverTime || m.OverMemory })
	})
}

func (r *results) json(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// text prints the tables in 80 columns.
func (r *results) text(w io.Writer) error {
	var b bytes.Buffer
	m := r.Machine
	fmt.Fprintf(&b, "%d cores (%s), Linux %s, %s, load %s at the start; %d runs\n\n", m.Cores, m.Arch, m.Kernel, m.Go, m.Load, r.Runs)
	columns := r.columns()
	r.times(&b, columns)
	r.memory(&b)
	fmt.Fprintf(&b, "binary             at most %4d MB   %.1f MB%s\n\n", limitBinaryMB, r.binaryMB(), mark(r.binaryMB() > limitBinaryMB))
	r.legend(&b, columns)
	_, err := w.Write(b.Bytes())
	return err
}

// columns are the tools of any case, in order.
func (r *results) columns() []tool {
	var all []tool
	for _, c := range r.Cases {
		for _, m := range c.Tools {
			if !slices.ContainsFunc(all, func(t tool) bool { return t.Name == m.Tool }) {
				all = append(all, m.tool)
			}
		}
	}
	return all
}

// times prints a line of medians and one of 90th percentiles for each case.
func (r *results) times(w io.Writer, columns []tool) {
	for i, names := range [][2]string{{"", ""}, {"case", "limit"}} {
		line := fmt.Sprintf("%-15s %8s", names[0], names[1])
		for _, t := range columns {
			line += fmt.Sprintf("%8s", t.heading[i])
		}
		fmt.Fprintln(w, line)
	}
	for _, c := range r.Cases {
		median, p90 := fmt.Sprintf("%-15s %8s", c.label, c.limits), fmt.Sprintf("%-15s %8s", "", "p90")
		for _, t := range columns {
			i := slices.IndexFunc(c.Tools, func(m measured) bool { return m.Tool == t.Name })
			if i < 0 {
				median, p90 = median+fmt.Sprintf("%8s", "-"), p90+fmt.Sprintf("%8s", "-")
				continue
			}
			a, b := c.Tools[i].cells(r.Runs)
			median, p90 = median+fmt.Sprintf("%8s", a), p90+fmt.Sprintf("%8s", b)
		}
		fmt.Fprintf(w, "%s\n%s\n", median, p90)
	}
	fmt.Fprintln(w)
}

// cells are the median and the 90th percentile as the table shows them.
func (m *measured) cells(runs int) (median, p90 string) {
	switch {
	case m.Failed > 0:
		return "failed", ""
	case 2*m.TimedOut > m.Runs:
		median, p90 = ">"+short(float64(perRun.Milliseconds())), ">"+short(float64(perRun.Milliseconds()))
	default:
		median, p90 = short(m.MedianMS)+mark(m.OverTime), short(m.P90MS)
	}
	if m.Runs < runs {
		median += "*"
	}
	return median, p90
}

// memory prints the peaks of tcpwhy.
func (r *results) memory(w io.Writer) {
	fmt.Fprintf(w, "peak memory of tcpwhy, at most %d MB\n%-15s %8s%8s%8s\n", limitPeakMB, "case", "", "user", "root")
	for _, c := range r.Cases {
		fmt.Fprintf(w, "%-15s %8s", c.label, "")
		for _, m := range c.Tools {
			if m.tool.program == "" {
				fmt.Fprintf(w, "%8s", fmt.Sprintf("%.1fMB%s", m.PeakMB, mark(m.OverMemory)))
			}
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w)
}

// legend explains the columns and marks.
func (r *results) legend(w io.Writer, columns []tool) {
	fmt.Fprintln(w, "Whole processes, from fork to exit. Medians, 90th percentiles below them.")
	fmt.Fprintln(w, "! a limit is missed    - not measured")
	fmt.Fprintf(w, "* %d runs, as one takes more than %v; each is ended after %v\n", slowRuns, slow, perRun)
	for _, t := range columns {
		if t.program == "" {
			continue
		}
		who := "an ordinary user"
		if t.root {
			who = "root"
		}
		fmt.Fprintf(w, "%s (%s)\n", t.usage, who)
	}
	if len(r.LeftOut) > 0 {
		fmt.Fprintf(w, "not installed: %s\n", strings.Join(r.LeftOut, ", "))
	}
}

func (l limits) String() string {
	if l.User == l.Root {
		return short(ms(l.User))
	}
	return fmt.Sprintf("%d/%dms", l.User.Milliseconds(), l.Root.Milliseconds())
}

func mark(missed bool) string {
	if missed {
		return "!"
	}
	return ""
}

// short is a time in at most six characters.
func short(ms float64) string {
	switch {
	case ms < 99.95:
		return fmt.Sprintf("%.1fms", ms)
	case ms < 999.5:
		return fmt.Sprintf("%.0fms", ms)
	case ms < 9995:
		return fmt.Sprintf("%.2fs", ms/1000)
	}
	return fmt.Sprintf("%.1fs", ms/1000)
}
