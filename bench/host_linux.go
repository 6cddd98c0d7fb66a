package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/netns"
	"github.com/tcpwhy/tcpwhy/internal/rtnl"
)

// hostWord makes this program the benchmark of watching a port, hostFlag one of
// the processes of that.
const (
	hostWord = "host"
	hostFlag = "-host"
)

// The two machines. The same port is open on one address of the server, and
// closed on the other.
const hostPort = 7000

var (
	hostClient = netip.MustParsePrefix("10.78.0.1/24")
	hostOpen   = netip.MustParsePrefix("10.78.0.2/24")
	hostClosed = netip.MustParsePrefix("10.78.0.3/24")
)

// hostScene is a client and a server, joined by veth.
type hostScene struct {
	self           string
	client, server *netns.NS
}

// hostLoad is what the sender did.
type hostLoad struct {
	Open, Refused, Failed int
	Elapsed               time.Duration
}

func (l *hostLoad) attempts() int { return l.Open + l.Refused + l.Failed }

// hostSeen is what a program that watches has seen. Known are attempts with a
// fate that cannot change.
type hostSeen struct {
	Attempts, Known, Events, Packets int
	Lost                             uint64
	// CPU of the watching process, from its start to its end.
	CPU time.Duration
}

// hostRun is a run of the load with one watcher, or none.
type hostRun struct {
	watcher string
	rate    int // attempts a second asked for; 0 is as many as go
	load    hostLoad
	seen    hostSeen
	// machine is the time of all processors that was not idle.
	machine time.Duration
}

// benchHost measures what it costs to watch a port under load, and gives the exit
// code: exitMissed where an attempt is neither known nor counted as lost.
func benchHost(ctx context.Context, args []string, stdout, stderr io.Writer) (int, error) {
	fl := flag.NewFlagSet("bench host", flag.ContinueOnError)
	fl.SetOutput(stderr)
	rate := fl.Int("rate", 20_000, "attempts a second, half of them to an open port")
	seconds := fl.Int("seconds", 20, "duration of each run")
	flat := fl.Int("flat", 5, "duration of each run that goes as fast as it can; 0 leaves them out")
	if err := fl.Parse(args); err != nil {
		return exitFailed, err
	}
	if fl.NArg() > 0 || *rate < 1 || *seconds < 1 || *flat < 0 {
		return exitFailed, errors.New("usage: bench host [-rate N] [-seconds N] [-flat N]")
	}
	if os.Geteuid() != 0 {
		return exitFailed, errors.New("tracing the kernel needs root; run: sudo go run ./bench host")
	}
	s, err := newHostScene(ctx)
	if err != nil {
		return exitFailed, err
	}
	defer s.close()
	m := machine()
	fmt.Fprintf(stdout, "%d cores (%s), Linux %s, %s, load %s at the start\n\n", m.Cores, m.Arch, m.Kernel, m.Go, m.Load)
	var runs []hostRun
	for _, phase := range []struct{ rate, seconds int }{{*rate, *seconds}, {0, *flat}} {
		if phase.seconds == 0 {
			continue
		}
		for _, w := range []hostWatcher{{name: "nobody"}, {"tcpwhy", s.watchTCPWhy}, {"bpftrace", s.watchBPFTrace}} {
			fmt.Fprintf(stderr, "%s watches for %d s\n", w.name, phase.seconds)
			r, err := s.run(ctx, w, phase.rate, time.Duration(phase.seconds)*time.Second)
			if errors.Is(err, exec.ErrNotFound) {
				fmt.Fprintf(stderr, "%s is left out: it is not installed\n", w.name)
				continue
			}
			if err != nil {
				return exitFailed, fmt.Errorf("%s: %w", w.name, err)
			}
			runs = append(runs, r)
		}
	}
	return showHost(stdout, runs)
}

func newHostScene(ctx context.Context) (_ *hostScene, err error) {
	s := &hostScene{}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.self, err = os.Executable(); err != nil {
		return nil, err
	}
	if s.client, err = netns.New(); err != nil {
		return nil, err
	}
	if s.server, err = netns.New(); err != nil {
		return nil, err
	}
	client, err := rtnl.NewChanger(s.client.Fd())
	if err != nil {
		return nil, err
	}
	defer client.Close()
	server, err := rtnl.NewChanger(s.server.Fd())
	if err != nil {
		return nil, err
	}
	defer server.Close()
	return s, errors.Join(
		client.AddVeth("e0", "e0", s.server.Fd()),
		client.AddAddress("e0", hostClient), server.AddAddress("e0", hostOpen), server.AddAddress("e0", hostClosed),
		client.SetUp("e0"), server.SetUp("e0"), client.WaitCarrier(ctx, "e0", true),
	)
}

func (s *hostScene) close() {
	for _, ns := range []*netns.NS{s.client, s.server} {
		if ns != nil {
			ns.Close()
		}
	}
}

// hostWatcher starts something that watches the server, and returns when it does.
// What it returns ends it.
type hostWatcher struct {
	name  string
	start func(ctx context.Context) (end func() (hostSeen, error), err error)
}

// child starts a process of this program in a namespace, and returns when that
// has printed its first line. It ends when its input is closed, or ctx is done.
func (s *hostScene) child(ctx context.Context, ns *netns.NS, args ...string) (end func(answer any) (*os.ProcessState, error), err error) {
	cmd := exec.CommandContext(ctx, s.self, append([]string{hostFlag}, args...)...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := ns.Start(cmd, nil); err != nil {
		return nil, err
	}
	answers := json.NewDecoder(out)
	var ready bool
	if err := answers.Decode(&ready); err != nil {
		in.Close()
		return nil, errors.Join(fmt.Errorf("%s did not start: %w", args[0], err), cmd.Wait())
	}
	return func(answer any) (*os.ProcessState, error) {
		in.Close()
		err := answers.Decode(answer)
		return cmd.ProcessState, errors.Join(err, cmd.Wait())
	}, nil
}

func (s *hostScene) run(ctx context.Context, w hostWatcher, rate int, d time.Duration) (r hostRun, err error) {
	r = hostRun{watcher: w.name, rate: rate}
	var ignored bool
	endServer, err := s.child(ctx, s.server, "serve", netip.AddrPortFrom(hostOpen.Addr(), hostPort).String())
	if err != nil {
		return r, err
	}
	defer func() {
		_, serr := endServer(&ignored)
		err = errors.Join(err, serr)
	}()
	endWatch := func() (hostSeen, error) { return hostSeen{}, nil }
	if w.start != nil {
		if endWatch, err = w.start(ctx); err != nil {
			return r, err
		}
	}
	before, err := busy()
	if err != nil {
		return r, err
	}
	endLoad, err := s.child(ctx, s.client, "load", strconv.Itoa(rate), d.String())
	if err == nil {
		_, err = endLoad(&r.load)
	}
	after, berr := busy()
	r.machine = after - before
	var werr error
	r.seen, werr = endWatch()
	return r, errors.Join(err, berr, werr)
}

// busy is the time that all processors were not idle, since the machine started;
// proc_stat(5).
func busy() (time.Duration, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	f := strings.Fields(line)
	var ticks uint64
	for i, v := range f {
		// user, nice, system, idle, iowait, irq, softirq, steal
		if i == 0 || i == 4 || i == 5 || i > 7 {
			continue
		}
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/stat: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100, nil
}

// watchTCPWhy watches as `tcpwhy host --watch -o json` does, to nowhere.
func (s *hostScene) watchTCPWhy(ctx context.Context) (func() (hostSeen, error), error) {
	end, err := s.child(ctx, s.server, "watch")
	if err != nil {
		return nil, err
	}
	return func() (seen hostSeen, err error) {
		state, err := end(&seen)
		if state != nil {
			seen.CPU = state.UserTime() + state.SystemTime()
		}
		return seen, err
	}, nil
}

// watchBPFTrace prints the same events, to a file.
func (s *hostScene) watchBPFTrace(ctx context.Context) (func() (hostSeen, error), error) {
	program, err := exec.LookPath("bpftrace")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "tcpwhy-bench-")
	if err != nil {
		return nil, err
	}
	out, err := os.Create(filepath.Join(dir, "events"))
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	cmd := exec.CommandContext(ctx, program, "-e", bpftraceScript())
	cmd.Stdout, cmd.Stderr = out, out
	if err := s.server.Start(cmd, nil, mountTracefs); err != nil {
		return nil, errors.Join(err, out.Close(), os.RemoveAll(dir))
	}
	// It does not say when it is ready, but for a terminal.
	select {
	case <-ctx.Done():
	case <-time.After(5 * time.Second):
	}
	return func() (seen hostSeen, err error) {
		defer os.RemoveAll(dir)
		defer out.Close()
		time.Sleep(time.Second) // it prints what it has
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			return seen, err
		}
		err = cmd.Wait()
		seen.CPU = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		text, rerr := os.ReadFile(out.Name())
		for line := range strings.Lines(string(text)) {
			var n uint64
			if _, serr := fmt.Sscanf(line, "Lost %d events", &n); serr == nil {
				seen.Lost += n
			} else if name, _, _ := strings.Cut(line, " "); bpftraceLines[name] {
				seen.Events++
			}
		}
		if seen.Events == 0 {
			err = errors.Join(err, fmt.Errorf("it printed no event: %.300s", text))
		}
		return seen, errors.Join(err, rerr)
	}, nil
}

func showHost(w io.Writer, runs []hostRun) (int, error) {
	code := exitMet
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "watched by\tasked/s\tdone/s\tattempts\tfates known\tevents\tlost\tCPU of all\tits own\t")
	for _, r := range runs {
		asked := "all"
		if r.rate > 0 {
			asked = strconv.Itoa(r.rate)
		}
		known := "-"
		if r.watcher == "tcpwhy" {
			known = strconv.Itoa(r.seen.Known)
			// Of an attempt of which an event is lost the rest may look like two.
			if missing := r.load.attempts() - r.seen.Known; uint64(max(missing, -missing)) > r.seen.Lost {
				known += "!"
				code = exitMissed
			}
		}
		fmt.Fprintf(t, "%s\t%s\t%.0f\t%d\t%s\t%d\t%d\t%.1fs\t%.1fs\t\n", r.watcher, asked, float64(r.load.attempts())/r.load.Elapsed.Seconds(),
			r.load.attempts(), known, r.seen.Events, r.seen.Lost, r.machine.Seconds(), r.seen.CPU.Seconds())
		if r.load.Failed > 0 {
			fmt.Fprintf(t, "%d attempts of these failed\t\t\t\t\t\t\t\t\t\n", r.load.Failed)
		}
	}
	fmt.Fprintln(t)
	if err := t.Flush(); err != nil {
		return exitFailed, err
	}
	_, err := fmt.Fprintf(w, `CPU of all is the time that all cores were busy while the load ran, the load's
and the server's included; its own is that of the watching process, start and
end included, which is part of it. Half of the attempts go to an open port.
! an attempt is neither known nor counted as lost
`)
	return code, err
}
