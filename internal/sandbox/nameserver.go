package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/net/netutil"
)

// udpSize is how large a DNS message over UDP may be without fragments: what
// the DNS flag day 2020 agreed on.
const udpSize = 1232

// Limits of the name server.
const (
	maxPending = 1000 // queries that wait for an answer at once
	maxConns   = 256  // TCP connections at once
)

// NameServer is an authoritative name server that answers as told.
type NameServer struct {
	// Addr is where to listen, over UDP and TCP, as net.Listen takes it; port 0
	// is one that is free for both.
	Addr string
	Zone Zone
	// NoTCP leaves TCP alone, so that a query over TCP is refused by the kernel.
	NoTCP bool
}

// naming is a name server that runs.
type naming struct {
	NameServer
	log
	ctx     context.Context
	slots   chan struct{}
	queries atomic.Int64
}

// Run serves until ctx ends. It tells what happens by on, which is called from
// several goroutines, and fails if it cannot listen.
func (s NameServer) Run(ctx context.Context, on func(Event)) error {
	v := &naming{NameServer: s, log: on, ctx: ctx, slots: make(chan struct{}, maxPending)}
	pc, ln, err := s.listen(ctx)
	if err != nil {
		return err
	}
	servers := []*dns.Server{{PacketConn: pc, Handler: v, UDPSize: dns.MaxMsgSize}}
	over := "UDP"
	if ln != nil {
		servers = append(servers, &dns.Server{Listener: netutil.LimitListener(ln, maxConns), Handler: v})
		over = "UDP and TCP"
	}
	e := Event{Kind: Listening, Local: pc.LocalAddr().String(), PID: os.Getpid()}
	v.say(e, "name server (PID %d) on %s over %s; Ctrl-C ends it", e.PID, e.Local, over)
	start := time.Now()
	var running sync.WaitGroup
	failed := make(chan error, len(servers))
	for _, d := range servers {
		started := make(chan struct{})
		d.NotifyStartedFunc = func() { close(started) }
		running.Go(func() { failed <- d.ActivateAndServe() })
		// Shutdown knows only servers that have started.
		select {
		case <-started:
		case err = <-failed:
		}
	}
	if err == nil {
		select {
		case <-ctx.Done():
		case err = <-failed:
		}
	}
	for _, d := range servers {
		_ = d.Shutdown() // fails for one that has ended by itself
	}
	running.Wait()
	if err != nil {
		return err
	}
	n := int(v.queries.Load())
	noun := fmt.Sprintf("%d queries", n)
	if n == 1 {
		noun = "1 query"
	}
	v.say(Event{Kind: Summary, Number: n}, "%s in %s", noun, took(time.Since(start)))
	return nil
}

// listen opens the same port for UDP and, unless it is left alone, TCP.
func (s NameServer) listen(ctx context.Context) (pc net.PacketConn, ln net.Listener, err error) {
	var config net.ListenConfig
	_, port, _ := net.SplitHostPort(s.Addr)
	// A port that is free for UDP may be taken for TCP: try a few.
	for range 10 {
		if pc, err = config.ListenPacket(ctx, "udp", s.Addr); err != nil || s.NoTCP {
			return pc, nil, err
		}
		if ln, err = config.Listen(ctx, "tcp", pc.LocalAddr().String()); err == nil {
			return pc, ln, nil
		}
		pc.Close()
		if port != "0" || !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	return nil, nil, err
}

// ServeDNS answers one query; it is for package dns.
func (v *naming) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	select {
	case v.slots <- struct{}{}:
		defer func() { <-v.slots }()
	default:
		return // as a server does that is flooded
	}
	v.queries.Add(1)
	_, udp := w.RemoteAddr().(*net.UDPAddr)
	e := Event{Kind: Query, Peer: w.RemoteAddr().String()}
	what, late := "a query without a question", ""
	if len(q.Question) > 0 {
		name := q.Question[0].Name
		e.Name = printable(name)
		what = e.Name + " " + typeName(q.Question[0].Qtype)
		if d := v.Zone.delay(name); d > 0 {
			if !sleep(v.ctx, d) {
				return
			}
			late = " after " + took(d)
		}
	}
	transport := "TCP"
	if udp {
		transport = "UDP"
	}
	from := what + " from " + e.Peer + " over " + transport
	r := v.Zone.answer(q, udp)
	if r == nil {
		v.say(e, "%s: no answer%s", from, late)
		return
	}
	if udp {
		size := dns.MinMsgSize
		if opt := q.IsEdns0(); opt != nil {
			size = min(max(int(opt.UDPSize()), size), udpSize)
		}
		r.Truncate(size)
	}
	e.Rcode, e.Truncated = rcodeName(r.Rcode), r.Truncated
	if err := w.WriteMsg(r); err != nil {
		e.Kind = Failed
		v.fail(e, err, "%s: the answer could not be sent", from)
		return
	}
	v.say(e, "%s: %s%s", from, brief(r), late)
}

// brief says an answer on one line.
func brief(r *dns.Msg) string {
	words := []string{rcodeName(r.Rcode)}
	if r.Truncated {
		words = append(words, "truncated")
	}
	for i, rr := range r.Answer {
		if i == 3 && len(r.Answer) > 4 {
			words = append(words, fmt.Sprintf("and %d more", len(r.Answer)-i))
			break
		}
		words = append(words, typeName(rr.Header().Rrtype)+" "+data(rr))
	}
	return strings.Join(words, ", ")
}

// typeName is the name of a record type; RFC 3597 names those that have none.
func typeName(t uint16) string {
	if s, ok := dns.TypeToString[t]; ok {
		return s
	}
	return fmt.Sprintf("TYPE%d", t)
}

// rcodeName is the name of a response code.
func rcodeName(rcode int) string {
	if rcode == dns.RcodeBadVers { // shares its number with BADSIG
		return "BADVERS"
	}
	if s, ok := dns.RcodeToString[rcode]; ok {
		return s
	}
	return fmt.Sprintf("RCODE%d", rcode)
}
