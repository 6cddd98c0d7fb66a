package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/tcpwhy/tcpwhy/internal/judge"
	"github.com/tcpwhy/tcpwhy/internal/lab"
	"github.com/tcpwhy/tcpwhy/internal/report"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// scenes are what the demo shows: few words that programs say, and behind each
// of them several causes.
var scenes = []struct{ scenario, story string }{
	{"no-listener-localhost", "A service of this machine was not started."},
	{"path-firewall-reset-r1", "The service runs. A firewall on the way answers in its place, with the very packet that a host sends where nothing listens."},
	{"host-firewall-reject", "The service runs, and the firewall of its own host turns us away."},
	{"local-firewall-drop", "The service runs. A rule on our own machine swallows what we send."},
	{"host-firewall-drop", "The same silence, but the rule is on the server."},
	{"routing-loop", "Two routers pass our packets to each other, round and round."},
	{"reset-on-accept", "The server takes the connection and throws it away."},
	{"mtu-blackhole", "Connecting works, small answers come. Large ones vanish on a narrow link that does not say so."},
}

const demoIntro = `A program that cannot connect says "connection refused" or "timeout". Behind
these words there are dozens of causes, and each wants something else done. Here
are eight failures, made real in a network inside this machine:

  client --- router1 --- router2 --- server

No packet leaves the machine. tcpwhy runs on the client, with the rights to look
at packets there, and is told nothing of what was done.`

const demoEnd = `That was it. Where several causes look the same from the client, tcpwhy does not
guess: it names them all, likeliest first, and the check that tells them apart.

  tcpwhy HOST:PORT                your own connection
  tcpwhy lab shell routing-loop   look around in one, with your own tools
  tcpwhy lab quiz                 find one yourself
  tcpwhy explain                  all causes`

func (l *labs) demo() *cobra.Command {
	var auto bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Two minutes, eight failures",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return &usageError{"lab demo takes no names", "One fault is shown by: tcpwhy lab run " + args[0]}
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			return l.isolated(cmd, args, nil, func(ctx context.Context) error {
				err := l.show(ctx, auto)
				if ctx.Err() != nil {
					return l.interrupted()
				}
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&auto, "auto", false, "go on without a key")
	return cmd
}

// scenesAhead is how many are made at a time, while others are read.
const scenesAhead = 4

// show shows the scenes.
func (l *labs) show(ctx context.Context, auto bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	say := func(text string) error {
		_, err := io.WriteString(l.host.Stdout, text+"\n")
		return err
	}
	next := l.pacer(ctx, auto)
	ready := make([]chan scene, len(scenes))
	for i := range ready {
		ready[i] = make(chan scene, 1)
	}
	var making sync.WaitGroup
	defer making.Wait()
	defer cancel()
	slots := make(chan struct{}, scenesAhead)
	making.Go(func() {
		for i := range scenes {
			slots <- struct{}{}
			making.Go(func() {
				ready[i] <- l.stage(ctx, i)
				<-slots
			})
		}
	})
	if err := say(demoIntro); err != nil {
		return err
	}
	for i := range scenes {
		if !next() {
			return ctx.Err()
		}
		var s scene
		wait := l.waiting("making the next one")
		select {
		case s = <-ready[i]:
		case <-ctx.Done():
		}
		wait()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		text, err := l.told(i, s)
		if err == nil {
			err = say(text)
		}
		if err != nil {
			return err
		}
	}
	if !next() {
		return ctx.Err()
	}
	return say("\n" + demoEnd)
}

// scene is a failure that was made, and what was said of it.
type scene struct {
	target, says string
	diagnosis    *verdict.Diagnosis
	err          error
}

// stage makes a scene.
func (l *labs) stage(ctx context.Context, i int) (s scene) {
	made, ok := lab.Find(scenes[i].scenario)
	if !ok {
		return scene{err: fmt.Errorf("the demo shows %q, which the lab does not have", scenes[i].scenario)}
	}
	c := judge.Case{Scenario: made, Family: made.Families[0], Vantage: judge.Root}
	m, err := judge.Open(ctx, c)
	if err != nil {
		return scene{err: err}
	}
	defer func() { s.err = errors.Join(s.err, m.Close()) }()
	s.target = m.Target()
	s.says = said(ctx, m)
	r, answer := c.Ask(m, program)
	if r.Error != "" {
		s.err = errors.New(r.Error)
		return s
	}
	s.diagnosis, s.err = diagnosis(answer)
	return s
}

// said is what a program that asks for a page says, in Go's words.
func said(ctx context.Context, m *lab.Lab) string {
	const patience = 2 * time.Second
	var conn net.Conn
	err := m.Do(m.Scenario.From, func() (err error) {
		d := net.Dialer{Timeout: patience}
		conn, err = d.DialContext(ctx, "tcp", m.Dst().String())
		return err
	})
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: server\r\n\r\n"); err != nil {
		return err.Error()
	}
	if _, err := conn.Read(make([]byte, 4096)); err != nil {
		return err.Error()
	}
	return "it works"
}

// told is a scene as text.
func (l *labs) told(i int, s scene) (string, error) {
	var b strings.Builder
	out := bufio.NewWriter(&b)
	width := min(l.host.width(), 80)
	bold, plain := "", ""
	if l.host.color() {
		bold, plain = "\x1b[1m", "\x1b[0m"
	}
	head := fmt.Sprintf("%d of %d", i+1, len(scenes))
	if s.err != nil {
		if !errors.Is(s.err, errors.ErrUnsupported) {
			return "", s.err
		}
		fmt.Fprintf(out, "\n%s%s%s\n", bold, head, plain)
		line(out, width, "left out", s.err.Error())
		out.Flush()
		return strings.TrimSuffix(b.String(), "\n"), nil
	}
	fmt.Fprintf(out, "\n%s%s%s\n%s\n\n", bold, head, plain, strings.Join(wrap(scenes[i].story, width), "\n"))
	v := &s.diagnosis.Verdict
	line(out, width, "programs say", s.says)
	line(out, width, "tcpwhy says", fmt.Sprintf("%s (%s)", v.Finding, v.Certainty))
	for n, id := range v.Because {
		for _, f := range s.diagnosis.Facts {
			if f.ID == id && n < 2 {
				line(out, width, map[int]string{0: "because"}[n], f.Text)
			}
		}
	}
	if v.Certainty == verdict.Narrowed {
		var left []string
		for _, c := range v.Candidates {
			if c.Refines == "" {
				left = append(left, string(c.Cause))
			}
		}
		line(out, width, "could be", strings.Join(left, ", "))
		if len(v.Next) > 0 {
			line(out, width, "to tell them", v.Next[0].Check)
			if v.Next[0].Command != "" {
				fmt.Fprintf(out, "%14s$ %s\n", "", v.Next[0].Command)
			}
		}
	} else if len(v.Fix) > 0 {
		fix := v.Fix[0]
		line(out, width, "to do", fix.Text)
		if fix.Command != "" {
			fmt.Fprintf(out, "%14s$ %s\n", "", fix.Command)
		}
	}
	line(out, width, "took", fmt.Sprintf("%v", s.diagnosis.Set.Elapsed.Round(time.Millisecond)))
	if err := out.Flush(); err != nil {
		return "", err
	}
	text := strings.TrimSuffix(b.String(), "\n")
	if !l.host.unicode() {
		text = ascii(text)
	}
	return text, nil
}

// waiting shows on a terminal that something is being done, until it is called.
func (l *labs) waiting(what string) func() {
	if !l.host.Live {
		return func() {}
	}
	p := report.Live(l.host.Stderr, l.host.width())
	p.Step(what)
	return p.Done
}

// pacer waits for the reader between scenes: for Enter on a terminal, for a
// while with auto there, and not at all in a pipe. It returns false when the
// reader has enough.
func (l *labs) pacer(ctx context.Context, auto bool) func() bool {
	const toRead = 8 * time.Second
	if l.host.Columns == 0 || !term.IsTerminal(int(os.Stdin.Fd())) {
		return func() bool { return ctx.Err() == nil }
	}
	if auto {
		return func() bool {
			select {
			case <-time.After(toRead):
			case <-ctx.Done():
			}
			return ctx.Err() == nil
		}
	}
	lines := typed(ctx)
	return func() bool {
		fmt.Fprint(l.host.Stderr, "\n[Enter: go on, q: end] ")
		select {
		case line, ok := <-lines:
			return ok && line != "q"
		case <-ctx.Done():
			fmt.Fprintln(l.host.Stderr)
			return false
		}
	}
}
