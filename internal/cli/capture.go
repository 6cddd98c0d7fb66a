package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tcpwhy/tcpwhy/internal/afpacket"
	"github.com/tcpwhy/tcpwhy/internal/caplive"
	"github.com/tcpwhy/tcpwhy/internal/capture"
	"github.com/tcpwhy/tcpwhy/internal/flow"
	"github.com/tcpwhy/tcpwhy/internal/pcapfilter"
)

const captureLong = `Captures packets to a file, and says of each connection that fails why, as soon
as nothing more is expected of it. It runs until Ctrl-C, --duration or --count,
and ends with the summary. The file is whole up to the last packet at any time;
the files of --size and --every are read again with tcpwhy pcap --file-set.

What is captured is TCP to and from a target with the ICMP errors about it, or
what a filter selects in the language of tcpdump: host, net, port, portrange
with src and dst; ip, ip6, tcp, udp, icmp, icmp6, arp; tcp[tcpflags] & tcp-syn
!= 0; and, or, not and parentheses. Names are resolved once, at the start. With
neither, it is all of TCP, ICMP and DNS.

It needs CAP_NET_RAW and Linux. The exit code is that of tcpwhy pcap.`

const captureExamples = `  sudo tcpwhy capture db.example:5432 -w db.pcapng
  sudo tcpwhy capture 'host 192.0.2.7 and not port 22' -w trace.pcapng
  sudo tcpwhy capture -i eth0 -w ring.pcapng --size 100MB --files 10
  sudo tcpwhy capture :443 --duration 60s
  sudo tcpwhy capture 'tcp[tcpflags] & (tcp-syn|tcp-rst) != 0' -w syn.pcapng`

// captureFlags are those of tcpwhy capture.
type captureFlags struct {
	write       string
	iface       string
	size        string
	files       int
	every       time.Duration
	duration    time.Duration
	count       uint64
	snaplen     int
	promiscuous bool
	dns         bool
	output      string
	quiet       bool
	verbose     bool

	bytes int64 // of size
}

func (a *app) capture() *cobra.Command {
	f := &captureFlags{}
	cmd := &cobra.Command{
		Use:     "capture [TARGET|FILTER]",
		Short:   "Capture packets, and say why connections fail as they do",
		Long:    captureLong,
		Example: captureExamples,
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(); err != nil {
				return err
			}
			return a.captureLive(cmd.Context(), f, args)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.StringVarP(&f.write, "write", "w", "", "keep the packets in the pcapng `FILE`")
	fl.StringVarP(&f.iface, "interface", "i", "", "capture on the interface `NAME` (default: all)")
	fl.StringVar(&f.size, "size", "", "begin another file after `SIZE`, such as 100MB; numbers are added to the name")
	fl.DurationVar(&f.every, "every", 0, "begin another file after this time")
	fl.IntVar(&f.files, "files", 0, "keep the last `N` files only (default: all)")
	fl.DurationVar(&f.duration, "duration", 0, "end after this time")
	fl.Uint64Var(&f.count, "count", 0, "end after `N` packets")
	fl.IntVarP(&f.snaplen, "snaplen", "s", afpacket.MaxPacket, "keep at most `N` bytes of a packet, from the IP header on")
	fl.BoolVarP(&f.promiscuous, "promiscuous", "p", false, "also capture what is addressed to other hosts on the link; needs -i")
	fl.BoolVar(&f.dns, "dns", false, "with a target: capture DNS, too")
	fl.StringVarP(&f.output, "output", "o", "text", "`FORMAT` of the answer: text or json (one object a line: each failed connection, then the summary)")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "print the first line of the summary only")
	fl.BoolVarP(&f.verbose, "verbose", "v", false, "print everything")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// leastSnaplen holds the headers of IP and TCP with all options.
const leastSnaplen = 128

// check says what is wrong with the flags.
func (f *captureFlags) check() (err error) {
	bad := func(problem, hint string) error { return &usageError{problem, hint} }
	switch {
	case f.output != "text" && f.output != "json":
		return bad(fmt.Sprintf("unknown output format %q", f.output), "Formats are: text, json.")
	case f.quiet && f.verbose:
		return bad("-q and -v exclude each other", "Choose one of them.")
	case f.write == "" && (f.size != "" || f.every != 0 || f.files != 0):
		return bad("--size, --every and --files are about files, and no file is named", "Add -w FILE.")
	case f.files != 0 && f.size == "" && f.every == 0:
		return bad("--files needs to know when to begin another file", "Add --size 100MB or --every 1h.")
	case f.files < 0 || f.files > 9999:
		return bad("--files must be between 1 and 9999", "For example: --files 10")
	case f.every < 0 || f.every > 0 && f.every < time.Second:
		return bad("--every must be at least 1s", "For example: --every 1h")
	case f.duration < 0:
		return bad("--duration must not be negative", "For example: --duration 60s")
	case f.snaplen < leastSnaplen || f.snaplen > afpacket.MaxPacket:
		return bad(fmt.Sprintf("--snaplen must be between %d and %d", leastSnaplen, afpacket.MaxPacket), "For example: --snaplen 256")
	case f.promiscuous && f.iface == "":
		return bad("--promiscuous needs an interface", "Name it: -i eth0")
	}
	if f.size != "" {
		if f.bytes, err = byteSize(f.size); err != nil {
			return bad("--size "+strconv.QuoteToASCII(f.size)+" is no size of at least 64kB", "For example: --size 100MB, or 2GiB")
		}
	}
	return nil
}

// byteSize reads a number with a unit.
func byteSize(s string) (int64, error) {
	i := strings.IndexFunc(s, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	if i < 0 {
		i = len(s)
	}
	n, err := strconv.ParseFloat(s[:i], 64)
	if err != nil {
		return 0, err
	}
	unit, ok := map[string]float64{
		"": 1, "b": 1, "k": 1e3, "kb": 1e3, "kib": 1 << 10, "m": 1e6, "mb": 1e6, "mib": 1 << 20, "g": 1e9, "gb": 1e9, "gib": 1 << 30, "tb": 1e12,
	}[strings.ToLower(strings.TrimSpace(s[i:]))]
	if !ok || n*unit < 64e3 || n*unit > math.MaxInt64/2 {
		return 0, errors.New("no size")
	}
	return int64(n * unit), nil
}

// captureLive does the work.
func (a *app) captureLive(ctx context.Context, f *captureFlags, args []string) (err error) {
	filter, err := f.filter(ctx, args)
	if err != nil {
		return err
	}
	program, err := filter.Program(f.snaplen)
	if err != nil {
		return &usageError{err.Error(), "Select less, or capture more than that and let tcpwhy pcap select."}
	}
	o := caplive.Options{Filter: program, Tick: time.Second, Count: f.count}
	o.Ring.Promiscuous = f.promiscuous
	if f.iface != "" {
		i, err := net.InterfaceByName(f.iface)
		if err != nil {
			return &usageError{"there is no interface " + strconv.QuoteToASCII(f.iface) + " here", "The interfaces are listed by: ip -br link"}
		}
		o.Ring.Interface = i.Index
	}
	if f.write != "" {
		o.Files = &caplive.Files{Path: f.write, Application: "tcpwhy " + version(), Size: f.bytes, Every: f.every, Keep: f.files}
	}
	o.Dropped = func(n int) {
		a.complain(fmt.Sprintf("the kernel dropped %d packets: they came faster than they were taken", n), "Narrow the filter, or lower --snaplen.")
	}
	pipe, in := io.Pipe()
	copied := bufio.NewWriterSize(in, 1<<18)
	o.Copy = copied
	c, err := caplive.Start(o)
	if err != nil {
		return cannotCapture(err)
	}
	if f.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.duration)
		defer cancel()
	}
	out := bufio.NewWriterSize(a.host.Stdout, 1<<16)
	defer func() { err = flush(out, err) }()
	p := &pcapOutput{app: a, flags: &pcapFlags{follow: true, output: f.output, quiet: f.quiet}, out: out, options: a.options(f.verbose, f.quiet)}
	judged := make(chan *capture.Result, 1)
	go func() {
		// What is captured is judged to its end, however the capture ends.
		r, err := capture.Analyze(context.WithoutCancel(ctx), []capture.Source{capture.FromStream("the capture", pipe)}, capture.Options{Settled: p.settled})
		pipe.CloseWithError(err) // if it was not read to its end
		judged <- r
	}()
	if a.host.Live && !f.quiet {
		fmt.Fprintln(a.host.Stderr, "capturing; Ctrl-C ends it with the summary")
	}
	sum, err := c.Run(ctx)
	err = errors.Join(err, copied.Flush())
	in.Close()
	r := <-judged
	if err != nil {
		return captureFailed(err)
	}
	r.Total.Packets -= min(r.Total.Packets, sum.Ticks)
	r.Total.NotTCP -= min(r.Total.NotTCP, sum.Ticks)
	r.KernelDrops = &sum.Dropped
	if err := p.result(r); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	if !f.quiet {
		a.captured(f, sum, o.Files)
	}
	return nil
}

// captured says on stderr what was kept and lost.
func (a *app) captured(f *captureFlags, s *caplive.Summary, files *caplive.Files) {
	text := fmt.Sprintf("%d packets captured, %d dropped by the kernel", s.Packets, s.Dropped)
	if names := files.Names(); len(names) == 1 {
		text += "; written to " + strconv.QuoteToASCII(names[0])
	} else if len(names) > 1 {
		text += fmt.Sprintf("; the last %d files are %s to %s", len(names), strconv.QuoteToASCII(names[0]), strconv.QuoteToASCII(names[len(names)-1]))
	}
	fmt.Fprintln(a.host.Stderr, text)
}

// cannotCapture says why a capture does not begin.
func cannotCapture(err error) error {
	var denied *afpacket.PermissionError
	switch {
	case errors.As(err, &denied):
		return &usageError{"capturing needs CAP_NET_RAW", "Run it with sudo, or: sudo setcap cap_net_raw+ep on the program."}
	case errors.Is(err, errors.ErrUnsupported):
		return &usageError{err.Error(), "Capture with tcpdump or dumpcap, and read the file with: tcpwhy pcap FILE"}
	}
	return err
}

// captureFailed says why a capture ended.
func captureFailed(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return &usageError{err.Error(), "Name a file in a folder that can be written to, with room on the disk."}
	}
	return err
}

// filter is what the arguments select.
func (f *captureFlags) filter(ctx context.Context, args []string) (*pcapfilter.Filter, error) {
	resolve := func(name string) ([]netip.Addr, error) { return lookUp(ctx, name) }
	text := strings.Join(args, " ")
	if text == "" {
		text = "tcp or icmp or icmp6 or port 53"
	}
	if port, ok := strings.CutPrefix(text, ":"); ok {
		text = "tcp port " + port + " or icmp or icmp6"
	}
	filter, wrong := pcapfilter.Parse(text, resolve)
	if wrong == nil {
		return filter, nil
	}
	targets, err := flow.ParseTargets(args)
	if err != nil || len(targets) != 1 || targets[0].Port == 0 {
		var e *pcapfilter.Error
		if errors.As(wrong, &e) {
			return nil, &usageError{"the filter: " + e.Error(), e.Mark() + "\nName a target such as db.example:5432, or a filter such as 'host 192.0.2.7 and tcp port 443'."}
		}
		return nil, wrong
	}
	t := targets[0]
	addrs := []netip.Addr{t.Addr}
	if !t.Addr.IsValid() {
		if addrs, err = lookUp(ctx, t.Host); err != nil {
			return nil, &usageError{fmt.Sprintf("%s has no address to capture: %v", strconv.QuoteToASCII(t.Host), err), "Give the address, or ask why with: tcpwhy " + strconv.QuoteToASCII(t.Input)}
		}
	}
	filter = pcapfilter.Target(addrs, t.Port)
	if f.dns {
		names, _ := pcapfilter.Parse("port 53", nil)
		filter = filter.Or(names)
	}
	return filter, nil
}

// lookUp resolves a name, of both families.
func lookUp(ctx context.Context, name string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
}
