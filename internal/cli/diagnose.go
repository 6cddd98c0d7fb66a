package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"

	"github.com/tcpwhy/tcpwhy/internal/flow"
	"github.com/tcpwhy/tcpwhy/internal/probe"
	"github.com/tcpwhy/tcpwhy/internal/report"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// atOnce bounds the targets that are looked at at the same time.
const atOnce = 8

// diagnose does the main job for every target, and prints the answers in the
// order of the targets.
func (a *app) diagnose(ctx context.Context, f *flags, args []string) (err error) {
	opts, err := f.parse()
	if err != nil {
		return err
	}
	if err := a.checkFormat(f.output); err != nil {
		return err
	}
	targets, err := flow.ParseTargets(args)
	if err != nil {
		return err
	}
	if opts.SourcePort != 0 && len(targets) > 1 {
		return &usageError{"one source port takes one target", "Leave the port out of --source, or run it once for each target."}
	}
	for _, t := range targets {
		if err := f.fits(t.Addr); err != nil {
			return err
		}
	}
	if (f.write != "" || f.evidence != "") && len(targets) > 1 {
		return &usageError{"--write and --evidence take one target", "Run it once for each target, with a file each."}
	}
	if f.host != "" {
		end, err := a.hear(ctx, f.host, targets, &opts)
		if err != nil {
			return err
		}
		defer end()
	}
	var packets *keeper
	if f.write != "" {
		if !probe.MayCapture() {
			return &usageError{"--write needs CAP_NET_RAW", "Run it with sudo, or: sudo setcap cap_net_raw+ep on the program."}
		}
		var file *os.File
		if file, err = create(f.write); err != nil {
			return err
		}
		defer closing(file, &err)
		packets = &keeper{w: file}
		opts.Capture = packets
	}
	var evidence *os.File
	if f.evidence != "" {
		if evidence, err = create(f.evidence); err != nil {
			return err
		}
		defer closing(evidence, &err)
	}
	files, err := openCopies(f.reports)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, files.close()) }()
	var live *report.Progress
	if a.host.Live && !f.quiet {
		live = report.Live(a.host.Stderr, a.host.width())
		defer live.Done()
		opts.Progress = live.Step
	}
	redactor := report.NewRedactor()
	var all []*verdict.Diagnosis // for pages, which are about every target
	for i, d := range runAll(ctx, targets, opts) {
		result := <-d
		if result.panic != nil {
			panic(result.panic)
		}
		diagnosis := result.diagnosis
		told := diagnosis
		if f.redact {
			told = redactor.Redact(diagnosis)
		}
		all = append(all, told)
		if f.streams() {
			if err := live.Aside(func() error {
				if i > 0 && f.output == "text" && !f.quiet {
					io.WriteString(a.host.Stdout, "\n")
				}
				return writeReport(a.host.Stdout, all[i:], f.output, a.options(f.verbose, f.quiet))
			}); err != nil {
				return fmt.Errorf("write the answer: %w", err)
			}
		}
		if evidence != nil {
			if err := json.NewEncoder(evidence).Encode(&diagnosis.Set); err != nil {
				return fmt.Errorf("write the evidence: %w", err)
			}
		}
		if packets != nil && packets.err != nil {
			return fmt.Errorf("write the packets: %w", packets.err)
		}
		a.code = worse(a.code, exitCode(diagnosis, f.expect))
	}
	if !f.streams() {
		if err := live.Aside(func() error {
			return writeReport(a.host.Stdout, all, f.output, a.options(f.verbose, f.quiet))
		}); err != nil {
			return fmt.Errorf("write the answer: %w", err)
		}
	}
	return files.write(all, f.verbose)
}

// streams says whether every answer can be written as it comes.
func (f *flags) streams() bool { return f.output == "text" || f.output == "json" }

// fits says whether a literal target is of the family that the flags ask for.
func (f *flags) fits(a netip.Addr) error {
	family := func(v4 bool) string {
		if v4 {
			return "IPv4"
		}
		return "IPv6"
	}
	is := family(a.Is4())
	if zone := a.Zone(); zone != "" {
		if _, err := net.InterfaceByName(zone); err != nil {
			return &usageError{"there is no interface " + strconv.Quote(zone) + " here, which the target's scope names", "The interfaces are listed by: ip -br link"}
		}
	}
	switch {
	case !a.IsValid():
	case f.ipv4 && !a.Is4():
		return &usageError{fmt.Sprintf("%v is an %s address, and -4 asks for IPv4", a, is), "Leave out -4, or name another target."}
	case f.ipv6 && a.Is4():
		return &usageError{fmt.Sprintf("%v is an %s address, and -6 asks for IPv6", a, is), "Leave out -6, or name another target."}
	case f.source != "":
		if s, _, err := source(f.source); err == nil && s.Is4() != a.Is4() {
			return &usageError{fmt.Sprintf("--source %v is an %s address, the target %v is not", s, family(s.Is4()), a), "Give a source address of the target's family, " + is + "."}
		}
	}
	return nil
}

// closing closes a file that was written; an error of that counts when there is
// no other.
func closing(file *os.File, err *error) {
	if e := file.Close(); e != nil && *err == nil {
		*err = fmt.Errorf("write a file: %w", e)
	}
}

// keeper writes to a file and remembers the first error: the run goes on
// without the file, and the user hears of it at the end.
type keeper struct {
	w   io.Writer
	err error
}

func (k *keeper) Write(b []byte) (int, error) {
	n, err := k.w.Write(b)
	if k.err == nil {
		k.err = err
	}
	return n, err
}

// create makes a file that only its owner may read: packets are private.
func create(name string) (*os.File, error) {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, &usageError{err.Error(), "Name a file in a folder that can be written to."}
	}
	return file, nil
}

// result is what came of one run.
type result struct {
	diagnosis *verdict.Diagnosis
	panic     any // a mistake of ours, for who waits
}

// runAll starts the runs, a few at a time, and returns where each will be.
func runAll(ctx context.Context, targets []flow.Target, opts probe.Options) []chan result {
	results := make([]chan result, len(targets))
	for i := range results {
		results[i] = make(chan result, 1)
	}
	slots := make(chan struct{}, atOnce)
	go func() {
		for i, t := range targets {
			slots <- struct{}{}
			go func() {
				var r result
				defer func() {
					r.panic = recover()
					results[i] <- r
					<-slots
				}()
				r.diagnosis = probe.Run(ctx, t, opts)
			}()
		}
	}()
	return results
}

func exitCode(d *verdict.Diagnosis, expect string) int {
	if expect == "" {
		return report.ExitCode(d)
	}
	if string(d.Outcome) == expect || d.Verdict.Certainty == verdict.Certain && string(d.Verdict.Cause) == expect {
		return exitWorks
	}
	return exitFails
}

// worse is the exit code that says more of two: not sure, fails, works.
func worse(a, b int) int { return max(a, b) }
