package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/tcpflow/flowtest"
)

// The words that make this program the benchmark of reading captures, and its
// reader of one.
const (
	pcapWord = "pcap"
	readFlag = "-read"
)

// reader is a program that reads a capture.
type reader struct {
	name string
	// argv before the name of the file; "" stands for this program, "tcpwhy" for
	// that which was built.
	argv  []string
	after []string
	exit  int // expected
	// small readers get the tenth of the capture: they would take minutes.
	small bool
	// times is how many times as fast tcpwhy is to be, in packets a second.
	times float64
}

func readers() []reader {
	return []reader{
		{name: "tcpwhy pcap", argv: []string{"tcpwhy", "pcap"}, exit: 1}, // connections failed
		{name: "tcpflow", argv: []string{"", readFlag, "tcpflow"}},
		{name: "tcpdump", argv: []string{"tcpdump", "-n", "-w", "/dev/null", "-r"}, after: []string{"tcp[tcpflags] & (tcp-syn|tcp-rst) != 0"}, times: 2},
		{name: "gopacket", argv: []string{"", readFlag, "gopacket"}, times: 7},
		{name: "dd", argv: []string{"dd", "bs=1M", "of=/dev/null", "status=none"}, after: nil},
		{name: "tcptrace", argv: []string{"tcptrace", "-n"}, small: true, times: 40},
		{name: "tshark", argv: []string{"tshark", "-n", "-q", "-z", "conv,tcp", "-r"}, small: true, times: 100},
	}
}

// held has all connections of a capture in memory at the same time.
var held = reader{name: "held", argv: []string{"", readFlag, "held"}}

// What reading may take, in MB: the large capture, and one with a fifth of its
// connections, 200,000 unless told otherwise, when all of them are held.
const (
	largePeak = 600
	smallPeak = 200
)

// capture is a generated file.
type capture struct {
	path    string
	packets uint64
	conns   int
}

// benchPcap measures the reading of captures, and gives the exit code.
func benchPcap(ctx context.Context, args []string, stdout, stderr io.Writer) (int, error) {
	fl := flag.NewFlagSet("bench pcap", flag.ContinueOnError)
	fl.SetOutput(stderr)
	runs := fl.Int("runs", 5, "runs of each program")
	connections := fl.Int("connections", 1_000_000, "connections in the capture; each has about 19 packets and 2 KB")
	if err := fl.Parse(args); err != nil {
		return exitFailed, err
	}
	if fl.NArg() > 0 || *runs < 1 || *connections < 10 {
		return exitFailed, errors.New("usage: bench pcap [-runs N] [-connections N]")
	}
	dir, err := os.MkdirTemp("", "tcpwhy-bench-")
	if err != nil {
		return exitFailed, err
	}
	defer os.RemoveAll(dir)
	var files [3]capture // large, a tenth, and that of the memory
	for i, n := range []int{*connections, *connections / 10, *connections / 5} {
		fmt.Fprintf(stderr, "writing a capture of %d connections\n", n)
		if err := ctx.Err(); err != nil {
			return exitFailed, err
		}
		if files[i], err = writeCapture(filepath.Join(dir, fmt.Sprint(i, ".pcap")), n); err != nil {
			return exitFailed, err
		}
	}
	self, err := os.Executable()
	if err != nil {
		return exitFailed, err
	}
	b := &bench{dir: dir}
	if err := b.prepare(ctx); err != nil {
		return exitFailed, err
	}
	programs := map[string]string{"": self, "tcpwhy": b.tcpwhy}
	m := map[string][]sample{}
	for range *runs {
		for _, r := range readers() {
			if err := ctx.Err(); err != nil {
				return exitFailed, err
			}
			file := files[0]
			if r.small {
				file = files[1]
			}
			if r.small && len(m[r.name]) >= slowRuns {
				continue
			}
			s, err := read(ctx, programs, r, file)
			if errors.Is(err, exec.ErrNotFound) {
				continue
			}
			if err != nil {
				return exitFailed, fmt.Errorf("%s: %w", r.name, err)
			}
			m[r.name] = append(m[r.name], s)
		}
	}
	live, err := read(ctx, programs, held, files[2])
	if err != nil {
		return exitFailed, err
	}
	return showPcap(stdout, files, m, live)
}

func writeCapture(path string, connections int) (capture, error) {
	f, err := os.Create(path)
	if err != nil {
		return capture{}, err
	}
	truth, err := flowtest.Write(f, flowtest.Config{Connections: connections, Seconds: max(connections/1700, 1), Seed: 1, Snaplen: 128})
	return capture{path, truth.Packets, connections}, errors.Join(err, f.Close())
}

// read runs a reader in the launcher; programs are those that need not be
// installed.
func read(ctx context.Context, programs map[string]string, r reader, c capture) (got sample, err error) {
	argv := slices.Clone(r.argv)
	if own, ok := programs[argv[0]]; ok {
		argv[0] = own
	} else if argv[0], err = exec.LookPath(argv[0]); err != nil {
		return got, err
	}
	file := c.path
	if r.name == "dd" {
		file = "if=" + file
	}
	argv = append(append(argv, file), r.after...)
	cmd := exec.CommandContext(ctx, programs[""], append([]string{launchFlag}, argv...)...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return got, err
	}
	defer stdin.Close()
	out, err := cmd.Output()
	if err != nil {
		return got, err
	}
	if err := json.Unmarshal(out, &got); err != nil {
		return got, err
	}
	if got.Exit != r.exit {
		return got, fmt.Errorf("exit code %d", got.Exit)
	}
	return got, nil
}

// showPcap prints the medians and holds tcpwhy against its limits.
func showPcap(w io.Writer, files [3]capture, m map[string][]sample, live sample) (int, error) {
	rate := map[string]float64{}
	peak := map[string]float64{}
	for _, r := range readers() {
		var times []time.Duration
		for _, s := range m[r.name] {
			times = append(times, s.Elapsed)
			peak[r.name] = max(peak[r.name], float64(s.PeakKB)/1024)
		}
		if len(times) == 0 {
			continue
		}
		slices.Sort(times)
		packets := files[0].packets
		if r.small {
			packets = files[1].packets
		}
		rate[r.name] = float64(packets) / quantile(times, 50).Seconds() / 1e6
	}
	c := machine()
	fmt.Fprintf(w, "%d cores (%s), Linux %s, %s, load %s; %d packets, page cache, medians\n\n", c.Cores, c.Arch, c.Kernel, c.Go, c.Load, files[0].packets)
	code := exitMet
	mark := func(missed bool) string {
		if missed {
			code = exitMissed
			return " !"
		}
		return ""
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "reader\tMpkt/s\tpeak MB\ttcpwhy pcap is\tat least\t")
	for _, r := range readers() {
		if rate[r.name] == 0 {
			fmt.Fprintf(t, "%s\t-\t-\t-\t-\t\n", r.name)
			continue
		}
		times, want := "", ""
		if r.times > 0 {
			n := rate["tcpwhy pcap"] / rate[r.name]
			times, want = fmt.Sprintf("%.1fx", n)+mark(n < r.times), fmt.Sprintf("%gx", r.times)
		}
		fmt.Fprintf(t, "%s\t%.2f\t%.0f\t%s\t%s\t\n", r.name, rate[r.name], peak[r.name], times, want)
	}
	if err := t.Flush(); err != nil {
		return exitFailed, err
	}
	liveMB := float64(live.PeakKB) / 1024
	fmt.Fprintf(w, "\npeak memory      %4.0f MB, at most %d MB%s\n", peak["tcpwhy pcap"], largePeak, mark(peak["tcpwhy pcap"] > largePeak))
	_, err := fmt.Fprintf(w, "of %6d held   %4.0f MB, at most %d MB%s\n\n! a limit is missed   - not installed; tcptrace and tshark read a tenth of the capture\ntcpflow is tcpwhy pcap without verdicts\n",
		files[2].conns, liveMB, smallPeak, mark(liveMB > smallPeak))
	return code, err
}
