package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tcpwhy/tcpwhy/internal/sandbox"
)

const serverLong = `Listens, prints what each client sends, and acknowledges every message. Each
client has a colour of its own on a terminal. The flags make it misbehave.
Lines typed into "nc HOST PORT" are messages, too. Ctrl-C ends it.

ADDR:PORT may be :PORT for all addresses; port 0 is any free port.`

const serverExamples = `  tcpwhy sandbox server :8080
  tcpwhy sandbox server localhost:8080 --no-accept --backlog 1
  tcpwhy sandbox server localhost:8080 --stop-reading
  tcpwhy sandbox server '[::1]:8443' --tls --read-delay 2s`

// serverFlags are what the server is told.
type serverFlags struct {
	sandbox.Server
	talk
	noAccept, reset, close, silent, stopReading bool
}

func (a *app) sandboxServer() *cobra.Command {
	f := &serverFlags{}
	cmd := &cobra.Command{
		Use:               "server ADDR:PORT",
		Short:             "A TCP server that misbehaves as told",
		Long:              serverLong,
		Example:           serverExamples,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if f.Addr, err = listenAddr(args); err != nil {
				return err
			}
			if err := f.check(cmd); err != nil {
				return err
			}
			return a.serve(cmd.Context(), f.Addr, f.talk, f.Run)
		},
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.IntVar(&f.Backlog, "backlog", -1, "tell listen(2) that `N` connections may wait for accept(2); Linux lets one more wait (default: the system's maximum)")
	fl.DurationVar(&f.AcceptDelay, "accept-delay", 0, "let each connection wait for `TIME` before accept(2)")
	fl.BoolVar(&f.noAccept, "no-accept", false, "listen and never call accept(2)")
	fl.BoolVar(&f.reset, "reset", false, "end each connection with RST right after accept(2)")
	fl.BoolVar(&f.close, "close", false, "end each connection with FIN right after accept(2)")
	fl.BoolVar(&f.silent, "silent", false, "read and never answer")
	fl.BoolVar(&f.stopReading, "stop-reading", false, "never read, so that the receive window closes")
	fl.DurationVar(&f.ReadDelay, "read-delay", 0, "read slowly: wait for `TIME` before each message")
	fl.BoolVar(&f.TLS, "tls", false, "speak TLS with a self-signed certificate made in memory")
	fl.IntVar(&f.MaxClients, "max-clients", 1000, "serve at most `N` clients at once and reset others")
	f.flags(cmd, "print no messages, only who comes and goes")
	fl.Lookup("backlog").DefValue = "0" // said in words above
	return cmd
}

// check finds flags that are wrong or contradict each other.
func (f *serverFlags) check(cmd *cobra.Command) error {
	if err := f.talk.check(); err != nil {
		return err
	}
	first := ""
	for _, m := range []struct {
		flag string
		set  bool
		mode sandbox.Mode
		not  []string // flags without a meaning then
	}{
		{"no-accept", f.noAccept, sandbox.NoAccept, []string{"accept-delay", "read-delay", "tls", "max-clients"}},
		{"reset", f.reset, sandbox.Reset, []string{"read-delay", "tls"}},
		{"close", f.close, sandbox.Close, []string{"read-delay", "tls"}},
		{"silent", f.silent, sandbox.Silent, nil},
		{"stop-reading", f.stopReading, sandbox.StopReading, []string{"read-delay"}},
	} {
		if !m.set {
			continue
		}
		if first != "" {
			return &usageError{"--" + first + " and --" + m.flag + " exclude each other", "Choose one of them."}
		}
		first, f.Mode = m.flag, m.mode
		for _, other := range m.not {
			if cmd.Flags().Changed(other) {
				return &usageError{"--" + m.flag + " and --" + other + " exclude each other", "Choose one of them."}
			}
		}
	}
	for name, d := range map[string]time.Duration{"accept-delay": f.AcceptDelay, "read-delay": f.ReadDelay} {
		if d < 0 || d > time.Hour {
			return &usageError{fmt.Sprintf("--%s must be between 0 and 1h", name), fmt.Sprintf("For example: --%s 5s", name)}
		}
	}
	if cmd.Flags().Changed("backlog") && (f.Backlog < 0 || f.Backlog > 65535) {
		return &usageError{"--backlog must be between 0 and 65535", "For example: --backlog 1"}
	}
	if f.MaxClients < 1 || f.MaxClients > 10000 {
		return &usageError{"--max-clients must be between 1 and 10000", "For example: --max-clients 100"}
	}
	return nil
}
