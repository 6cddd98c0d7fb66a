package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tcpwhy/tcpwhy/internal/isolate"
	"github.com/tcpwhy/tcpwhy/internal/judge"
	"github.com/tcpwhy/tcpwhy/internal/lab"
	"github.com/tcpwhy/tcpwhy/internal/netns"
)

const labLong = `The lab makes faults real on this machine, in network namespaces that nobody
else sees: hosts, routers and firewalls of a kernel that means it. No packet
leaves the machine, nothing on it is changed, and whatever is killed at whatever
moment, nothing is left. An ordinary user may run it; no package is needed.

It serves to learn telling failures apart, and to judge tcpwhy, which is told
nothing of what was done.`

const labExamples = `  tcpwhy lab demo                          two minutes, eight failures
  tcpwhy lab list
  tcpwhy lab run host-firewall-drop        make it, diagnose it, compare
  tcpwhy lab run host-firewall-drop+dns-timeout -6
  tcpwhy lab shell no-listener             a shell on the client
  tcpwhy lab shell --join --on server      a second one, in another terminal
  tcpwhy lab quiz                          find it yourself
  tcpwhy lab matrix --stage path           all of a stage, judged`

// labs is the command line of the lab. Each command is run twice: outside, where
// it is checked and where the terminal is, and by a copy in namespaces of its
// own, where the work is done.
type labs struct {
	*app
	// guests are the connections to the copy; nil outside.
	guests <-chan *net.UnixConn
}

// lab is the command that those of the lab are under.
func (a *app) lab() *cobra.Command { return (&labs{app: a}).command() }

func (l *labs) command() *cobra.Command {
	const hint = "There are: list, run, shell, matrix, demo, quiz (more: tcpwhy lab --help)"
	cmd := &cobra.Command{
		Use:     "lab",
		Short:   "Faults made real on this machine, to learn from",
		Long:    labLong,
		Example: labExamples,
		Args:    cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return &usageError{"the lab has several commands, and none is named", hint}
			}
			return &usageError{fmt.Sprintf("the lab has no command %q", args[0]), hint}
		},
		SilenceErrors:     true,
		SilenceUsage:      true,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		wrong := flagError(err)
		if u, ok := wrong.(*usageError); ok && strings.HasSuffix(u.hint, "--help") {
			u.hint = "The flags are listed by: " + c.CommandPath() + " --help"
		}
		return wrong
	})
	cmd.AddCommand(l.list(), l.run(), l.shell(), l.matrix(), l.demo(), l.quiz(), l.init(), l.inside(), l.ask(), l.as())
	return cmd
}

// hidden is a command that the program calls itself.
func hidden(use string, run func(*cobra.Command, []string) error) *cobra.Command {
	return &cobra.Command{Use: use, Hidden: true, DisableFlagParsing: true, RunE: run}
}

// init is PID 1 of the copy.
func (l *labs) init() *cobra.Command {
	return hidden("init", func(_ *cobra.Command, args []string) (err error) {
		l.code, err = isolate.Init("tcpwhy", append([]string{"lab", "inside"}, args...)...)
		return notHere(err)
	})
}

// inside is the copy: it runs a command of the lab.
func (l *labs) inside() *cobra.Command {
	return hidden("inside", func(cmd *cobra.Command, args []string) error {
		ctx, guests, err := isolate.Enter(cmd.Context())
		if err != nil {
			return &usageError{"lab inside is a command for the program itself", "The lab is called by: tcpwhy lab run CAUSE (more: tcpwhy lab --help)"}
		}
		inner := (&labs{l.app, guests}).command()
		inner.SetArgs(args)
		return inner.ExecuteContext(ctx)
	})
}

// program is the one that labs run.
var program = filepath.Join(isolate.Bin, "tcpwhy")

// isolated runs work in the copy. Outside it starts that, lets meanwhile talk to
// it, if not nil, and takes over its exit code.
func (l *labs) isolated(cmd *cobra.Command, args []string, meanwhile func(context.Context, *isolate.Cell) error, work func(context.Context) error) error {
	if l.guests != nil {
		return work(cmd.Context())
	}
	again := []string{"lab", "init", cmd.Name()}
	cmd.Flags().Visit(func(f *pflag.Flag) { again = append(again, "--"+f.Name+"="+f.Value.String()) })
	cell, err := isolate.Start(slices.Concat(again, []string{"--"}, args)...)
	if err != nil {
		return notHere(err)
	}
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	context.AfterFunc(ctx, cell.End)
	var talk error
	if meanwhile != nil {
		talk = meanwhile(ctx, cell)
		cell.End()
	}
	code, err := cell.Wait()
	switch {
	case err != nil:
		l.complain("the lab was killed: " + err.Error())
		l.code = exitOurselves
		return nil
	case code != 0: // it has said why
		l.code = code
		return nil
	}
	return talk
}

// notHere says what to do where the lab cannot be made.
func notHere(err error) error {
	if e := new(netns.ForbiddenError); errors.As(err, &e) {
		hint := "Run it as root: sudo tcpwhy lab ..."
		for _, s := range e.Sysctls {
			name, value, _ := strings.Cut(s, "=")
			to := map[string]string{"0": "1", "1": "0"}[value]
			if name == "user.max_user_namespaces" {
				to = "10000"
			}
			hint = fmt.Sprintf("Allow them: sudo sysctl %s=%s, or run it as root.", name, to)
		}
		return &usageError{"the lab needs " + e.Error(), hint}
	}
	return err
}

// labFlags say which lab is made, and how.
type labFlags struct {
	ipv4, ipv6     bool
	root, ordinary bool
	host           bool
	port, loss     int
	after          time.Duration
	given          func(name string) bool // whether the user gave a flag
}

// common adds the flags of every command that makes labs.
func (f *labFlags) common(fl *pflag.FlagSet) {
	fl.SortFlags = false
	f.given = fl.Changed
	fl.BoolVarP(&f.ipv4, "ipv4", "4", false, "over IPv4")
	fl.BoolVarP(&f.ipv6, "ipv6", "6", false, "over IPv6")
	fl.BoolVar(&f.root, "root", false, "as root of the client")
	fl.BoolVar(&f.ordinary, "ordinary", false, "as an ordinary user of the client")
}

// bothSides adds that of commands that can judge with the server's side.
func (f *labFlags) bothSides(fl *pflag.FlagSet) {
	fl.BoolVar(&f.host, "host", false, "as root of the client, with what root of the server's host tells")
}

// params adds those that change a fault.
func (f *labFlags) params(fl *pflag.FlagSet) {
	fl.IntVar(&f.port, "port", 0, "the target's port `N`, where the fault is not about one")
	fl.IntVar(&f.loss, "loss", 0, "lose `N` percent of all packets between client and server, too")
	fl.DurationVar(&f.after, "after", 0, "all is well at first, and the fault comes after this `TIME`")
}

func (f *labFlags) check() error {
	bad := func(problem, hint string) error { return &usageError{problem, hint} }
	switch {
	case f.ipv4 && f.ipv6:
		return bad("-4 and -6 exclude each other", "Leave one of them out.")
	case f.root && f.ordinary, f.root && f.host, f.ordinary && f.host:
		return bad("--root, --ordinary and --host exclude each other", "Leave one of them, and no other.")
	case f.given("port") && (f.port < 1 || f.port > 65535):
		return bad(fmt.Sprintf("--port %d is no port", f.port), "Ports are 1 to 65535.")
	case f.given("loss") && (f.loss < 1 || f.loss > 99):
		return bad(fmt.Sprintf("--loss %d is no share of 1 to 99 percent", f.loss), "For example: --loss 30")
	case f.given("after") && (f.after <= 0 || f.after > time.Hour):
		return bad("--after must be more than 0 and at most 1h", "For example: --after 10s")
	}
	return nil
}

// vantage is that of the flags, or the default.
func (f *labFlags) vantage(otherwise judge.Vantage) judge.Vantage {
	switch {
	case f.host:
		return judge.WithHost
	case f.root:
		return judge.Root
	case f.ordinary:
		return judge.Ordinary
	}
	return otherwise
}

// of makes a case of a scenario.
func (f *labFlags) of(s lab.Scenario, otherwise judge.Vantage) (judge.Case, error) {
	if f.loss > 0 {
		s = s.Losing(f.loss)
	}
	c := judge.Case{Scenario: s, Vantage: f.vantage(otherwise), Family: s.Families[0]}
	c.Params = lab.Params{Port: uint16(f.port), Later: f.after > 0}
	if c.Params.Later && !s.StartsWell() {
		return c, &usageError{s.Name + " cannot come later: it is so from the beginning", "Leave --after out, or choose another: tcpwhy lab list"}
	}
	for family, wanted := range map[lab.Family]bool{lab.V4: f.ipv4, lab.V6: f.ipv6} {
		if !wanted {
			continue
		}
		if !slices.Contains(s.Families, family) {
			return c, &usageError{fmt.Sprintf("%s cannot be made for %v", s.Name, family), fmt.Sprintf("Leave the flag out: it is made for %v.", s.Families[0])}
		}
		c.Family = family
	}
	return c, nil
}

// choose finds what is named: scenarios or causes, with + between those that are
// combined. Of a cause it is the first scenario; others are the rest.
func choose(arg string) (s lab.Scenario, others []string, err error) {
	var names []string
	for name := range strings.SplitSeq(arg, "+") {
		if _, ok := lab.Find(name); !ok {
			named := ofCause(name)
			if len(named) == 0 {
				return s, nil, unknown(name)
			}
			name, others = named[0], append(others, named[1:]...)
		} else {
			others = append(others, slices.DeleteFunc(ofCause(name), func(n string) bool { return n == name })...)
		}
		names = append(names, name)
	}
	if s, err = lab.Combine(names...); err != nil {
		return s, nil, &usageError{strings.TrimPrefix(err.Error(), "lab: "), "What there is is listed by: tcpwhy lab list"}
	}
	return s, others, nil
}

// ofCause are the names of a cause's scenarios.
func ofCause(id string) []string {
	var names []string
	for _, s := range lab.Scenarios() {
		if s.Cause == id {
			names = append(names, s.Name)
		}
	}
	return names
}

// unknown says that a scenario does not exist, or why not.
func unknown(name string) error {
	if why, ok := lab.Unmade[name]; ok {
		return &usageError{"the lab does not make " + name + ": " + why, "Its page of the manual: tcpwhy explain " + name}
	}
	problem := fmt.Sprintf("the lab knows no scenario %.80q", name)
	if name == "" {
		problem = "a name is missing"
	}
	if like := near(name, labNames()...); like != nil {
		return &usageError{problem, "Did you mean: " + strings.Join(like, ", ") + "?"}
	}
	return &usageError{problem, "What there is is listed by: tcpwhy lab list"}
}

// labNames are the scenarios, and the causes that no scenario is named after.
func labNames() []string {
	var names []string
	for _, s := range lab.Scenarios() {
		for _, n := range []string{s.Cause, s.Name} {
			if !slices.Contains(names, n) {
				names = append(names, n)
			}
		}
	}
	return names
}

// completeLab completes names of scenarios, also behind a +.
func completeLab(many bool) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 && !many {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		before := typed[:strings.LastIndex(typed, "+")+1]
		var names []string
		for _, n := range labNames() {
			names = append(names, before+n)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// oneName is the argument of a command that takes one scenario.
func oneName(cmd *cobra.Command, args []string) error {
	name := "lab " + cmd.Name()
	switch {
	case len(args) == 0:
		return &usageError{name + ": no cause named", "For example: tcpwhy " + name + " host-firewall-drop (all: tcpwhy lab list)"}
	case len(args) > 1:
		return &usageError{fmt.Sprintf("%s takes one cause, not %d", name, len(args)), "Several faults at once are written with a +: " + strings.Join(args, "+")}
	}
	return nil
}

// stageFlag adds --stage.
func stageFlag(cmd *cobra.Command, stage *string) {
	cmd.Flags().StringVar(stage, "stage", "", "only this `STAGE`: "+strings.Join(lab.Stages(), ", "))
	_ = cmd.RegisterFlagCompletionFunc("stage", cobra.FixedCompletions(lab.Stages(), cobra.ShellCompDirectiveNoFileComp))
}

// atStage are the scenarios of a stage, "" being all.
func atStage(stage string) ([]lab.Scenario, error) {
	if stage != "" && !slices.Contains(lab.Stages(), stage) {
		return nil, &usageError{fmt.Sprintf("there is no stage %q", stage), "Stages are: " + strings.Join(lab.Stages(), ", ")}
	}
	return slices.DeleteFunc(lab.Scenarios(), func(s lab.Scenario) bool { return stage != "" && s.Stage != stage }), nil
}

// interrupted ends a command that was cut short.
func (l *labs) interrupted() error {
	l.complain("interrupted")
	l.code = exitNotSure
	return nil
}

// unmade tells why a lab could not be made, or what went wrong with it.
func (l *labs) unmade(ctx context.Context, err error) error {
	var wrong *lab.ParamsError
	switch {
	case ctx.Err() != nil:
		return l.interrupted()
	case errors.As(err, &wrong):
		return &usageError{wrong.Error(), fmt.Sprintf("Leave --%s out, or choose another: tcpwhy lab list", wrong.Param)}
	case errors.Is(err, lab.ErrCombination):
		return &usageError{strings.TrimPrefix(err.Error(), "lab: "), "Make them one at a time."}
	case errors.Is(err, errors.ErrUnsupported):
		l.complain("this fault cannot be made here: "+err.Error(), "Others can: tcpwhy lab list")
		l.code = exitOurselves
		return nil
	}
	return err
}
