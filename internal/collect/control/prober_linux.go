package control

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/afpacket"
	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/rawsock"
	"github.com/tcpwhy/tcpwhy/internal/wire"
)

// Prober sends raw probes to one address and port. Its methods may be called
// from several goroutines at once; each probe has its own source port, by
// which its answer is known.
type Prober struct {
	env    collect.Env
	remote netip.AddrPort
	local  netip.Addr
	send   *rawsock.Conn
	recv   *afpacket.Conn
	done   chan struct{} // closed when the reader has ended

	mu      sync.Mutex
	waiting map[uint16]chan<- evidence.Control // by source port
}

// NewProber prepares for raw probes to addr. Without CAP_NET_RAW the error is a
// *rawsock.PermissionError; if this host cannot say which address it would
// send from, it wraps the errno of the route.
func NewProber(env collect.Env, addr netip.AddrPort) (*Prober, error) {
	p := &Prober{
		env:     env,
		remote:  netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()),
		local:   env.Source.Unmap(),
		done:    make(chan struct{}),
		waiting: make(map[uint16]chan<- evidence.Control),
	}
	var err error
	if p.send, err = rawsock.Open(p.remote.Addr().Is6(), env.Interface); err != nil {
		return nil, err
	}
	if err := p.open(); err != nil {
		p.send.Close()
		return nil, fmt.Errorf("raw probes to %v: %w", addr, err)
	}
	go p.read()
	return p, nil
}

func (p *Prober) open() (err error) {
	if !p.local.IsValid() {
		if p.local, err = rawsock.Source(p.remote, p.env.Interface); err != nil {
			return err
		}
	}
	filter, err := afpacket.Filter{Target: p.remote.Addr()}.Program()
	if err != nil {
		return err
	}
	p.recv, err = afpacket.Open(filter, 0)
	return err
}

// Close ends the reading. Probes that still wait see silence.
func (p *Prober) Close() error {
	err := errors.Join(p.recv.Close(), p.send.Close())
	<-p.done
	return err
}

// ACK sends a bare ACK. What has no connection for it answers RST, also a
// listener whose accept queue is full; a filter that tracks connections drops
// it.
func (p *Prober) ACK(ctx context.Context, o Options) (evidence.Control, error) {
	return p.probe(ctx, evidence.ControlACK, wire.Segment{Flags: wire.ACK, Ack: rand.Uint32()}, o)
}

// FIN sends a FIN without ACK: a closed port answers RST, a listener nothing
// (RFC 9293 section 3.10.7.2).
func (p *Prober) FIN(ctx context.Context, o Options) (evidence.Control, error) {
	return p.probe(ctx, evidence.ControlFIN, wire.Segment{Flags: wire.FIN}, o)
}

// SYN sends a SYN such as Linux would. A SYN-ACK is not taken up: the kernel
// knows no connection for it and resets. The Kind returned is named after what
// the options ask for: TTL 255, ECN, a source port, or else plain.
func (p *Prober) SYN(ctx context.Context, o Options) (evidence.Control, error) {
	s := wire.Segment{Flags: wire.SYN}
	kind := evidence.ControlPlain
	switch {
	case o.TTL == 255:
		kind = evidence.ControlTTL255
	case o.ECN:
		kind = evidence.ControlECN
	case o.SourcePort != 0:
		kind = evidence.ControlSourcePort
	}
	if o.ECN {
		s.Flags |= wire.ECE | wire.CWR
	}
	mss := uint16(1460)
	if p.remote.Addr().Is6() {
		mss = 1440
	}
	s.Options = wire.AppendSYNOptions(nil, mss, rand.Uint32())
	return p.probe(ctx, kind, s, o)
}

// probe sends one segment and waits for its answer.
func (p *Prober) probe(ctx context.Context, kind string, s wire.Segment, o Options) (evidence.Control, error) {
	c := evidence.Control{Kind: kind, Port: p.remote.Port(), SourcePort: o.SourcePort}
	port, err := rawsock.Reserve(p.local, o.SourcePort, p.env.Interface)
	if err != nil {
		return c, fmt.Errorf("%s probe to %v: %w", kind, p.remote, err)
	}
	defer port.Close()
	answer := make(chan evidence.Control, 1)
	p.expect(port.Number, answer)
	defer p.expect(port.Number, nil)

	s.Src, s.Dst = netip.AddrPortFrom(p.local, port.Number), p.remote
	s.Seq, s.Window, s.TTL, s.ID = rand.Uint32(), 64240, o.TTL, uint16(1+rand.IntN(65535))
	if s.TTL == 0 {
		s.TTL = 64
	}
	c.At = p.env.Clock.Now()
	if err := p.send.Send(s.Append(nil), p.remote.Addr()); err != nil {
		var errno unix.Errno
		if !errors.As(err, &errno) {
			return c, fmt.Errorf("%s probe to %v: %w", kind, p.remote, err)
		}
		c.Answer, c.Errno = "not-sent", unix.ErrnoName(errno)
		return c, nil
	}
	c.Sent = 1
	wait := o.Wait
	if wait == 0 {
		wait = time.Second
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case a := <-answer:
		c.Answer, c.TTL, c.From, c.Type, c.Code = a.Answer, a.TTL, a.From, a.Type, a.Code
	case <-timer.C:
		c.Answer = "silent"
	case <-p.done:
		return c, fmt.Errorf("%s probe to %v: reading of answers has ended", kind, p.remote)
	case <-ctx.Done():
		return c, fmt.Errorf("%s probe to %v: %w", kind, p.remote, ctx.Err())
	}
	c.Took = p.env.Clock.Now() - c.At
	return c, nil
}

// expect says where the answer to a source port goes; nil for nowhere.
func (p *Prober) expect(port uint16, answer chan<- evidence.Control) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if answer == nil {
		delete(p.waiting, port)
	} else {
		p.waiting[port] = answer
	}
}

// read hands answers out until the capture is closed or breaks.
func (p *Prober) read() {
	defer close(p.done)
	var err error
	for err == nil {
		if err = p.recv.Wait(); err == nil {
			err = p.recv.Drain(p.take)
		}
	}
}

// take hands out a packet if it is an answer.
func (p *Prober) take(packet *afpacket.Packet) {
	if port, c, ok := p.answer(packet); ok {
		p.deliver(port, c)
	}
}

// deliver gives a probe its first answer; later ones it has no room for.
func (p *Prober) deliver(port uint16, c evidence.Control) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case p.waiting[port] <- c:
	default:
	}
}

// answer tells which of our source ports a packet answers, and how.
func (p *Prober) answer(packet *afpacket.Packet) (port uint16, c evidence.Control, ok bool) {
	var ip wire.IP
	if packet.Direction == afpacket.Outgoing || ip.Decode(packet.Data) != nil {
		return 0, c, false
	}
	c = evidence.Control{From: ip.Src, TTL: int(ip.TTL)}
	local, remote := p.local.WithZone(""), p.remote.Addr().WithZone("")
	if ip.Proto == wire.ProtoTCP {
		var t wire.TCP
		if t.Decode(ip.Payload) != nil || ip.Src != remote || t.SrcPort != p.remote.Port() || ip.Dst != local {
			return 0, c, false
		}
		switch {
		case t.Flags&wire.RST != 0:
			c.Answer = "rst"
		case t.Flags&(wire.SYN|wire.ACK) == wire.SYN|wire.ACK:
			c.Answer = "syn-ack"
		default:
			return 0, c, false
		}
		return t.DstPort, c, true
	}
	var m wire.ICMP
	var q wire.Quoted
	if m.Decode(&ip) != nil || !m.IsError() || q.Decode(m.Body) != nil {
		return 0, c, false
	}
	if q.IP.Src != local || q.IP.Dst != remote || q.DstPort != p.remote.Port() {
		return 0, c, false
	}
	c.Answer, c.Type, c.Code = "icmp", int(m.Type), int(m.Code)
	return q.SrcPort, c, true
}
