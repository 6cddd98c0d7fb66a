package cli

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
	"github.com/spf13/cobra"

	"github.com/tcpwhy/tcpwhy/internal/sandbox"
)

const dnsLong = `A small name server with authority over every name. It answers from its
records, with NXDOMAIN for names that have none, and lies about names as told;
NAME may be '*' for every name without a lie of its own. It prints each query
and what it answered. Ctrl-C ends it.

ADDR:PORT may be :PORT for all addresses; port 0 is any free port.`

const dnsExamples = `  tcpwhy sandbox dns localhost:5300 --record 'app.example A 192.0.2.7'
  tcpwhy sandbox dns localhost:5300 --servfail app.example --slow '*=2s'
  tcpwhy sandbox dns localhost:5300 --truncate '*' --no-tcp
  dig @127.0.0.1 -p 5300 app.example`

// dnsFlags are what the name server is told.
type dnsFlags struct {
	sandbox.NameServer
	talk
	records []string
	lies    map[sandbox.Lie]*[]string
}

func (a *app) sandboxDNS() *cobra.Command {
	f := &dnsFlags{lies: map[sandbox.Lie]*[]string{}}
	cmd := &cobra.Command{
		Use:               "dns ADDR:PORT",
		Short:             "A name server that lies as told",
		Long:              dnsLong,
		Example:           dnsExamples,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if f.Addr, err = listenAddr(args); err != nil {
				return err
			}
			if err := f.check(); err != nil {
				return err
			}
			return a.serve(cmd.Context(), f.Addr, f.talk, f.Run)
		},
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.StringArrayVar(&f.records, "record", nil, "know the `RECORD`, written as in a zone file; repeatable, as all of the following are")
	for _, l := range []struct {
		lie  sandbox.Lie
		what string
	}{
		{sandbox.NXDomain, "say that `NAME` does not exist"},
		{sandbox.ServFail, "answer SERVFAIL for `NAME`"},
		{sandbox.Refuse, "answer REFUSED for `NAME`"},
		{sandbox.NoAnswer, "do not answer for `NAME`"},
		{sandbox.Truncate, "over UDP give an empty, truncated answer for `NAME`"},
		{sandbox.Slow, "answer late: `NAME=TIME`, for example app.example=2s"},
		{sandbox.Wrong, "give another address: `NAME=ADDR`"},
		{sandbox.CNAMELoop, "make an alias of `NAME` that leads back to it"},
	} {
		f.lies[l.lie] = fl.StringArray(string(l.lie), nil, l.what)
	}
	fl.BoolVar(&f.NoTCP, "no-tcp", false, "listen on UDP only")
	f.flags(cmd, "print no queries, only the start and the end")
	return cmd
}

// check reads records and lies.
func (f *dnsFlags) check() error {
	if err := f.talk.check(); err != nil {
		return err
	}
	for _, s := range f.records {
		rr, err := sandbox.ParseRecord(s)
		if err != nil {
			return &usageError{fmt.Sprintf("--record %s: %v", strconv.QuoteToASCII(s), err), "For example: --record 'app.example A 192.0.2.7'"}
		}
		f.Zone.Records = append(f.Zone.Records, rr)
	}
	lies := []sandbox.Lie{sandbox.NXDomain, sandbox.ServFail, sandbox.Refuse, sandbox.NoAnswer, sandbox.Truncate, sandbox.Slow, sandbox.Wrong, sandbox.CNAMELoop}
	for _, lie := range lies {
		for _, s := range *f.lies[lie] {
			fault, err := parseFault(lie, s)
			if err != nil {
				return err
			}
			for _, before := range f.Zone.Faults {
				if before.Name == fault.Name && (before.Lie == lie || before.Lie == sandbox.NoAnswer || lie != sandbox.Slow && before.Lie != sandbox.Slow) {
					return &usageError{fmt.Sprintf("--%s and --%s say different things of %s", before.Lie, lie, strconv.QuoteToASCII(fault.Name)), "Choose one of them for each name; --slow goes with any but --silent."}
				}
			}
			f.Zone.Faults = append(f.Zone.Faults, fault)
		}
	}
	return nil
}

// parseFault reads NAME, NAME=TIME or NAME=ADDR.
func parseFault(lie sandbox.Lie, s string) (sandbox.Fault, error) {
	fault := sandbox.Fault{Lie: lie}
	bad := func(problem, example string) (sandbox.Fault, error) {
		return fault, &usageError{fmt.Sprintf("--%s %s: %s", lie, strconv.QuoteToASCII(s), problem), fmt.Sprintf("For example: --%s %s", lie, example)}
	}
	name, value, both := strings.Cut(s, "=")
	var err error
	switch lie {
	case sandbox.Slow:
		if fault.Delay, err = time.ParseDuration(value); !both || err != nil || fault.Delay <= 0 || fault.Delay > time.Hour {
			return bad("there is no time of at most 1h behind =", "app.example=2s")
		}
	case sandbox.Wrong:
		if fault.Addr, err = netip.ParseAddr(value); !both || err != nil || fault.Addr.Zone() != "" {
			return bad("there is no address behind =", "app.example=192.0.2.99")
		}
		fault.Addr = fault.Addr.Unmap()
	default:
		name = s
	}
	if fault.Name, err = sandbox.ParseName(name); err != nil {
		return bad(err.Error(), "app.example")
	}
	return fault, nil
}

const queryLong = `Asks one DNS question of one server, once, and prints the answer as it came:
response code, flags, time, records, and whether it was truncated. No search
list is applied. TYPE is a record type, A where it is left out; with PTR an
address may stand in for the name.

Without --server the first name server of ` + sandbox.ResolvConf + ` is asked.

Exit code 0: at least one record came; 1: not so.`

const queryExamples = `  tcpwhy sandbox query db.internal.example AAAA
  tcpwhy sandbox query app.example MX --server 127.0.0.1:5300
  tcpwhy sandbox query 192.0.2.7 PTR --tcp`

func (a *app) sandboxQuery() *cobra.Command {
	var (
		q      sandbox.Question
		t      talk
		server string
	)
	cmd := &cobra.Command{
		Use:     "query NAME [TYPE]",
		Short:   "Ask one DNS question by record type",
		Long:    queryLong,
		Example: queryExamples,
		Args:    cobra.ArbitraryArgs,
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) != 1 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return []string{"A", "AAAA", "ANY", "CAA", "CNAME", "HTTPS", "MX", "NS", "PTR", "SOA", "SRV", "TXT"}, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := t.check(); err != nil {
				return err
			}
			if err := question(&q, args, server); err != nil {
				return err
			}
			err := a.play(cmd.Context(), t, q.Ask)
			if errors.Is(err, sandbox.ErrNoAnswer) {
				a.code = worse(a.code, exitFails)
				return nil
			}
			return err
		},
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.StringVar(&server, "server", "", "ask the name server at `ADDR[:PORT]`")
	fl.BoolVar(&q.TCP, "tcp", false, "ask over TCP")
	fl.DurationVar(&q.Timeout, "timeout", 5*time.Second, "wait at most `TIME` for the answer")
	t.flags(cmd, "")
	return cmd
}

// question reads the arguments of a query.
func question(q *sandbox.Question, args []string, server string) (err error) {
	const example = "For example: tcpwhy sandbox query app.example AAAA"
	if len(args) < 1 || len(args) > 2 {
		return &usageError{"query takes a name and a record type", example}
	}
	q.Type = dns.TypeA
	if len(args) == 2 {
		if q.Type, err = sandbox.ParseType(args[1]); err != nil {
			return &usageError{fmt.Sprintf("type %s: %v", strconv.QuoteToASCII(args[1]), err), "Types are: A, AAAA, ANY, CNAME, MX, NS, PTR, SOA, SRV, TXT and others."}
		}
	}
	if q.Name, err = sandbox.QuestionName(args[0], q.Type); err != nil {
		return &usageError{fmt.Sprintf("name %s: %v", strconv.QuoteToASCII(args[0]), err), example}
	}
	if q.Timeout <= 0 || q.Timeout > time.Minute {
		return &usageError{"--timeout must be more than 0 and at most 1m", "For example: --timeout 2s"}
	}
	if server == "" {
		if q.Server, err = sandbox.DefaultServer(sandbox.ResolvConf); err != nil {
			return &usageError{"no name server: " + err.Error(), "Name one, for example: --server 192.0.2.53"}
		}
		return nil
	}
	addr, port, err := source(server)
	if err != nil {
		return &usageError{fmt.Sprintf("--server %s is no address with or without a port", strconv.QuoteToASCII(server)), "For example: --server 192.0.2.53, or --server '[2001:db8::53]:5300'"}
	}
	if port == 0 {
		port = 53
	}
	q.Server = netip.AddrPortFrom(addr, port).String()
	return nil
}
