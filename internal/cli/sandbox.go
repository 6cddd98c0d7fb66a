package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tcpwhy/tcpwhy/internal/sandbox"
	"github.com/tcpwhy/tcpwhy/internal/tcpsock"
)

const sandboxLong = `Small programs to play with TCP and DNS: a server that misbehaves as told, a
client that sends numbered messages and times the answers, a name server that
lies as told, and a single DNS question. Run them on one machine or on two, and
look at what they do with tcpdump, ss or tcpwhy itself.`

const sandboxExamples = `  tcpwhy sandbox server localhost:8080                in one terminal
  tcpwhy sandbox client localhost:8080 -n alice       in another
  tcpwhy sandbox server localhost:8080 --stop-reading
  tcpwhy sandbox client localhost:8080 --eager        sees window zero
  tcpwhy sandbox dns localhost:5300 --nxdomain '*'
  tcpwhy sandbox query app.example A --server 127.0.0.1:5300`

// sandbox is the command that the applications are under.
func (a *app) sandbox() *cobra.Command {
	const hint = "There are: server, client, dns, query (more: tcpwhy sandbox --help)"
	cmd := &cobra.Command{
		Use:     "sandbox",
		Short:   "Small programs to make failures with: server, client, dns, query",
		Long:    sandboxLong,
		Example: sandboxExamples,
		Args:    cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return &usageError{"no application named", hint}
			}
			return &usageError{fmt.Sprintf("there is no application %q", args[0]), hint}
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		list := "The flags are listed by: " + c.CommandPath() + " --help"
		var value *pflag.InvalidValueError
		if errors.As(err, &value) && value.GetFlag().Value.Type() == "float64" {
			name := "--" + value.GetFlag().Name
			return &usageError{name + " " + strconv.Quote(value.GetValue()) + " is no number of seconds", "For example: " + name + " 2.5"}
		}
		wrong := flagError(err)
		if u, ok := wrong.(*usageError); ok && strings.HasSuffix(u.hint, "--help") {
			u.hint = list
		}
		return wrong
	})
	cmd.AddCommand(a.sandboxServer(), a.sandboxClient(), a.sandboxDNS(), a.sandboxQuery())
	return cmd
}

// talk says how an application tells what happens.
type talk struct {
	output string
	quiet  bool
}

// flags adds the flags of it to a command, the last of its flags.
func (t *talk) flags(cmd *cobra.Command, quiet string) {
	fl := cmd.Flags()
	fl.StringVarP(&t.output, "output", "o", "text", "`FORMAT`: text or json (one object a line)")
	if quiet != "" {
		fl.BoolVarP(&t.quiet, "quiet", "q", false, quiet)
	}
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
}

func (t *talk) check() error {
	if t.output != "text" && t.output != "json" {
		return &usageError{fmt.Sprintf("unknown output format %q", t.output), "Formats are: text, json."}
	}
	return nil
}

// teller writes the events of an application to stdout. What cannot be written
// ends the application.
type teller struct {
	talk
	host   *Host
	cancel context.CancelFunc

	mu  sync.Mutex
	err error
}

// play runs an application until it is done, the user ends it, or stdout does
// not take what it tells.
func (a *app) play(ctx context.Context, t talk, run func(context.Context, func(sandbox.Event)) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := &teller{talk: t, host: &a.host, cancel: cancel}
	err := run(ctx, w.tell)
	if w.err != nil {
		return fmt.Errorf("write the answer: %w", w.err)
	}
	return err
}

// serve plays a server, whose only errors are those of listening.
func (a *app) serve(ctx context.Context, where string, t talk, run func(context.Context, func(sandbox.Event)) error) error {
	var listen error
	err := a.play(ctx, t, func(ctx context.Context, tell func(sandbox.Event)) error {
		listen = run(ctx, tell)
		return nil
	})
	if err != nil {
		return err
	}
	return listenError(where, listen)
}

func (t *teller) tell(e sandbox.Event) {
	perMessage := []sandbox.Kind{sandbox.Received, sandbox.Sent, sandbox.Answered, sandbox.Query}
	if t.quiet && slices.Contains(perMessage, e.Kind) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil {
		return
	}
	if t.output == "json" {
		t.err = json.NewEncoder(t.host.Stdout).Encode(e)
	} else {
		_, t.err = io.WriteString(t.host.Stdout, t.text(e))
	}
	if t.err != nil {
		t.cancel()
	}
}

// clientColors are SGR parameters, ECMA-48 section 8.3.117: each client of a
// server has its own until there are more of them.
var clientColors = []string{"32", "33", "34", "35", "36", "92", "93", "94", "95", "96"}

// text is an event on as many lines as it needs, with the time before it.
func (t *teller) text(e sandbox.Event) string {
	const stamp = "15:04:05.000 "
	said := e.Text
	if !t.host.unicode() {
		said = ascii(said)
	}
	lines := wrap(said, t.host.width()-len(stamp))
	before, after := "", ""
	if t.host.color() {
		switch {
		case e.Kind == sandbox.Failed:
			before, after = "\x1b[31m", "\x1b[0m"
		case e.Client > 0:
			before, after = "\x1b["+clientColors[(e.Client-1)%len(clientColors)]+"m", "\x1b[0m"
		}
	}
	return e.Time.Format(stamp) + before + strings.Join(lines, "\n"+strings.Repeat(" ", len(stamp))) + after + "\n"
}

// wrap breaks text into lines of at most so many characters, at spaces where
// there are any.
func wrap(s string, width int) []string {
	var lines []string
	for {
		end, space, n := len(s), -1, 0
		for i, r := range s {
			if n == width {
				end = i
				if r == ' ' {
					space = i
				}
				break
			}
			if r == ' ' {
				space = i
			}
			n++
		}
		if end == len(s) {
			return append(lines, s)
		}
		next := end
		if space > 0 {
			end, next = space, space+1
		}
		lines = append(lines, s[:end])
		s = s[next:]
	}
}

// listenAddr checks where a server is to listen: ADDR:PORT or :PORT, the port
// in digits and 0 for any free one.
func listenAddr(args []string) (string, error) {
	const hint = "For example: localhost:8080, :8080 for all addresses, '[::1]:8080', port 0 for any free port"
	bad := func(problem string) (string, error) { return "", &usageError{problem, hint} }
	if len(args) != 1 {
		return bad(fmt.Sprintf("%d words say where to listen, not one", len(args)))
	}
	given := strconv.QuoteToASCII(args[0])
	host, port, err := net.SplitHostPort(args[0])
	var addr *net.AddrError
	switch {
	case errors.As(err, &addr):
		return bad(given + " is no ADDR:PORT: " + addr.Err)
	case err != nil:
		return bad(given + " is no ADDR:PORT")
	case !utf8.ValidString(host) || len(host) > 253:
		return bad(given + " has no valid address")
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return bad(given + ": the port is no number from 0 to 65535")
	}
	return args[0], nil
}

// listenError says why a server cannot listen, in a way that helps.
func listenError(where string, err error) error {
	if err == nil {
		return nil
	}
	_, port, _ := net.SplitHostPort(where)
	hint := "Check the address, or choose another one."
	switch tcpsock.ErrnoName(err) {
	case "EADDRINUSE":
		hint = "Choose another port, or 0 for any. On Linux this shows who has it: ss -lntup 'sport = :" + port + "'"
	case "EACCES", "EPERM":
		hint = "Choose a port above 1023, or run it as root."
	case "EADDRNOTAVAIL":
		hint = "Give an address of this host, or none for all of them: :" + port
	}
	return &usageError{"cannot listen: " + err.Error(), hint}
}
