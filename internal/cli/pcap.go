package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/tcpwhy/tcpwhy/internal/capture"
	"github.com/tcpwhy/tcpwhy/internal/cause"
	"github.com/tcpwhy/tcpwhy/internal/report"
)

const pcapLong = `Reads captures and says which connections failed, and why: pcap and pcapng as
tcpdump, dumpcap and Wireshark write them, also in gzip, zstd or lz4. Several
files are read one after the other, and reported on together; a connection
that spans two files is judged by each part, unless --file-set says that one
program wrote them all, as tcpdump -C and -G, dumpcap -b and tcpwhy capture
--size do: then they are one capture, in the order of their packets' times. A
file that is missing in the middle is named where the names are numbered.
- is standard input. What comes for a connection that was over and then silent
for a minute, counts as another.

The summary comes first, then the failed connections by target and cause. A
capture shows less than a live run: a connection of which it shows too little
is called undecided. Times are UTC.

The exit code is 0 when nothing failed, 1 when something failed and causes are
named, 3 when no cause could be narrowed, 4 when a file could not be read. A
damaged file is read up to the damage, which is named on standard error.`

const pcapExamples = `  tcpwhy pcap trace.pcapng
  tcpwhy pcap --target db.example:5432 --failed monday.pcap.gz
  tcpwhy pcap --cause no-listener -o csv *.pcap > refused.csv
  tcpwhy pcap --file-set ring.pcap*
  tcpwhy pcap --write failed.pcapng trace.pcapng
  sudo tcpdump -U -w - tcp or icmp or icmp6 | tcpwhy pcap --follow -`

// pcapFlags are those of tcpwhy pcap.
type pcapFlags struct {
	target, cause, between string
	failed, all            bool
	output                 string
	quiet, verbose         bool
	most                   int
	follow                 bool
	parallel               int
	write                  string
	fileSet                bool
	compare, complete      bool
}

var pcapFormats = []string{"text", "json", "csv"}

func (a *app) pcap() *cobra.Command {
	f := &pcapFlags{}
	cmd := &cobra.Command{
		Use:     "pcap FILE...",
		Short:   "Read captures: which connections failed, and why",
		Long:    pcapLong,
		Example: pcapExamples,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return &usageError{"no capture given", "Name a file, for example: tcpwhy pcap trace.pcapng, or - for standard input"}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			args, err := f.check(args)
			if err != nil {
				return err
			}
			if f.compare {
				return a.compareCaptures(cmd.Context(), f, args)
			}
			// The tables are large and without pointers: to collect garbage often
			// costs little, and halves the memory.
			defer debug.SetGCPercent(debug.SetGCPercent(20))
			return a.readCaptures(cmd.Context(), f, args)
		},
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.BoolVar(&f.failed, "failed", false, "list each failed connection on a line")
	fl.BoolVar(&f.all, "all", false, "list every connection")
	fl.StringVar(&f.target, "target", "", "only connections to `HOST:PORT`, HOST or :PORT; HOST may be a name that is looked up in the capture")
	fl.StringVar(&f.cause, "cause", "", "only connections whose likeliest cause is `ID`")
	fl.StringVar(&f.between, "between", "", "only connections that begin between two times: `T1,T2` or T1 T2, each RFC 3339, HH:MM:SS of the capture's first day in UTC, or seconds from its start")
	fl.StringVarP(&f.output, "output", "o", "text", "`FORMAT` of the answer: text, json (one object a line: the summary, then each connection) or csv")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "print the first line of the summary only")
	fl.BoolVarP(&f.verbose, "verbose", "v", false, "print everything")
	fl.IntVar(&f.most, "max-connections", 0, "hold at most `N` connections at a time (default: by the memory that is available)")
	fl.BoolVar(&f.fileSet, "file-set", false, "read files that one program wrote one after the other as one capture, in whatever order they are named")
	fl.BoolVar(&f.follow, "follow", false, "go on at the end of a growing file, print each failed connection when it is settled, and the summary on Ctrl-C")
	fl.IntVar(&f.parallel, "parallel", 0, "use `N` processors (default: all)")
	fl.StringVar(&f.write, "write", "", "write the packets of the failed connections, with comments, to the pcapng `FILE`")
	fl.BoolVar(&f.compare, "compare", false, "compare two captures of the same connections, the first from the client's side, the second from the server's")
	fl.BoolVar(&f.complete, "complete", false, "with --compare: both captures ran all the time, and no filter kept packets of the connections out")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(pcapFormats, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("cause", cobra.FixedCompletions(causeIDs(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func causeIDs() []string {
	var out []string
	for _, c := range cause.All() {
		out = append(out, string(c.ID))
	}
	return out
}

// check says what is wrong with the flags, and takes the second time of
// --between out of the arguments.
func (f *pcapFlags) check(args []string) ([]string, error) {
	bad := func(problem, hint string) ([]string, error) { return nil, &usageError{problem, hint} }
	args, err := f.secondTime(args)
	if err != nil {
		return nil, err
	}
	switch {
	case !slices.Contains(pcapFormats, f.output):
		return bad(fmt.Sprintf("unknown output format %q", f.output), "Formats are: text, json, csv.")
	case f.quiet && f.verbose:
		return bad("-q and -v exclude each other", "Choose one of them.")
	case f.failed && f.all:
		return bad("--failed and --all exclude each other", "Choose one of them.")
	case f.most < 0:
		return bad("--max-connections must not be negative", "For example: --max-connections 100000; 0 goes by the memory that is available.")
	case f.parallel < 0 || f.parallel > 1024:
		return bad("--parallel must be between 0 and 1024", "0 uses all processors.")
	case f.cause != "" && !slices.Contains(causeIDs(), f.cause):
		return bad(fmt.Sprintf("there is no cause %q", f.cause), hint(f.cause))
	case f.fileSet && f.follow:
		return bad("--follow and --file-set exclude each other", "A file that grows is one capture; read the set when it is written.")
	case f.fileSet && slices.Contains(args, "-"):
		return bad("--file-set reads files, and standard input is none", "Name the files, for example: tcpwhy pcap --file-set ring.pcap*")
	case f.follow && len(args) > 1:
		return bad("--follow takes one capture", "Name the file that grows, or - for standard input.")
	case f.follow && f.write != "":
		return bad("--write reads the capture a second time, and --follow never ends reading it", "Leave out one of them.")
	}
	t, err := f.targetFilter()
	if err != nil {
		return nil, err
	}
	if f.follow && t.Host != "" {
		return bad("--target takes no name with --follow: lookups are known at the end only", "Give the address.")
	}
	if _, _, err := f.times(0); err != nil {
		return nil, err
	}
	if err := f.checkCompare(args); err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for _, name := range args {
		switch {
		case name == "-" && seen[name]:
			return bad("standard input can be read once only", "Name each other capture by its file.")
		case name == "-" && f.write != "":
			return bad("--write reads the capture a second time, which standard input cannot be", "Write it to a file first.")
		case seen[name]:
			return bad(fmt.Sprintf("%q is given twice", name), "Name each capture once: its connections would be counted twice.")
		case f.write != "" && sameFile(name, f.write):
			return bad("--write would overwrite the capture that is read", "Name another file.")
		}
		seen[name] = true
	}
	return args, nil
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// readCaptures does the work.
func (a *app) readCaptures(ctx context.Context, f *pcapFlags, args []string) (err error) {
	sources, err := a.sources(ctx, args, f.follow)
	if err != nil {
		return err
	}
	if f.fileSet {
		set, err := capture.FileSet(ctx, args)
		if err != nil {
			return a.unreadable(err)
		}
		sources = []capture.Source{set}
	}
	var keep *os.File
	if f.write != "" {
		if keep, err = create(f.write); err != nil {
			return err
		}
		defer closing(keep, &err)
	}
	out := bufio.NewWriterSize(a.host.Stdout, 1<<16)
	defer func() { err = flush(out, err) }()
	p := &pcapOutput{app: a, flags: f, out: out, options: a.options(f.verbose, f.quiet)}
	o := capture.Options{Parallelism: f.parallel, MaxConnections: f.most, All: f.all}
	if f.follow {
		o.Settled = p.settled
	}
	r, failure := capture.Analyze(ctx, sources, o)
	if o := new(capture.OverlapError); errors.As(failure, &o) {
		return &usageError{"no file set: " + failure.Error(), "Leave out --file-set to read each file by itself, or name two captures of the same connections with --compare."}
	}
	if stopped := ctx.Err() != nil; stopped && failure != nil {
		failure = nil
		if !f.follow {
			a.complain("stopped before the end: this is what was read so far")
		}
	}
	a.warn(ctx, r)
	if failure != nil && r.Total.Packets == 0 {
		return a.unreadable(failure)
	}
	if err := p.result(r); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	if failure != nil {
		if err := a.unreadable(failure); err != nil {
			return err
		}
	}
	if keep != nil {
		n, err := r.Write(ctx, keep, sources, p.filter, "tcpwhy "+version())
		if err != nil {
			return err
		}
		if !f.quiet && a.host.Live {
			fmt.Fprintf(a.host.Stderr, "%d packets of failed connections written to %s\n", n, strconv.QuoteToASCII(f.write))
		}
	}
	return nil
}

// sources says where the captures are.
func (a *app) sources(ctx context.Context, args []string, follow bool) ([]capture.Source, error) {
	var out []capture.Source
	for _, name := range args {
		if name == "-" {
			out = append(out, capture.FromStream(name, &stoppable{ctx: ctx, in: a.host.Stdin}))
			continue
		}
		if info, err := os.Stat(name); err != nil {
			return nil, &usageError{err.Error(), "Name a capture file that is there, or - for standard input."}
		} else if info.IsDir() {
			return nil, &usageError{strconv.QuoteToASCII(name) + " is a directory", "Name the capture files in it."}
		}
		out = append(out, capture.FromFile(name, follow))
	}
	return out, nil
}

// warn tells of damage, and of what is missing of a file set.
func (a *app) warn(ctx context.Context, r *capture.Result) {
	if ctx.Err() != nil {
		return
	}
	for i := range r.Files {
		if f := &r.Files[i]; f.Damage != nil {
			a.complain(report.Escape(f.Name) + ": " + f.Damage.Error() + "; what comes before it was read")
		}
	}
	for i := range r.Gaps {
		if g := &r.Gaps[i]; g.Count > 0 {
			a.complain(report.Escape(report.MissingFiles(r, g)), "Connections that go on behind the gap are undecided, unless nothing is wrong with them.")
		}
	}
}

// unreadable ends with what could not be read.
func (a *app) unreadable(err error) error {
	a.code = exitOurselves
	if errors.Is(err, os.ErrPermission) {
		a.complain(err.Error(), "Read it as a user who may, for example with sudo.")
		return nil
	}
	a.complain(err.Error(), "Give a capture as tcpdump -w, dumpcap or Wireshark write it.")
	return nil
}

// stoppable is a stream that ends when its context does: a read of standard
// input may otherwise wait for ever.
type stoppable struct {
	ctx  context.Context
	in   io.Reader
	got  chan piece
	rest []byte
	err  error
}

type piece struct {
	b   []byte
	err error
}

func (s *stoppable) Read(b []byte) (int, error) {
	if s.got == nil {
		s.got = make(chan piece, 4)
		go s.pump()
	}
	if len(s.rest) == 0 && s.err == nil {
		select {
		case p := <-s.got:
			s.rest, s.err = p.b, p.err
		case <-s.ctx.Done():
			return 0, io.EOF
		}
	}
	n := copy(b, s.rest)
	s.rest = s.rest[n:]
	if len(s.rest) == 0 && s.err != nil {
		return n, s.err
	}
	return n, nil
}

func (s *stoppable) pump() {
	for {
		b := make([]byte, 256<<10)
		n, err := s.in.Read(b)
		select {
		case s.got <- piece{b[:n], err}:
		case <-s.ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}
