package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tcpwhy/tcpwhy/internal/isolate"
	"github.com/tcpwhy/tcpwhy/internal/judge"
	"github.com/tcpwhy/tcpwhy/internal/lab"
)

// shellFlags are those of lab shell.
type shellFlags struct {
	labFlags
	on   string
	join bool
}

func (l *labs) shell() *cobra.Command {
	f := &shellFlags{}
	cmd := &cobra.Command{
		Use:   "shell NAME[+NAME...]",
		Short: "Open a shell on the client with the fault alive",
		Long: `Open a shell on the client, with the fault alive. The names of the lab's hosts
resolve, and tcpwhy and the programs of this machine are there. The lab ends
with the shell, and then tells what it was.

With --join it opens one more shell in a lab that runs already, which its user
and root may do; of several labs, name the one by its process ID.`,
		Example: `  tcpwhy lab shell host-firewall-drop
  tcpwhy lab shell --join --on server
  tcpwhy lab shell --join 4711
  echo 'nc -zvw2 server 8080' | tcpwhy lab shell no-listener`,
		ValidArgsFunction: completeLab(false),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.labFlags.check(); err != nil {
				return err
			}
			if f.join {
				return l.join(cmd.Context(), f, args)
			}
			if err := oneName(cmd, args); err != nil {
				return err
			}
			s, _, err := choose(args[0])
			if err != nil {
				return err
			}
			if f.on != "" && !slices.Contains(s.Topology.Hosts, f.on) {
				return &usageError{fmt.Sprintf("the lab has no host %q", f.on), "Its hosts are: " + strings.Join(s.Topology.Hosts, ", ")}
			}
			c, err := f.of(s, judge.Root)
			if err != nil {
				return err
			}
			return l.isolated(cmd, args, func(ctx context.Context, cell *isolate.Cell) error {
				if err := l.attached(ctx, cell, f.request()); err != nil {
					return err
				}
				return l.reveal(cell)
			}, func(ctx context.Context) error {
				r := &room{labs: l, c: c, after: f.after, started: "Making " + s.Name + ", and proving that it is there ..."}
				return r.serve(ctx)
			})
		},
	}
	f.common(cmd.Flags())
	f.params(cmd.Flags())
	cmd.Flags().StringVar(&f.on, "on", "", "on this `HOST` instead of the client")
	cmd.Flags().BoolVar(&f.join, "join", false, "in a lab that runs already")
	_ = cmd.RegisterFlagCompletionFunc("on", cobra.FixedCompletions([]string{lab.Client, lab.Server, lab.R1, lab.R2}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// What a guest may ask for.
const (
	opShell  = "shell"  // HOST, VANTAGE: the one that the lab ends with
	opJoin   = "join"   // HOST, VANTAGE: one more
	opWhy    = "why"    // the truth
	opAnswer = "answer" // CAUSE
	opSolved = "solved" // whether an answer was right
)

// request asks for the shell of the flags.
func (f *shellFlags) request() isolate.Request {
	r := isolate.Request{Op: opShell, Args: []string{f.on, string(f.vantage(judge.Root))}}
	if f.join {
		r.Op = opJoin
	}
	for _, e := range os.Environ() {
		name, _, _ := strings.Cut(e, "=")
		if slices.Contains([]string{"TERM", "COLORTERM", "NO_COLOR", "LANG", "SHELL", "HOME"}, name) || strings.HasPrefix(name, "LC_") {
			r.Env = append(r.Env, e)
		}
	}
	return r
}

// attached opens a shell of a lab that was just started, until that shell ends.
func (l *labs) attached(ctx context.Context, cell *isolate.Cell, r isolate.Request) error {
	err := cell.Open(ctx)
	var conn *net.UnixConn
	if err == nil {
		conn, err = cell.Connect()
	}
	switch {
	case err == nil:
		err = l.attach(ctx, conn, r)
	case ctx.Err() != nil: // the lab ends, and says nothing
		return l.interrupted()
	}
	if errors.Is(err, isolate.ErrEnded) || errors.Is(err, isolate.ErrRefused) {
		err = nil // why it did is told by it, or by its exit
	}
	return err
}

func (l *labs) attach(ctx context.Context, conn *net.UnixConn, r isolate.Request) error {
	_, err := isolate.Attach(ctx, conn, r, os.Stdin, os.Stdout, os.Stderr, func(banner string) {
		fmt.Fprint(l.host.Stderr, banner)
	})
	if e := new(isolate.RefusedError); errors.As(err, &e) {
		return &usageError{e.Problem, e.Hint}
	}
	if ctx.Err() != nil {
		return l.interrupted()
	}
	return err
}

// reveal prints the truth at the end.
func (l *labs) reveal(cell *isolate.Cell) error {
	conn, err := cell.Connect()
	if err != nil {
		return nil // the lab has ended before
	}
	defer conn.Close()
	if r, err := isolate.Ask(conn, isolate.Request{Op: opWhy}); err == nil {
		fmt.Fprint(l.host.Stderr, r.Text)
	}
	return nil
}

// join opens a shell in a lab that runs.
func (l *labs) join(ctx context.Context, f *shellFlags, args []string) error {
	if len(args) > 1 {
		return &usageError{"--join takes one process ID", "The labs that run are listed by: tcpwhy lab shell --join"}
	}
	if f.ipv4 || f.ipv6 || f.port != 0 || f.loss != 0 || f.after != 0 {
		return &usageError{"--join takes --on, --root and --ordinary alone: the lab is made already", "Leave the other flags out."}
	}
	doors, err := isolate.Doors()
	if err != nil {
		return err
	}
	var list []string
	for _, d := range doors {
		list = append(list, fmt.Sprintf("  %d  %s", d.Pid, ascii(strings.Join(d.Command, " "))))
	}
	running := "Those that run:\n" + strings.Join(list, "\n")
	pid := 0
	switch {
	case len(doors) == 0:
		return &usageError{"no lab with a shell runs here", "Start one: tcpwhy lab shell host-firewall-drop"}
	case len(args) == 1:
		if pid, err = strconv.Atoi(args[0]); err != nil || !slices.ContainsFunc(doors, func(d isolate.Door) bool { return d.Pid == pid }) {
			return &usageError{fmt.Sprintf("no lab has the process ID %q", args[0]), running}
		}
	case len(doors) > 1:
		return &usageError{fmt.Sprintf("%d labs run here, and none is named", len(doors)), "Name one, for example: tcpwhy lab shell --join " + strconv.Itoa(doors[0].Pid) + "\n" + running}
	default:
		pid = doors[0].Pid
	}
	conn, err := isolate.Dial(pid)
	if err != nil {
		return &usageError{"the lab cannot be joined: " + err.Error(), "Only its user and root can. " + running}
	}
	err = l.attach(ctx, conn, f.request())
	switch {
	case errors.Is(err, isolate.ErrRefused):
		who := "you"
		if u, err := user.Current(); err == nil {
			who = ascii(u.Username)
		}
		return &usageError{fmt.Sprintf("the lab %d does not let %s in, or is ending", pid, who), "Only its user and root can join it."}
	case errors.Is(err, isolate.ErrEnded):
		fmt.Fprintln(l.host.Stderr, "\nThe lab has ended, or the shell was killed.")
		return nil
	}
	return err
}

// as becomes another program that cannot become another user.
func (l *labs) as() *cobra.Command {
	return hidden("as", func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return &usageError{"no program named", "This is a command for shells of the lab."}
		}
		return isolate.ExecKeepingUser(args[0], args[1:]...)
	})
}

// ask asks the lab that it runs in.
func (l *labs) ask() *cobra.Command {
	return hidden("ask", func(_ *cobra.Command, args []string) error {
		conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: roomSocket, Net: "unixpacket"})
		if err != nil || len(args) == 0 {
			return &usageError{"this is no shell of the lab", "Open one: tcpwhy lab shell host-firewall-drop"}
		}
		defer conn.Close()
		r, err := isolate.Ask(conn, isolate.Request{Op: args[0], Args: args[1:]})
		if err != nil {
			return err
		}
		if r.Error != "" {
			return &usageError{r.Error, r.Hint}
		}
		fmt.Fprint(l.host.Stdout, r.Text)
		l.code = r.Code
		return nil
	})
}
