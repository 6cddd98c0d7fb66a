package afpacket

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

type conn struct {
	file *os.File
	raw  syscall.RawConn
	buf  []byte
	oob  []byte

	closed atomic.Bool
	using  sync.RWMutex // held while the descriptor is in use, see Close
}

// room is the size asked for the socket's buffer. The kernel charges a packet
// of a handshake with about 1 KiB, and net.core.rmem_max may cut it.
const room = 4 << 20

// Open starts a capture on the interface with the index given, or on all if it
// is 0, of the network namespace that the calling thread is in. Packets that
// filter does not accept are never seen, not even while the capture starts. A
// process without CAP_NET_RAW gets a *PermissionError.
func Open(filter []bpf.RawInstruction, ifindex int) (*Conn, error) {
	// With protocol 0 the socket gets nothing until bind.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	switch {
	case err == unix.EPERM || err == unix.EACCES:
		return nil, &PermissionError{os.NewSyscallError("socket", err)}
	case err != nil:
		return nil, fmt.Errorf("capture packets: %w", os.NewSyscallError("socket", err))
	}
	if err := setup(fd, filter, ifindex); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("capture packets: %w", err)
	}
	c := &Conn{conn: conn{
		file: os.NewFile(uintptr(fd), "packet socket"),
		buf:  make([]byte, MaxPacket),
		oob:  make([]byte, unix.CmsgSpace(int(unsafe.Sizeof(unix.Timespec{})))+unix.CmsgSpace(int(unsafe.Sizeof(unix.TpacketAuxdata{})))),
	}}
	if c.raw, err = c.file.SyscallConn(); err != nil {
		c.file.Close()
		return nil, fmt.Errorf("capture packets: %w", err)
	}
	return c, nil
}

func setup(fd int, filter []bpf.RawInstruction, ifindex int) error {
	if err := attach(fd, filter); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return os.NewSyscallError("setsockopt SO_TIMESTAMPNS", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1); err != nil {
		return os.NewSyscallError("setsockopt PACKET_AUXDATA", err)
	}
	// Beyond rmem_max where CAP_NET_ADMIN allows; else what we get is fine.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, room) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, room)
	}
	return bind(fd, ifindex)
}

// attach puts a filter before a socket.
func attach(fd int, filter []bpf.RawInstruction) error {
	if len(filter) == 0 {
		return errors.New("no filter")
	}
	code := make([]unix.SockFilter, len(filter))
	for i, f := range filter {
		code[i] = unix.SockFilter{Code: f.Op, Jt: f.Jt, Jf: f.Jf, K: f.K}
	}
	prog := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	return os.NewSyscallError("setsockopt SO_ATTACH_FILTER", unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog))
}

// bind lets packets of all protocols in, of one interface or all.
func bind(fd, ifindex int) error {
	all := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL))
	return os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: ifindex}))
}

// Wait blocks until Next has something to return. It fails with
// os.ErrDeadlineExceeded at the deadline, and with os.ErrClosed after Close;
// packets that came before the deadline can still be had from Next.
func (c *Conn) Wait() error {
	return c.use(func() error {
		return c.raw.Read(func(fd uintptr) bool {
			p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			n, err := unix.Poll(p, 0)
			return n > 0 || err != nil && err != unix.EINTR
		})
	})
}

// Next fills p with the next packet, or returns false at once if there is none
// at the moment. An error means that the capture is over, or that an interface
// went down, after which it may be called again.
func (c *Conn) Next(p *Packet) (ok bool, err error) {
	err = c.control(func(fd int) error {
		ok, err = c.next(fd, p)
		return err
	})
	return ok, err
}

// burst is more than the socket's buffer can hold: the kernel charges no packet
// with less than 512 bytes, and twice room is what it gives.
const burst = 2 * room / 512

// Drain calls f with each packet there is, without waiting. What arrives in the
// meantime may be among them, but it ends under any load.
func (c *Conn) Drain(f func(*Packet)) error {
	var p Packet
	for range burst {
		ok, err := c.Next(&p)
		if !ok {
			return err
		}
		f(&p)
	}
	return nil
}

func (c *Conn) next(fd int, p *Packet) (bool, error) {
	var n, oobn int
	var from unix.Sockaddr
	for {
		var err error
		n, oobn, _, from, err = unix.Recvmsg(fd, c.buf, c.oob, unix.MSG_DONTWAIT|unix.MSG_TRUNC)
		if err == nil {
			break
		}
		switch err {
		case unix.EINTR:
		case unix.EAGAIN:
			return false, nil
		default:
			return false, os.NewSyscallError("recvmsg", err)
		}
	}
	*p = Packet{Len: n, Data: c.buf[:min(n, len(c.buf))], VLAN: -1}
	if sll, ok := from.(*unix.SockaddrLinklayer); ok {
		p.Interface = sll.Ifindex
		p.Direction = Direction(sll.Pkttype)
		p.EtherType = binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, sll.Protocol))
		p.HardwareType = sll.Hatype
		p.HardwareAddr = sll.Addr
		p.HardwareAddrLen = min(int(sll.Halen), len(sll.Addr))
	}
	p.annotate(c.oob[:oobn])
	if p.Time.IsZero() {
		p.Time = time.Now().Round(0)
	}
	return true, nil
}

// annotate takes time and auxiliary data from the control messages.
func (p *Packet) annotate(oob []byte) {
	for len(oob) >= unix.SizeofCmsghdr {
		h, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			return
		}
		oob = rest
		switch {
		case h.Level == unix.SOL_SOCKET && h.Type == unix.SO_TIMESTAMPNS && len(data) >= int(unsafe.Sizeof(unix.Timespec{})):
			ts := (*unix.Timespec)(unsafe.Pointer(&data[0]))
			p.Time = time.Unix(ts.Unix())
		case h.Level == unix.SOL_PACKET && h.Type == unix.PACKET_AUXDATA && len(data) >= int(unsafe.Sizeof(unix.TpacketAuxdata{})):
			aux := (*unix.TpacketAuxdata)(unsafe.Pointer(&data[0]))
			p.Len = int(aux.Len)
			p.Partial = aux.Status&unix.TP_STATUS_CSUMNOTREADY != 0
			if aux.Status&unix.TP_STATUS_VLAN_VALID != 0 {
				p.VLAN = int(aux.Vlan_tci)
			}
		}
	}
}

// SetDeadline sets the time at which Wait gives up; the zero time is never.
func (c *Conn) SetDeadline(t time.Time) error {
	return c.use(func() error { return c.file.SetReadDeadline(t) })
}

// InterfaceName gives the name of an interface in the capture's own namespace,
// or "" when it is gone.
func (c *Conn) InterfaceName(index int) string {
	var name string
	_ = c.control(func(fd int) error {
		name = interfaceName(fd, index)
		return nil
	})
	return name
}

// interfaceName asks the namespace of a socket; "" when there is no such
// interface.
func interfaceName(fd, index int) string {
	ifr, err := unix.NewIfreq("")
	if err != nil {
		return ""
	}
	ifr.SetUint32(uint32(index))
	if unix.IoctlIfreq(fd, unix.SIOCGIFNAME, ifr) != nil {
		return ""
	}
	return ifr.Name()
}

// Stats reads the counters and sets them back.
func (c *Conn) Stats() (Stats, error) {
	var s Stats
	err := c.control(func(fd int) error {
		t, err := unix.GetsockoptTpacketStats(fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
		if err != nil {
			return os.NewSyscallError("getsockopt PACKET_STATISTICS", err)
		}
		s = Stats{Received: int(t.Packets), Dropped: int(t.Drops)}
		return nil
	})
	return s, err
}

// Close ends the capture; a Wait that blocks returns. It does not wait for the
// kernel, which takes some 15 ms to let go of a packet socket: packet_release
// in net/packet/af_packet.c sleeps for a grace period.
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	go func() {
		// Whoever uses the descriptor last closes it, and sleeps. That must be
		// nobody else, so wake them up first and let them go.
		for !c.using.TryLock() {
			_ = c.file.SetReadDeadline(time.Unix(1, 0))
			runtime.Gosched()
		}
		c.file.Close()
	}()
	return nil
}

// control runs f with the descriptor.
func (c *Conn) control(f func(fd int) error) error {
	return c.use(func() (err error) {
		if cerr := c.raw.Control(func(fd uintptr) { err = f(int(fd)) }); cerr != nil {
			return cerr
		}
		return err
	})
}

// use runs f unless the capture is closed, also while f runs: then the error is
// os.ErrClosed.
func (c *Conn) use(f func() error) error {
	if c.closed.Load() || !c.using.TryRLock() {
		return os.ErrClosed
	}
	defer c.using.RUnlock()
	err := f()
	if err != nil && c.closed.Load() {
		return os.ErrClosed
	}
	return err
}
