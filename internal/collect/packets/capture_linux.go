package packets

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/afpacket"
	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/pcapfile"
)

// Capture is a running capture. Its methods may be called from several
// goroutines at once.
type Capture struct {
	clock collect.Clock
	conn  *afpacket.Conn
	done  chan struct{} // closed when reading has ended

	mu      sync.Mutex // guards what follows, and reading from conn
	zone    string     // of the target, "" without one
	decoder decoder
	file    *pcapfile.Writer // nil without one
	packets []evidence.Packet
	names   map[int]string // of interfaces, by index
	stats   evidence.Capture
	err     error // the first one
}

// Start starts a capture and returns when it is live: it has every packet from
// then on. It ends with Stop or with ctx. gateway may be the zero Addr. A
// process without CAP_NET_RAW gets a *afpacket.PermissionError.
//
// All interfaces are watched whatever env.Interface says: an ICMP error that
// this host sends itself comes in on the loopback.
func Start(ctx context.Context, env collect.Env, target, gateway netip.Addr, opts Options) (*Capture, error) {
	filter, err := afpacket.Filter{Target: target, Gateway: gateway}.Program()
	if err != nil {
		return nil, fmt.Errorf("capture packets: %w", err)
	}
	conn, err := afpacket.Open(filter, 0)
	if err != nil {
		return nil, err
	}
	c := &Capture{
		clock:   env.Clock,
		conn:    conn,
		done:    make(chan struct{}),
		zone:    target.Zone(),
		decoder: decoder{target: target.Unmap().WithZone("")},
		names:   make(map[int]string),
	}
	if opts.Write != nil {
		c.file = pcapfile.NewWriter(opts.Write, opts.Application)
	}
	release := context.AfterFunc(ctx, c.expire)
	go func() {
		defer close(c.done)
		defer release()
		c.run()
	}()
	return c, nil
}

// expire lets Wait fail from now on.
func (c *Capture) expire() { _ = c.conn.SetDeadline(time.Unix(1, 0)) }

// run reads until the deadline passes or the capture breaks.
func (c *Capture) run() {
	var err error
	for err == nil {
		if err = c.conn.Wait(); err == nil {
			c.mu.Lock()
			err = c.drain()
			c.mu.Unlock()
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = c.drain()
	}
	if c.file != nil && c.stats.Received == 0 {
		// So that the file is one, and says so.
		c.fail(c.file.Conclude("no packet to or from " + c.decoder.target.String() + " was seen"))
	}
	s, serr := c.conn.Stats()
	c.stats.Dropped = s.Dropped
	c.fail(errors.Join(err, serr, c.conn.Close()))
}

// drain takes what has arrived until now.
func (c *Capture) drain() error {
	known := len(c.packets)
	err := c.conn.Drain(c.take)
	// The packets come in order. Where a time says otherwise, the one before
	// was stamped late, see afpacket.Packet.
	for i := len(c.packets) - 1; i > known; i-- {
		c.packets[i-1].At = min(c.packets[i-1].At, c.packets[i].At)
	}
	for i := max(known, 1); i < len(c.packets); i++ {
		c.packets[i].At = max(c.packets[i].At, c.packets[i-1].At)
	}
	return err
}

func (c *Capture) take(p *afpacket.Packet) {
	if p.Direction == afpacket.ToOther {
		return // somebody else's, seen because the interface is promiscuous
	}
	now := time.Now()
	c.stats.Received++
	name := c.name(p.Interface)
	if c.file != nil {
		err := c.file.Write(pcapfile.Packet{
			Time: p.Time, Interface: p.Interface, Name: name, EtherType: p.EtherType,
			HardwareType: p.HardwareType, PacketType: uint8(p.Direction),
			HardwareAddr: p.HardwareAddr[:p.HardwareAddrLen], Data: p.Data, OriginalLength: p.Len,
		})
		if err != nil {
			c.fail(err)
			c.file = nil
		}
	}
	var e evidence.Packet
	switch err := c.decoder.decode(p, &e); {
	case err == errOther:
		return
	case err != nil:
		c.stats.Malformed++
		return
	}
	if len(c.packets) == MaxKept {
		return
	}
	// The age is a difference of two readings of the wall clock made moments
	// apart, so a step of that clock since the run began does no harm.
	age := max(now.Round(0).Sub(p.Time), 0)
	e.At = c.clock.Since(now) - age
	e.Interface = name
	e.Outgoing = p.Direction == afpacket.Outgoing
	c.scope(&e)
	c.packets = append(c.packets, e)
}

// scope gives link-local addresses the zone of the target, so that they compare
// with what sockets say. Packets have none, and the filter lets no others pass.
func (c *Capture) scope(e *evidence.Packet) {
	if c.zone == "" {
		return
	}
	for _, a := range []*netip.AddrPort{&e.Src, &e.Dst, &e.Inner.Local, &e.Inner.Remote} {
		if a.Addr().IsLinkLocalUnicast() {
			*a = netip.AddrPortFrom(a.Addr().WithZone(c.zone), a.Port())
		}
	}
	if e.About.IsLinkLocalUnicast() {
		e.About = e.About.WithZone(c.zone)
	}
}

// name gives an interface's name, and remembers that it was seen.
func (c *Capture) name(index int) string {
	name, ok := c.names[index]
	if !ok {
		if name = c.conn.InterfaceName(index); name == "" {
			name = fmt.Sprintf("index %d", index) // gone already
		}
		c.names[index] = name
		c.stats.Interfaces = append(c.stats.Interfaces, name)
		slices.Sort(c.stats.Interfaces)
	}
	return name
}

func (c *Capture) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

// Snapshot returns the packets so far, among them every one that had been sent
// or received when it was called. The slice must not be changed.
func (c *Capture) Snapshot() []evidence.Packet {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.done:
	default:
		// A capture that has just been closed is no failure here: it was
		// drained before.
		if err := c.drain(); !errors.Is(err, os.ErrClosed) {
			c.fail(err)
		}
	}
	return slices.Clip(c.packets)
}

// Stop ends the capture and returns all of it. It may be called again, with
// the same result.
func (c *Capture) Stop() ([]evidence.Packet, evidence.Capture) {
	c.expire()
	<-c.done
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clip(c.packets), c.stats
}

// Err is the first thing that went wrong while reading or writing, or nil.
func (c *Capture) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Conclude stops the capture and adds a comment, such as the verdict, to the
// file, if there is one.
func (c *Capture) Conclude(comment string) error {
	c.Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.file == nil {
		return c.err
	}
	return c.file.Conclude(comment)
}
