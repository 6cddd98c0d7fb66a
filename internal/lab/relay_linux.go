package lab

import (
	"encoding/binary"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// cableEnds are the interfaces of a machine that is a cable.
var cableEnds = [2]string{"a", "b"}

// relay makes a machine the cable between its two interfaces: it carries whole
// Ethernet frames, of whatever protocol, until the lab ends.
func (l *Lab) relay(m *machine, c Cable) error {
	var ends [2]*os.File
	for i, iface := range cableEnds {
		if err := m.configure(plug(m.name, iface)); err != nil {
			return err
		}
		err := m.ns.Do(func() (err error) {
			ends[i], err = openFrames(iface)
			return err
		})
		if err != nil {
			return err
		}
		l.closers = append(l.closers, ends[i])
	}
	l.serving.Go(func() { l.carry(ends[0], ends[1], c) })
	l.serving.Go(func() { l.carry(ends[1], ends[0], c) })
	return nil
}

// openFrames opens an interface for whole frames; packet(7). Each is preceded by
// what the kernel has yet to do for it, struct virtio_net_hdr: checksums that
// are not filled in, and segments that are not cut.
func openFrames(iface string) (*os.File, error) {
	const all = unix.ETH_P_ALL
	protocol := binary.NativeEndian.Uint16([]byte{all >> 8, all & 0xff}) // in network order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("packet socket: %w", err)
	}
	f := os.NewFile(uintptr(fd), iface)
	var index *unix.Ifreq
	for _, step := range []func() error{
		func() error { return unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1) },
		func() error { return unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1) },
		func() (err error) { index, err = unix.NewIfreq(iface); return err },
		func() error { return unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, index) },
		func() error {
			return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: int(index.Uint32())})
		},
	} {
		if err := step(); err != nil {
			f.Close()
			return nil, fmt.Errorf("packet socket of %s: %w", iface, err)
		}
	}
	return f, nil
}

// frame is one that waits until it is due, its header for the kernel included.
type frame struct {
	bytes []byte
	due   time.Time
}

// Sizes of a frame with its header for the kernel.
const (
	frameHeader = 10 // struct virtio_net_hdr
	frameMax    = frameHeader + 14 + 1<<16
)

// carry takes frames from one end to the other.
func (l *Lab) carry(from, to *os.File, c Cable) {
	// One queue for each delay, so that timers can keep frames in order. A queue
	// that is full holds up the sender, as a link does.
	queue := func() chan frame {
		q := make(chan frame, 4096)
		l.serving.Go(func() {
			for f := range q {
				wait := time.NewTimer(time.Until(f.due))
				select {
				case <-wait.C:
				case <-l.ctx.Done():
					wait.Stop()
					continue
				}
				to.Write(f.bytes) // what does not get through is lost, as on a link
			}
		})
		return q
	}
	onTime, late := queue(), queue()
	defer close(onTime)
	defer close(late)
	buf := make([]byte, frameMax)
	for n := 1; ; {
		size, err := from.Read(buf)
		if err != nil {
			return // closed with the lab
		}
		f := frame{append([]byte(nil), buf[:size]...), time.Now().Add(c.Delay)}
		switch {
		case resolves(f.bytes):
			to.Write(f.bytes)
		case c.LateEvery > 0 && n%c.LateEvery == 0:
			f.due = f.due.Add(c.LateBy)
			late <- f
			n++
		default:
			onTime <- f
			n++
		}
	}
}

// resolves tells address resolution: ARP, or neighbour discovery by RFC 4861.
func resolves(frame []byte) bool {
	if len(frame) < frameHeader+14 {
		return false
	}
	packet := frame[frameHeader+14:]
	switch binary.BigEndian.Uint16(frame[frameHeader+12:]) {
	case unix.ETH_P_ARP:
		return true
	case unix.ETH_P_IPV6:
		return len(packet) > 40 && packet[6] == unix.IPPROTO_ICMPV6 && packet[40] >= routerSolicitation && packet[40] <= redirect
	}
	return false
}
