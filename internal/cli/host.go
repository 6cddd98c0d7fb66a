package cli

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tcpwhy/tcpwhy/internal/diagnose"
	"github.com/tcpwhy/tcpwhy/internal/flow"
	"github.com/tcpwhy/tcpwhy/internal/hostside"
	"github.com/tcpwhy/tcpwhy/internal/report"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

const hostLong = `Looks at this host from the server's side: would a client be served at the port,
and if not why? Who listens and whose process it is, what firewall rules decide,
the route back to the client, what the kernel dropped and for what reason, and
what the service and its log say. Without a port it lists all that listens.

It changes nothing but with --trace. An ordinary user sees part of it; root sees
other users' processes, other network namespaces, the rules, and the kernel's
reasons (Linux with BTF). What could not be looked at is listed, with how it
could be.

With -o json its output is evidence that a run elsewhere can take in:
  ssh db sudo tcpwhy host :5432 --during 10s -o json |
    tcpwhy db:5432 --host-evidence -`

const hostExamples = `  tcpwhy host
  sudo tcpwhy host :5432
  sudo tcpwhy host :5432 --from 192.0.2.7
  sudo tcpwhy host :8080 --service app.service --log /var/log/app.log
  sudo tcpwhy host :5432 --watch
  sudo tcpwhy host :5432 --trace --during 30s
  tcpwhy host --can-bind 0.0.0.0:443`

// hostFlags are those of tcpwhy host.
type hostFlags struct {
	from     string
	services []string
	logs     []string
	canBind  string
	trace    bool
	watch    bool
	during   time.Duration
	output   string
	quiet    bool
	verbose  bool

	options hostside.Options
	live    *report.Progress // nil without a terminal
}

func (a *app) hostCommand() *cobra.Command {
	f := &hostFlags{}
	cmd := &cobra.Command{
		Use:     "host [[ADDR]:PORT]",
		Short:   "Look at this host from the server's side",
		Long:    hostLong,
		Example: hostExamples,
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.parse(args); err != nil {
				return err
			}
			return a.hostLook(cmd.Context(), f)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.StringVar(&f.from, "from", "", "the client's address `ADDR`: its route back, its packets")
	fl.StringArrayVar(&f.services, "service", nil, "the unit or program `NAME` that should listen; may be repeated")
	fl.StringArrayVar(&f.logs, "log", nil, "read the service's log in `FILE`, too; may be repeated")
	fl.BoolVarP(&f.watch, "watch", "w", false, "show each incoming attempt, its fate and why, until Ctrl-C")
	fl.DurationVar(&f.during, "during", 0, "watch the kernel for this time, then answer")
	fl.BoolVar(&f.trace, "trace", false, "have the kernel tell which nftables rules the packets meet (adds a table that ends with tcpwhy)")
	fl.StringVar(&f.canBind, "can-bind", "", "say whether a server could bind `ADDR:PORT`, and who is in the way")
	fl.StringVarP(&f.output, "output", "o", "text", "`FORMAT` of the answer: text or json (one object a line)")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "print the first line of the answer only")
	fl.BoolVarP(&f.verbose, "verbose", "v", false, "print everything")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// parse checks the flags and the argument.
func (f *hostFlags) parse(args []string) error {
	f.options = hostside.Options{Services: f.services, Logs: f.logs}
	switch {
	case len(args) > 1:
		return &usageError{fmt.Sprintf("host takes one port, and %d are given", len(args)), "Run it once for each port."}
	case f.output != "text" && f.output != "json":
		return &usageError{fmt.Sprintf("there is no format %q", f.output), "Formats are: text, json."}
	case f.quiet && f.verbose:
		return &usageError{"-q and -v exclude each other", "Choose one of them."}
	case f.canBind != "" && (len(args) > 0 || f.watch || f.trace || f.during != 0 || f.from != ""):
		return &usageError{"--can-bind is a question of its own", "Leave out the port and the other flags: tcpwhy host --can-bind ADDR:PORT"}
	case f.watch && f.during != 0:
		return &usageError{"--watch goes on until Ctrl-C, --during ends by itself", "Choose one of them."}
	case f.during < 0 || f.during > 24*time.Hour:
		return &usageError{"--during must be between 0 and 24h", "For example: --during 10s"}
	case f.trace && !f.watch && f.during == 0:
		return &usageError{"--trace sees packets only while it waits for them", "Say for how long, for example: --during 10s"}
	case f.trace && f.watch:
		return &usageError{"--watch shows no rules", "Use --trace with --during."}
	}
	if len(args) == 1 {
		var why string
		if f.options.Addr, f.options.Port, why = place(args[0]); why != "" {
			return &usageError{strconv.QuoteToASCII(args[0]) + " is no port of this host: " + why, "Name the port, for example :5432, :ssh, 192.0.2.7:5432 or [2001:db8::7]:5432"}
		}
		if f.options.Addr.IsUnspecified() {
			f.options.Addr = netip.Addr{}
		}
	}
	if f.options.Port == 0 && (f.from != "" || f.during != 0 || f.trace || len(f.services)+len(f.logs) > 0) {
		return &usageError{"without a port there is nothing to ask that about", "Name the port, for example: tcpwhy host :5432"}
	}
	if f.from != "" {
		client, err := netip.ParseAddr(strings.Trim(f.from, "[]"))
		if err != nil {
			return &usageError{fmt.Sprintf("--from %s is no address", strconv.QuoteToASCII(f.from)), "Give the client's address, for example --from 192.0.2.7"}
		}
		f.options.Client = client.Unmap().WithZone("")
		if f.options.Addr.IsLoopback() && !f.options.Client.IsLoopback() {
			return &usageError{fmt.Sprintf("--from %v cannot reach %v: that is this host's own", f.options.Client, f.options.Addr), "Name the address that the client connects to, or leave it out: tcpwhy host :" + strconv.Itoa(int(f.options.Port)) + " --from " + f.options.Client.String()}
		}
		if f.options.Addr.IsValid() && f.options.Addr.Is4() != f.options.Client.Is4() {
			return &usageError{"the client's address is of another family than the port's", "Give both as IPv4, or both as IPv6."}
		}
	}
	return nil
}

// place reads ADDR:PORT, [V6]:PORT, :PORT or PORT, a port being a number or a
// service; the address is invalid where there is none. why says what is wrong.
func place(s string) (addr netip.Addr, port uint16, why string) {
	host, name, err := net.SplitHostPort(s)
	if err != nil {
		host, name = "", s // the port alone
	}
	port, bad := flow.ParsePort(name)
	if bad != nil {
		return addr, 0, bad.Problem
	}
	if host != "" {
		if addr, err = netip.ParseAddr(host); err != nil {
			return addr, 0, strconv.QuoteToASCII(host) + " is no address"
		}
	}
	return addr.Unmap(), port, ""
}

// hostLook does what the flags ask.
func (a *app) hostLook(ctx context.Context, f *hostFlags) error {
	switch {
	case f.canBind != "":
		return a.canBind(ctx, f)
	case f.watch:
		return a.hostWatch(ctx, f)
	}
	if a.host.Live && !f.quiet {
		f.live = report.Live(a.host.Stderr, a.host.width())
		defer f.live.Done()
		f.options.Progress = f.live.Step
	}
	if f.during == 0 {
		h := hostside.Look(ctx, f.options)
		if h.Port == 0 { // nothing is asked of any
			return a.hostAnswer(f, &verdict.HostDiagnosis{Host: *h, NotChecked: h.NotChecked})
		}
		return a.hostAnswer(f, diagnose.Hosted(h, f.addrs()...))
	}
	return a.hostDuring(ctx, f)
}

// addrs are the addresses to judge; none means all of the host's.
func (f *hostFlags) addrs() []netip.Addr {
	if f.options.Addr.IsValid() {
		return []netip.Addr{f.options.Addr}
	}
	return nil
}

// hostAnswer writes an answer; the exit code follows it.
func (a *app) hostAnswer(f *hostFlags, d *verdict.HostDiagnosis) error {
	if err := f.live.Aside(func() error {
		switch {
		case f.output == "json":
			return report.HostJSON(a.host.Stdout, d)
		case d.Host.Port == 0:
			return report.HostListText(a.host.Stdout, &d.Host, a.options(f.verbose, f.quiet))
		default:
			return report.HostText(a.host.Stdout, d, a.options(f.verbose, f.quiet))
		}
	}); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	if d.Host.Port != 0 {
		a.code = report.HostExitCode(d)
	}
	return nil
}

// beat is how often evidence is written while the kernel is watched.
const beat = 500 * time.Millisecond

// hostDuring watches for a while. As JSON it writes what is known at once and then
// again and again, so that a run that reads it needs not wait for the end.
func (a *app) hostDuring(ctx context.Context, f *hostFlags) error {
	w, err := hostside.Start(ctx, f.options, hostside.WatchOptions{Trace: f.trace})
	if err != nil {
		return err
	}
	end := time.NewTimer(f.during)
	defer end.Stop()
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for first := true; ; first = false {
		if f.output == "json" {
			if err := f.live.Aside(func() error {
				return report.HostJSON(a.host.Stdout, diagnose.Hosted(w.Snapshot(), f.addrs()...))
			}); err != nil {
				w.Stop()
				return fmt.Errorf("write the answer: %w", err)
			}
		}
		if first && f.options.Progress != nil {
			f.options.Progress("watching the kernel for " + f.during.String() + ", Ctrl-C ends it")
		}
		wait := tick.C
		if f.output != "json" {
			wait = nil
		}
		select {
		case <-wait:
			continue
		case <-end.C:
		case <-ctx.Done():
		}
		return a.hostAnswer(f, diagnose.Hosted(w.Stop(), f.addrs()...))
	}
}

// canBind answers --can-bind.
func (a *app) canBind(ctx context.Context, f *hostFlags) error {
	addr, port, why := place(f.canBind)
	if why != "" {
		return &usageError{strconv.QuoteToASCII(f.canBind) + " is no address with a port: " + why, "For example: --can-bind 0.0.0.0:443, or :443 for all addresses"}
	}
	if !addr.IsValid() {
		addr = netip.IPv6Unspecified() // as most servers do
	}
	t, err := hostside.CanBind(ctx, netip.AddrPortFrom(addr, port))
	if err != nil {
		return err
	}
	if f.output == "json" {
		err = report.BindJSON(a.host.Stdout, &t)
	} else {
		err = report.BindText(a.host.Stdout, &t, a.options(f.verbose, f.quiet))
	}
	if err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	if t.WithReuse != "" {
		a.code = exitFails
	}
	return nil
}
