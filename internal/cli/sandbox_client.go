package cli

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os/user"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/tcpwhy/tcpwhy/internal/flow"
	"github.com/tcpwhy/tcpwhy/internal/sandbox"
)

const clientLong = `Connects to a sandbox server, sends numbered messages, and prints the answers
with their round-trip times. When something fails it prints the error as Go says
it, the errno, how long it took, and how to learn why; --why does that at once.

An --eager client sends as fast as it can and reads nothing. It tells when a
write has to wait for room, and how large the server's receive window is then;
--read-timeout-sec is the longest that it waits.

Exit code 0: every message was answered (eager: sent); 1: not so.`

const clientExamples = `  tcpwhy sandbox client localhost:8080 -n alice
  tcpwhy sandbox client '[::1]:8443' --tls -c 3 --interval 200ms
  tcpwhy sandbox client localhost:8080 --eager --read-timeout-sec 10
  tcpwhy sandbox client 192.0.2.7:8080 --connect-timeout-sec 5 --why`

// clientFlags are what the client is told.
type clientFlags struct {
	sandbox.Client
	talk
	connectSec, readSec float64
	why                 bool
}

func (a *app) sandboxClient() *cobra.Command {
	f := &clientFlags{}
	cmd := &cobra.Command{
		Use:               "client HOST:PORT",
		Short:             "A TCP client that sends numbered messages",
		Long:              clientLong,
		Example:           clientExamples,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(cmd, args); err != nil {
				return err
			}
			err := a.play(cmd.Context(), f.talk, f.Run)
			if !errors.Is(err, sandbox.ErrFailed) {
				return err
			}
			a.code = worse(a.code, exitFails)
			if cmd.Context().Err() != nil { // ended by the user
				return nil
			}
			return a.why(cmd, f)
		},
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.StringVarP(&f.Name, "client-name", "n", defaultName(), "what the client calls itself: `NAME`")
	fl.Float64VarP(&f.connectSec, "connect-timeout-sec", "t", 30, "how many `SECONDS` the connect may take")
	fl.Float64VarP(&f.readSec, "read-timeout-sec", "r", 30, "how many `SECONDS` to wait for each answer")
	fl.IntVarP(&f.Count, "msg-count", "c", 10, "send `N` messages, 0: until Ctrl-C (with --eager the default)")
	fl.DurationVar(&f.Interval, "interval", time.Second, "`TIME` from an answer to the next message")
	fl.BoolVar(&f.Eager, "eager", false, "send as fast as possible and read no answers")
	fl.BoolVar(&f.TLS, "tls", false, "speak TLS; the certificate is shown and not verified")
	fl.BoolVar(&f.why, "why", false, "when it fails, diagnose at once why")
	f.flags(cmd, "print no messages, only the start, failures and the end")
	return cmd
}

// defaultName is the user's name.
func defaultName() string {
	if u, err := user.Current(); err == nil && sandbox.CheckName(u.Username) == nil {
		return u.Username
	}
	return "client"
}

// check finds what is wrong with the call and completes the client.
func (f *clientFlags) check(cmd *cobra.Command, args []string) error {
	if err := f.talk.check(); err != nil {
		return err
	}
	targets, err := flow.ParseTargets(args)
	if err != nil {
		return err
	}
	if len(targets) != 1 {
		return &usageError{fmt.Sprintf("%d servers are named, not one", len(targets)), "For example: tcpwhy sandbox client localhost:8080"}
	}
	f.Addr = net.JoinHostPort(targets[0].Host, strconv.Itoa(int(targets[0].Port)))
	if a := targets[0].Addr; a.IsValid() {
		f.Addr = net.JoinHostPort(a.String(), strconv.Itoa(int(targets[0].Port))) // with its zone
	}
	if err := sandbox.CheckName(f.Name); err != nil {
		return &usageError{"--client-name: " + err.Error(), "For example: -n alice"}
	}
	for name, sec := range map[string]float64{"connect-timeout-sec": f.connectSec, "read-timeout-sec": f.readSec} {
		if !(sec >= 0.001 && sec <= 3600) { // not a number is neither
			return &usageError{fmt.Sprintf("--%s must be between 0.001 and 3600", name), fmt.Sprintf("For example: --%s 30", name)}
		}
	}
	f.ConnectTimeout = time.Duration(f.connectSec * float64(time.Second))
	f.ReadTimeout = time.Duration(f.readSec * float64(time.Second))
	if f.Count < 0 {
		return &usageError{"--msg-count must not be negative", "For example: --msg-count 3, or 0 for no end"}
	}
	if f.Interval < 0 || f.Interval > time.Hour {
		return &usageError{"--interval must be between 0 and 1h", "For example: --interval 1s"}
	}
	if f.Eager {
		if cmd.Flags().Changed("interval") {
			return &usageError{"--eager and --interval exclude each other", "Choose one of them."}
		}
		if !cmd.Flags().Changed("msg-count") {
			f.Count = 0
		}
	}
	return nil
}

// why diagnoses the client's target as the main job does without flags, or says
// how to.
func (a *app) why(cmd *cobra.Command, f *clientFlags) error {
	if f.why {
		root := a.root()
		root.SetArgs([]string{f.Addr, "--output", f.output})
		return root.ExecuteContext(cmd.Context())
	}
	if f.output == "json" {
		return nil
	}
	target := f.Addr
	if target[0] == '[' { // means something to a shell
		target = "'" + target + "'"
	}
	_, err := io.WriteString(a.host.Stdout, "why?         tcpwhy "+target+"\n")
	return err
}
