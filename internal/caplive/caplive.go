// Package caplive captures packets live: through a ring that the kernel shares,
// to a file or a ring of files that are whole up to the last packet whatever
// happens, and to somebody who looks at them meanwhile.
//
// It imports afpacket and pcapfile.
package caplive

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/net/bpf"

	"github.com/tcpwhy/tcpwhy/internal/afpacket"
	"github.com/tcpwhy/tcpwhy/internal/pcapfile"
)

// Options of Start.
type Options struct {
	// Filter selects packets, and cuts them to what is to be kept.
	Filter []bpf.RawInstruction
	Ring   afpacket.RingOptions
	// Files are where packets are kept; nil for nowhere.
	Files *Files
	// Copy gets the packets too, as pcapng, and Tick a packet without content at
	// least so often, so that a reader of the copy sees time pass; 0 sends none.
	Copy io.Writer
	Tick time.Duration
	// Count, if not 0, ends the capture after so many packets.
	Count uint64
	// Dropped is told when the kernel had no room for packets: how many since the
	// last time.
	Dropped func(n int)
}

// Summary is what a capture has done.
type Summary struct {
	// Packets and Bytes kept, Dropped by the kernel for want of room. Ticks are
	// the packets without content in the copy.
	Packets, Bytes, Dropped, Ticks uint64
}

// Capture is a capture that runs.
type Capture struct {
	o     Options
	ring  *afpacket.Ring
	sum   Summary
	copy  *pcapfile.Writer
	names map[int]string
	asked time.Time // when the kernel's counters were read
}

// Start begins to capture, in the network namespace that the calling thread is
// in. Without CAP_NET_RAW the error is an *afpacket.PermissionError; where the
// system cannot do it, it wraps errors.ErrUnsupported.
func Start(o Options) (*Capture, error) {
	r, err := afpacket.OpenRing(o.Filter, o.Ring)
	if err != nil {
		return nil, err
	}
	c := &Capture{o: o, ring: r, names: map[int]string{}}
	if o.Copy != nil {
		c.copy = pcapfile.NewWriter(o.Copy, "")
	}
	return c, nil
}

// look is how often the kernel's counters are read.
const look = time.Second

// Run captures until ctx ends, which is no error, or Options.Count is reached.
// It must be called once; the capture is over when it returns.
func (c *Capture) Run(ctx context.Context) (_ *Summary, err error) {
	stop := context.AfterFunc(ctx, func() { c.ring.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		stop()
		err = errors.Join(err, c.count(), c.ring.Close(), c.o.Files.close())
	}()
	if err := c.o.Files.begin(); err != nil {
		return &c.sum, err
	}
	c.asked = time.Now()
	for {
		if err := c.drain(ctx); err != nil || c.full() {
			return &c.sum, err
		}
		if ctx.Err() != nil {
			// What is in a block that is not full comes when that is retired.
			return &c.sum, c.last()
		}
		c.ring.SetDeadline(time.Now().Add(c.wait()))
		if ctx.Err() != nil {
			continue
		}
		switch err := c.ring.Wait(); {
		case errors.Is(err, os.ErrDeadlineExceeded):
			if err := c.idle(ctx); err != nil {
				return &c.sum, err
			}
		case err != nil:
			return &c.sum, err
		}
	}
}

func (c *Capture) wait() time.Duration {
	if c.o.Tick > 0 {
		return min(c.o.Tick, look)
	}
	return look
}

// last takes what the kernel has not handed over yet.
func (c *Capture) last() error {
	c.ring.SetDeadline(time.Now().Add(lastWait))
	for !c.full() {
		switch err := c.ring.Wait(); {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case err != nil:
			return err
		}
		if err := c.drain(context.Background()); err != nil {
			return err
		}
	}
	return nil
}

// lastWait is several times what a block may wait for more packets.
const lastWait = 100 * time.Millisecond

func (c *Capture) full() bool { return c.o.Count > 0 && c.sum.Packets >= c.o.Count }

// drain keeps the packets that there are.
func (c *Capture) drain(ctx context.Context) error {
	var p afpacket.Packet
	for !c.full() && c.ring.Next(&p) {
		if p.Direction == afpacket.Outgoing && p.HardwareType == loopback {
			continue // it comes once more, incoming
		}
		if err := c.keep(&p); err != nil {
			return err
		}
		if c.sum.Packets%1024 != 0 {
			continue
		}
		if ctx.Err() != nil {
			break
		}
		if time.Since(c.asked) > look {
			if err := c.count(); err != nil {
				return err
			}
		}
	}
	return c.flush()
}

// loopback is ARPHRD_LOOPBACK.
const loopback = 772

func (c *Capture) keep(p *afpacket.Packet) error {
	c.sum.Packets++
	c.sum.Bytes += uint64(len(p.Data))
	k := pcapfile.Packet{
		Time: p.Time, Interface: p.Interface, Name: c.name(p.Interface), EtherType: p.EtherType, HardwareType: p.HardwareType,
		PacketType: uint8(p.Direction), HardwareAddr: p.HardwareAddr[:p.HardwareAddrLen], Data: p.Data, OriginalLength: p.Len,
	}
	if err := c.o.Files.write(k); err != nil {
		return err
	}
	if c.copy == nil {
		return nil
	}
	return c.copy.Write(k)
}

// name is an interface's, asked for once: the kernel uses an index again for
// another interface only when it has gone around.
func (c *Capture) name(index int) string {
	n, ok := c.names[index]
	if !ok {
		n = c.ring.InterfaceName(index)
		c.names[index] = n
	}
	return n
}

// flush hands the copy on, if it is buffered.
func (c *Capture) flush() error {
	if f, ok := c.o.Copy.(interface{ Flush() error }); ok {
		return f.Flush()
	}
	return nil
}

// idle is for when nothing came for a while.
func (c *Capture) idle(ctx context.Context) error {
	if ctx.Err() != nil {
		return nil
	}
	if err := c.o.Files.turn(time.Now()); err != nil {
		return err
	}
	if c.copy != nil && c.o.Tick > 0 {
		c.sum.Ticks++
		if err := c.copy.Write(pcapfile.Packet{Time: time.Now()}); err != nil {
			return err
		}
		if err := c.flush(); err != nil {
			return err
		}
	}
	return c.count()
}

// count reads the kernel's counters.
func (c *Capture) count() error {
	c.asked = time.Now()
	s, err := c.ring.Stats()
	if err != nil {
		return err
	}
	c.sum.Dropped += uint64(s.Dropped)
	if s.Dropped > 0 && c.o.Dropped != nil {
		c.o.Dropped(s.Dropped)
	}
	return nil
}
