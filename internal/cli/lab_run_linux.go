package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tcpwhy/tcpwhy/internal/isolate"
	"github.com/tcpwhy/tcpwhy/internal/judge"
	"github.com/tcpwhy/tcpwhy/internal/lab"
	"github.com/tcpwhy/tcpwhy/internal/report"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// runFlags are those of lab run.
type runFlags struct {
	labFlags
	talk
	capture string
}

func (l *labs) run() *cobra.Command {
	f := &runFlags{}
	cmd := &cobra.Command{
		Use:   "run NAME[+NAME...]",
		Short: "Make a fault, prove it, diagnose it, compare with the truth",
		Long: `Make a fault, prove with a plain connection that it is there, run tcpwhy on the
client, and hold what it says against the truth.

It exits with 0 if the truth is among what tcpwhy leaves, and with 1 if not.`,
		Example: `  tcpwhy lab run host-firewall-drop
  tcpwhy lab run no-listener -6 --root
  tcpwhy lab run host-firewall-reset --loss 20
  tcpwhy lab run no-listener --after 5s --capture packets`,
		Args:              oneName,
		ValidArgsFunction: completeLab(false),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := errors.Join(f.labFlags.check(), f.talk.check()); err != nil {
				return err
			}
			s, others, err := choose(args[0])
			if err != nil {
				return err
			}
			c, err := f.of(s, judge.Ordinary)
			if err == nil {
				err = captureDir(f.capture)
			}
			if err != nil {
				return err
			}
			return l.isolated(cmd, args, nil, func(ctx context.Context) error {
				return l.judged(ctx, f, c, others)
			})
		},
	}
	f.common(cmd.Flags())
	f.bothSides(cmd.Flags())
	f.params(cmd.Flags())
	cmd.Flags().StringVar(&f.capture, "capture", "", "keep the packets of client and server, or of what answers in its place, as pcapng in `DIR`")
	_ = cmd.MarkFlagDirname("capture")
	f.talk.flags(cmd, "")
	return cmd
}

// captureDir makes the folder of --capture.
func captureDir(dir string) error {
	if dir == "" {
		return nil
	}
	abs, err := filepath.Abs(dir)
	if err == nil && (abs == isolate.Dir || strings.HasPrefix(abs, isolate.Dir+"/")) {
		err = errors.New("--capture " + dir + ": " + isolate.Dir + " is the lab's own while it runs")
	}
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err != nil {
		return &usageError{err.Error(), "Name a folder in which files can be made."}
	}
	return nil
}

// judged makes the case, shows what is said of it, and the truth.
func (l *labs) judged(ctx context.Context, f *runFlags, c judge.Case, others []string) (err error) {
	out := bufio.NewWriter(l.host.Stdout)
	defer func() {
		if flushed := out.Flush(); err == nil { // else it says the same again
			err = flushed
		}
	}()
	text := f.output == "text"
	tell := func(s string) {
		if text {
			fmt.Fprintln(out, strings.Join(wrap(s, l.host.width()), "\n"))
			out.Flush() // an error sticks, and is reported at the end
		}
	}
	tell(fmt.Sprintf("%s over %v, seen from the %s as %s", c.Scenario.Name, c.Family, c.Scenario.From, whoIs(c.Vantage)))
	if n := len(others); n > 0 {
		const some = 3
		more := ""
		if n > some {
			more = fmt.Sprintf(", and %d more (tcpwhy lab list)", n-some)
		}
		tell("made in another way: " + strings.Join(others[:min(n, some)], ", ") + more)
	}
	start := time.Now()
	m, err := judge.Open(ctx, c)
	if err != nil {
		return l.unmade(ctx, err)
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	var packets *judge.Capture
	if f.capture != "" {
		server := lab.Server
		if !slices.Contains(c.Scenario.Topology.Hosts, server) {
			server = m.Answers()
		}
		if packets, err = judge.NewCapture(m, f.capture, lab.Client, server); err != nil {
			return err
		}
		defer func() {
			err = errors.Join(err, packets.Close(fmt.Sprintf("%s over %v; the cause is %s", c.Scenario.Name, c.Family, strings.Join(c.Scenario.Truth(), " and "))))
		}()
	}
	var doc runDocument
	if c.Params.Later {
		tell("\nAll is well:")
		if _, doc.Before, err = l.shown(ctx, out, c, m, text); err != nil {
			return l.unmade(ctx, err)
		}
		tell(fmt.Sprintf("\nThe fault comes %v after the start.", f.after))
		select {
		case <-ctx.Done():
		case <-time.After(time.Until(start.Add(f.after))):
		}
		if err = m.Break(); err == nil {
			err = m.Verify(ctx)
		}
		if err != nil {
			return l.unmade(ctx, err)
		}
	}
	tell("\nMade and proven: " + proven(c, m))
	if doc.Result, doc.Diagnosis, err = l.shown(ctx, out, c, m, text); err != nil {
		return l.unmade(ctx, err)
	}
	if !doc.Sound {
		l.code = exitFails
	}
	if !text {
		doc.Schema = "tcpwhy.lab-run/1"
		return json.NewEncoder(out).Encode(doc)
	}
	fmt.Fprintln(out)
	l.beside(out, c, doc.Result)
	if packets != nil {
		line(out, l.host.width(), "packets", strings.Join(packets.Paths(), ", "))
	}
	return nil
}

// runDocument is the JSON of lab run.
type runDocument struct {
	Schema string `json:"schema"`
	judge.Result
	Before    json.RawMessage `json:"before,omitempty"` // the diagnosis before the fault
	Diagnosis json.RawMessage `json:"diagnosis"`
}

// shown asks the program and prints what a user sees.
func (l *labs) shown(ctx context.Context, out *bufio.Writer, c judge.Case, m *lab.Lab, text bool) (judge.Result, json.RawMessage, error) {
	r, b := c.Ask(m, program)
	switch {
	case ctx.Err() != nil:
		return r, nil, ctx.Err()
	case r.Error != "":
		return r, nil, errors.New(r.Error)
	}
	if text {
		sign := "$"
		if c.Vantage != judge.Ordinary {
			sign = "#"
		}
		fmt.Fprintf(out, "\n%s %s\n", sign, typedLine(c, m.Target()))
		d, err := diagnosis(b)
		if err != nil {
			return r, nil, err
		}
		if err := report.Text(out, d, l.options(false, false)); err != nil {
			return r, nil, err
		}
	}
	return r, bytes.TrimSpace(b), out.Flush()
}

// typedLine is how the user calls the program.
func typedLine(c judge.Case, target string) string {
	return strings.Join(slices.Concat([]string{"tcpwhy"}, c.Scenario.Arguments(c.Family), []string{target}), " ")
}

// diagnosis reads the program's JSON.
func diagnosis(b []byte) (*verdict.Diagnosis, error) {
	list, err := report.Read(bytes.NewReader(b), "the answer")
	if err != nil {
		return nil, err
	}
	if len(list) != 1 {
		return nil, fmt.Errorf("%d answers, not one", len(list))
	}
	return list[0], nil
}

// proven is what a plain connection showed.
func proven(c judge.Case, m *lab.Lab) string {
	end := "."
	if c.Scenario.Loss > 0 {
		end = "; then " + lossOf(c.Scenario) + "."
	}
	o := c.Scenario.Expected(c.Family)
	if o == "" {
		return "the lab's own look at it found what is wrong" + end
	}
	words, ok := map[lab.Outcome]string{lab.Opens: "was accepted", lab.TimesOut: "got no answer", lab.Refused: "was refused"}[o]
	if !ok {
		words = "failed with " + string(o)
	}
	switch c.Scenario.After {
	case lab.Reset:
		words += " and then reset"
	case lab.Closed:
		words += " and then closed"
	case lab.Silent:
		words += ", and nothing came after"
	case lab.Stalled:
		words += ", and took no more after a while"
	}
	return fmt.Sprintf("a plain connect to %v %s%s", m.Dst(), words, end)
}

func whoIs(v judge.Vantage) string {
	switch v {
	case judge.Root:
		return "root"
	case judge.WithHost:
		return "root, with what root of the server's host tells"
	}
	return "an ordinary user"
}

// truthLabel stands before the i-th of the causes that hold together. Nothing wrong
// is one where chance decides whether a fault is met.
func truthLabel(truth []string, i int) string {
	switch {
	case i == 0:
		return "truth"
	case slices.Contains(truth, string(verdict.None)):
		return "or"
	}
	return "and"
}

// beside prints the truth beside the verdict.
func (l *labs) beside(out *bufio.Writer, c judge.Case, r judge.Result) {
	put := func(label, text string) { line(out, l.host.width(), label, text) }
	for i, id := range r.Truth {
		put(truthLabel(r.Truth, i), id+": "+title(id))
	}
	said := strings.Join(r.Left, ", ")
	if said == "" {
		said = "no cause"
	}
	put("verdict", r.Certainty+": "+said)
	switch {
	case !r.Sound && r.Certainty == string(verdict.Certain):
		put("sound", "NO: it is sure of what is not the truth")
	case !r.Sound:
		put("sound", "NO: the truth is not among them")
	case r.Certainty == string(verdict.Certain):
		put("sound", "yes: that is the truth")
	default:
		put("sound", "yes: the truth is among them")
	}
	switch {
	case !r.Sharp:
		put("sharp", "no: the evidence there could also exclude "+strings.Join(r.Extra, ", "))
	case len(r.Left) > 1:
		put("sharp", "yes: no evidence to be had there tells these apart")
	default:
		put("sharp", "yes")
	}
}

// line prints a label and a text beside it.
func line(out *bufio.Writer, width int, label, text string) {
	const column = 14
	fmt.Fprintf(out, "%-*s%s\n", column, label, strings.Join(wrap(text, width-column), "\n"+strings.Repeat(" ", column)))
}
