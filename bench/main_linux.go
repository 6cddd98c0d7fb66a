// Command bench measures whole processes, from fork to exit: tcpwhy and the
// tools that people use in its place, on the same targets in the same run. It
// holds tcpwhy against its limits of time, memory and size, and exits with 1
// where one is not met and with 2 where it could not measure.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// The exit codes.
const (
	exitMet    = 0
	exitMissed = 1
	exitFailed = 2
)

func main() {
	if code, ok := child(os.Args); ok {
		os.Exit(code)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	bench, args := run, os.Args[1:]
	if len(args) > 0 && args[0] == pcapWord {
		bench, args = benchPcap, args[1:]
	} else if len(args) > 0 && args[0] == hostWord {
		bench, args = benchHost, args[1:]
	}
	code, err := bench(ctx, args, os.Stdout, os.Stderr)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
	}
	os.Exit(code)
}

// child does what the benchmark starts this program for: to launch another, to
// read a capture, or to be one end of the load on a host.
func child(argv []string) (code int, ok bool) {
	switch {
	case len(argv) > 2 && argv[1] == launchFlag:
		return launch(argv[2:]), true
	case len(argv) == 4 && argv[1] == readFlag:
		if err := readPcap(argv[2], argv[3]); err != nil {
			fmt.Fprintf(os.Stderr, "bench: %v\n", err)
			return exitFailed, true
		}
		return exitMet, true
	case len(argv) > 2 && argv[1] == hostFlag:
		if err := hostChild(argv[2:]); err != nil {
			fmt.Fprintf(os.Stderr, "bench: %s: %v\n", argv[2], err)
			return exitFailed, true
		}
		return exitMet, true
	}
	return 0, false
}

// options of a call.
type options struct {
	runs  int
	cases []scene
	tools []tool // tcpwhy first
	// leftOut are tools asked for that are not installed.
	leftOut []string
	json    bool
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (int, error) {
	o, err := parse(args, stderr)
	if err != nil {
		return exitFailed, err
	}
	if os.Geteuid() != 0 {
		return exitFailed, errors.New("making network namespaces needs root; run: sudo go run ./bench")
	}
	dir, err := os.MkdirTemp("", "tcpwhy-bench-")
	if err != nil {
		return exitFailed, err
	}
	defer os.RemoveAll(dir)
	b := &bench{options: o, dir: dir, log: stderr, machine: machine()}
	if err := b.prepare(ctx); err != nil {
		return exitFailed, err
	}
	r, err := b.measure(ctx)
	switch {
	case ctx.Err() != nil:
		return exitFailed, errors.New("interrupted")
	case err != nil:
		return exitFailed, err
	}
	show := r.text
	if o.json {
		show = r.json
	}
	if err := show(stdout); err != nil {
		return exitFailed, err
	}
	if r.missed() {
		return exitMissed, nil
	}
	return exitMet, nil
}

func parse(args []string, stderr io.Writer) (o options, err error) {
	fl := flag.NewFlagSet("bench", flag.ContinueOnError)
	fl.SetOutput(stderr)
	fl.IntVar(&o.runs, "runs", 11, "runs of each program on each target")
	targets := fl.String("targets", "all", "targets, by `NAME,...`: "+strings.Join(names(scenes()), ", "))
	peers := fl.String("peers", "all", "tools to measure beside tcpwhy, by `NAME,...`, or none: "+strings.Join(peerNames(), ", "))
	output := fl.String("o", "text", "`FORMAT` of the answer: text or json")
	if err := fl.Parse(args); err != nil {
		return o, err
	}
	if fl.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q; targets are named by -targets", fl.Arg(0))
	}
	if o.runs < 1 || o.runs > 1000 {
		return o, fmt.Errorf("-runs %d: must be between 1 and 1000", o.runs)
	}
	if *output != "text" && *output != "json" {
		return o, fmt.Errorf("-o %q: formats are text and json", *output)
	}
	o.json = *output == "json"
	if o.cases, err = choose("-targets", *targets, scenes(), func(s scene) string { return s.Name }); err != nil {
		return o, err
	}
	chosen, err := choose("-peers", *peers, peerTools(), func(t tool) string { return t.Name })
	if err != nil {
		return o, err
	}
	o.tools = ours()
	for _, t := range chosen {
		if _, err := exec.LookPath(t.program); err != nil {
			fmt.Fprintf(stderr, "%s is left out: it is not installed\n", t.Name)
			o.leftOut = append(o.leftOut, t.Name)
			continue
		}
		o.tools = append(o.tools, t)
	}
	return o, nil
}

// choose picks by name out of a list; several may have the same.
func choose[T any](flag, list string, from []T, name func(T) string) ([]T, error) {
	switch list {
	case "all":
		return from, nil
	case "none":
		return nil, nil
	}
	var out []T
	for want := range strings.SplitSeq(list, ",") {
		n := len(out)
		for _, v := range from {
			if name(v) == want {
				out = append(out, v)
			}
		}
		if len(out) == n {
			return nil, fmt.Errorf("%s: there is no %q; see -help", flag, want)
		}
	}
	return out, nil
}

func names(all []scene) []string {
	var out []string
	for _, s := range all {
		out = append(out, s.Name)
	}
	return slices.Compact(out)
}

func peerNames() []string {
	var out []string
	for _, t := range peerTools() {
		out = append(out, t.Name)
	}
	return out
}

// prepare builds tcpwhy as it is released and copies this program, where
// everybody can run them.
func (b *bench) prepare(ctx context.Context) error {
	if err := os.Chmod(b.dir, 0o755); err != nil {
		return err
	}
	b.tcpwhy = filepath.Join(b.dir, "tcpwhy")
	// Root may build a tree that is somebody else's, which git would refuse to
	// describe.
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-trimpath", "-ldflags", "-s -w",
		"-o", b.tcpwhy, "github.com/tcpwhy/tcpwhy/cmd/tcpwhy")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build tcpwhy: %w\n%s", err, out)
	}
	info, err := os.Stat(b.tcpwhy)
	if err != nil {
		return err
	}
	b.size = info.Size()
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer self.Close()
	b.launcher = filepath.Join(b.dir, "bench")
	out, err := os.OpenFile(b.launcher, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, self)
	return errors.Join(err, out.Close(), os.Chmod(b.launcher, 0o755), os.Chmod(b.tcpwhy, 0o755))
}
