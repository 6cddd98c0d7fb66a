package cli

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tcpwhy/tcpwhy/internal/cause"
	"github.com/tcpwhy/tcpwhy/internal/probe"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

const long = `tcpwhy connects to each target as a program would and says why it fails: the
cause, the proof, what was ruled out, what was not checked, and what to do.

A target is host:port, host port, [v6]:port, host:service or a URL. Packets go
to the target, the configured name servers and the routers on the way, and to
nobody else. An ordinary user can run it; with CAP_NET_RAW it also sees the
packets themselves and says more, and root has it read this host's own firewall
rules where they may be the cause.`

const examples = `  tcpwhy db.internal.example:5432
  tcpwhy 192.0.2.7 ssh
  tcpwhy https://www.example/
  tcpwhy -o json '[2001:db8::7]:443'
  tcpwhy --redact --report ticket.html db.internal.example:5432
  sudo tcpwhy --write attempt.pcapng 192.0.2.7:8080
  tcpwhy --expect refused 192.0.2.7:23
  ssh db sudo tcpwhy host :5432 --during 10s -o json |
    tcpwhy --host-evidence - db:5432`

// flags of the main job.
type flags struct {
	source   string
	ipv4     bool
	ipv6     bool
	timeout  time.Duration
	patience time.Duration
	output   string
	quiet    bool
	verbose  bool
	write    string
	evidence string
	host     string
	expect   string
	reports  []string
	redact   bool
	options  probe.Options
}

func (a *app) root() *cobra.Command {
	f := &flags{}
	cmd := &cobra.Command{
		Use:           "tcpwhy TARGET...",
		Short:         "Tell why a TCP connection fails",
		Long:          long,
		Example:       examples,
		Version:       version(),
		Args:          cobra.ArbitraryArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return &usageError{"no target given", "Name what to connect to, for example: tcpwhy db.example:5432 (more: tcpwhy --help)"}
			}
			return a.diagnose(cmd.Context(), f, args)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	// Flags are wrapped for 80 columns, wherever help goes.
	cmd.SetUsageTemplate(strings.ReplaceAll(cmd.UsageTemplate(), ".FlagUsages ", ".FlagUsagesWrapped 80 "))
	cmd.SetVersionTemplate("tcpwhy {{.Version}}\n")
	cmd.SetFlagErrorFunc(commandFlagError)
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.BoolVarP(&f.ipv4, "ipv4", "4", false, "use IPv4 addresses only")
	fl.BoolVarP(&f.ipv6, "ipv6", "6", false, "use IPv6 addresses only")
	fl.StringVar(&f.source, "source", "", "connect from `ADDR[:PORT]`")
	fl.StringVar(&f.options.Interface, "interface", "", "connect by way of the interface `NAME`")
	fl.DurationVar(&f.timeout, "connect-timeout", probe.DefaultConnectTimeout, "how long a connect may take")
	fl.DurationVar(&f.patience, "patience", probe.DefaultPatience, "how long silence must last to count; more for slow paths")
	fl.IntVar(&f.options.Count, "count", 1, "connect `N` times, for failures that come and go")
	fl.DurationVar(&f.options.Idle, "idle", 0, "search for an idle limit on the way up to this time")
	fl.BoolVar(&f.options.Gentle, "gentle", false, "send nothing but the connects")
	fl.BoolVar(&f.options.DNSOverTCP, "dns-tcp", false, "ask the name servers over TCP")
	fl.StringVar(&f.write, "write", "", "keep the packets in the pcapng `FILE` (needs CAP_NET_RAW)")
	fl.StringVar(&f.evidence, "evidence", "", "keep the raw evidence as JSON in `FILE`, for the report of a mistake")
	fl.StringVar(&f.host, "host-evidence", "", "take in what the host tells of itself, from `FILE` or - (see tcpwhy host)")
	fl.StringVar(&f.expect, "expect", "", "exit with 0 if and only if the outcome or the cause is `WHAT`")
	fl.StringVarP(&f.output, "output", "o", "text", "`FORMAT` of the answer: text, json (one object a line), html or md")
	fl.StringArrayVar(&f.reports, "report", nil, "write a copy to `FILE`, in the format of its ending: .html, .md, .json, .txt")
	fl.BoolVar(&f.redact, "redact", false, redactUsage)
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "print the first line of the answer only")
	fl.BoolVarP(&f.verbose, "verbose", "v", false, "print everything, with the table of causes against facts")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("expect", cobra.FixedCompletions(expectable(), cobra.ShellCompDirectiveNoFileComp))
	cmd.AddCommand(a.explain(), a.sandbox(), a.report(), a.manual(), a.lab(), a.pcap(), a.capture(), a.hostCommand())
	cmd.SetOut(a.host.Stdout) // which cobra asks for while it makes the next command
	cmd.InitDefaultCompletionCmd()
	cmd.InitDefaultHelpCmd()
	for _, c := range cmd.Commands() {
		switch c.Name() {
		case "completion":
			completion(c)
		case "help":
			c.Args = knownCommand
		}
	}
	return cmd
}

// completion has cobra's command say what is wrong with its arguments.
func completion(cmd *cobra.Command) {
	var shells []string
	for _, shell := range cmd.Commands() {
		shells = append(shells, shell.Name())
		shell.Args = func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return &usageError{fmt.Sprintf("completion %s takes no %q", shell.Name(), args[0]), "Print it with: tcpwhy completion " + shell.Name()}
			}
			return nil
		}
	}
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		problem := "no shell named"
		if len(args) > 0 {
			problem = fmt.Sprintf("there is no completion for %q", args[0])
		}
		return &usageError{problem, "There are: " + strings.Join(shells, ", ") + " (how to load it: tcpwhy completion bash --help)"}
	}
}

// knownCommand is the check of what help is asked for: cobra's own shows the
// help of the program for what it does not know.
func knownCommand(help *cobra.Command, args []string) error {
	c, rest, err := help.Root().Find(args)
	if err != nil || len(rest) > 0 {
		return &usageError{fmt.Sprintf("there is no command %q", strings.Join(args, " ")), "The commands are listed by: " + c.CommandPath() + " --help"}
	}
	return nil
}

// parse checks the flags and makes options of them.
func (f *flags) parse() (probe.Options, error) {
	o := f.options
	o.ConnectTimeout, o.Patience = f.timeout, f.patience
	bad := func(problem, hint string) (probe.Options, error) { return o, &usageError{problem, hint} }
	switch {
	case f.ipv4 && f.ipv6:
		return bad("-4 and -6 exclude each other", "Leave both out to try every address.")
	case f.ipv4:
		o.Family = probe.IPv4
	case f.ipv6:
		o.Family = probe.IPv6
	}
	if f.quiet && f.verbose {
		return bad("-q and -v exclude each other", "Choose one of them.")
	}
	if f.redact && (f.write != "" || f.evidence != "") {
		return bad("--redact does not reach into the files of --write and --evidence", "Leave out the one or the other.")
	}
	if f.timeout <= 0 || f.timeout > time.Hour {
		return bad("--connect-timeout must be more than 0 and at most 1h", "For example: --connect-timeout 5s")
	}
	if f.patience <= 0 || f.patience > time.Minute {
		return bad("--patience must be more than 0 and at most 1m", "For example: --patience 2s")
	}
	if o.Idle < 0 || o.Idle > 24*time.Hour {
		return bad("--idle must be between 0 and 24h", "For example: --idle 90s")
	}
	if o.Idle > 0 && o.Gentle {
		return bad("--idle needs a connection that speaks, and --gentle sends nothing but the connects", "Leave out the one or the other.")
	}
	if o.Count < 1 || o.Count > 1000 {
		return bad("--count must be between 1 and 1000", "For example: --count 20")
	}
	if f.expect != "" && !expects(f.expect) {
		return bad(fmt.Sprintf("--expect %q is neither an outcome nor a cause", f.expect), "Outcomes are: "+strings.Join(outcomes(), ", ")+". Causes are listed by: tcpwhy explain")
	}
	if o.Interface != "" {
		if _, err := net.InterfaceByName(o.Interface); err != nil {
			return bad("there is no interface "+strconv.Quote(o.Interface)+" here", "The interfaces are listed by: ip -br link")
		}
	}
	if f.source != "" {
		var err error
		if o.Source, o.SourcePort, err = source(f.source); err != nil {
			return bad(err.Error(), "Give an address of this host, for example --source 192.0.2.2 or --source '[2001:db8::2]:40000'")
		}
		family := probe.IPv6
		if o.Source.Is4() {
			family = probe.IPv4
		}
		if o.Family != probe.AnyFamily && o.Family != family {
			return bad("--source is of the family that -4 or -6 excludes", "Leave out the one or the other.")
		}
		o.Family = family
	}
	if o.SourcePort != 0 && o.Count > 1 {
		return bad("--count cannot connect twice from one source port: the first connection keeps it (TIME-WAIT)", "Leave the port out of --source.")
	}
	return o, nil
}

// commandFlagError is flagError, and names the command that lists the flags.
func commandFlagError(c *cobra.Command, err error) error {
	wrong := flagError(err)
	if u, ok := wrong.(*usageError); ok && strings.HasSuffix(u.hint, "--help") {
		u.hint = "The flags are listed by: " + c.CommandPath() + " --help"
	}
	return wrong
}

// flagError says what is wrong with a flag in the words of its user.
func flagError(err error) error {
	const list = "The flags are listed by: tcpwhy --help"
	var value *pflag.InvalidValueError
	if !errors.As(err, &value) {
		return &usageError{err.Error(), list}
	}
	name, given := "--"+value.GetFlag().Name, strconv.Quote(value.GetValue())
	switch value.GetFlag().Value.Type() {
	case "duration":
		return &usageError{name + " " + given + " is no time with a unit", "For example: " + name + " 5s, or 500ms"}
	case "int":
		return &usageError{name + " " + given + " is no whole number", "For example: " + name + " 20"}
	}
	return &usageError{err.Error(), list}
}

// source reads ADDR, ADDR:PORT or [V6]:PORT.
func source(s string) (netip.Addr, uint16, error) {
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return a.Unmap(), 0, nil
	}
	ap, err := netip.ParseAddrPort(s)
	if err != nil || ap.Port() == 0 {
		return netip.Addr{}, 0, fmt.Errorf("--source %s is no address with or without a port", strconv.QuoteToASCII(s))
	}
	return ap.Addr().Unmap(), ap.Port(), nil
}

func outcomes() []string {
	var out []string
	for _, o := range []verdict.Outcome{verdict.Open, verdict.Refused, verdict.Timeout, verdict.Unreachable,
		verdict.Reset, verdict.LocalError, verdict.NameError, verdict.Degraded} {
		out = append(out, string(o))
	}
	return out
}

func expectable() []string {
	out := outcomes()
	for _, c := range cause.All() {
		out = append(out, string(c.ID))
	}
	return out
}

func expects(s string) bool {
	for _, e := range expectable() {
		if e == s {
			return true
		}
	}
	return false
}

// version is the module's version as the toolchain recorded it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}
