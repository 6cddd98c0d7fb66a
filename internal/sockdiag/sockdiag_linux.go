package sockdiag

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"net/netip"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const (
	byFamily = 20 // SOCK_DIAG_BY_FAMILY, linux/sock_diag.h

	attrV6Only = 11 // INET_DIAG_SKV6ONLY, linux/inet_diag.h
	attrCgroup = 21 // INET_DIAG_CGROUP_ID

	requestLen = 56 // struct inet_diag_req_v2
	socketLen  = 72 // struct inet_diag_msg

	// dumpLen is the largest datagram that the kernel makes for a dump
	// (netlink_dump in net/netlink/af_netlink.c).
	dumpLen = 32 << 10

	patience = time.Second
)

// Conn reads the socket table of one network namespace.
type Conn struct {
	c    *netlink.Conn
	stop func() bool
}

// Dial opens a connection on the network namespace of the calling thread. It
// needs no privilege. What is read must be read within one second, and before
// ctx is done.
func Dial(ctx context.Context) (*Conn, error) {
	c, err := netlink.Dial(unix.NETLINK_SOCK_DIAG, &netlink.Config{MessageBufferSize: dumpLen})
	if err != nil {
		return nil, fmt.Errorf("sock_diag socket: %w", err)
	}
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("sock_diag socket: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	return &Conn{c, stop}, nil
}

// Close releases the socket.
func (c *Conn) Close() error {
	c.stop()
	return c.c.Close()
}

// Sockets yields the sockets that fit, those of IPv4 first. An error ends it.
func (c *Conn) Sockets(q Query) iter.Seq2[Socket, error] {
	return func(yield func(Socket, error) bool) {
		if q.V4 && !c.dump(unix.AF_INET, q, yield) {
			return
		}
		if q.V6 {
			c.dump(unix.AF_INET6, q, yield)
		}
	}
}

// dump yields the sockets of one family and says whether to go on.
func (c *Conn) dump(family uint8, q Query, yield func(Socket, error) bool) bool {
	if _, err := c.c.Send(netlink.Message{
		Header: netlink.Header{Type: byFamily, Flags: netlink.Request | netlink.Dump},
		Data:   request(family, q),
	}); err != nil {
		yield(Socket{}, fmt.Errorf("sock_diag request: %w", err))
		return false
	}
	for m, err := range c.c.ReceiveIter() {
		if err != nil {
			yield(Socket{}, fmt.Errorf("sock_diag answer: %w", err))
			return false
		}
		s, err := parse(m.Data)
		if err == nil && !fits(s, q) {
			continue
		}
		if !yield(s, err) || err != nil {
			return false
		}
	}
	return true
}

// fits says whether a socket has the ports asked for. The kernel sees to that,
// but not of sockets that are only bound (inet_diag_dump_icsk in
// net/ipv4/inet_diag.c).
func fits(s Socket, q Query) bool {
	return s.State != BoundInactive ||
		(q.LocalPort == 0 || q.LocalPort == s.Local.Port()) && q.RemotePort == 0
}

// request makes a struct inet_diag_req_v2.
func request(family uint8, q Query) []byte {
	b := make([]byte, requestLen)
	b[0], b[1] = family, unix.IPPROTO_TCP
	binary.NativeEndian.PutUint32(b[4:], uint32(q.States))
	binary.BigEndian.PutUint16(b[8:], q.LocalPort)
	binary.BigEndian.PutUint16(b[10:], q.RemotePort)
	return b
}

// parse reads a struct inet_diag_msg and its attributes.
func parse(b []byte) (Socket, error) {
	if len(b) < socketLen {
		return Socket{}, fmt.Errorf("sock_diag answer: %d bytes, want at least %d", len(b), socketLen)
	}
	native := binary.NativeEndian
	local, err := address(b[0], b[8:24], b[4:6])
	if err != nil {
		return Socket{}, err
	}
	remote, err := address(b[0], b[24:40], b[6:8])
	if err != nil {
		return Socket{}, err
	}
	s := Socket{
		Local: local, Remote: remote,
		State:  State(b[1]),
		Device: int(native.Uint32(b[40:])),
		RecvQ:  native.Uint32(b[56:]),
		SendQ:  native.Uint32(b[60:]),
		UID:    native.Uint32(b[64:]),
		Inode:  uint64(native.Uint32(b[68:])),
	}
	if s.State == Close {
		s.State = BoundInactive // no other closed socket is in the kernel's tables
	}
	attrs, err := netlink.NewAttributeDecoder(b[socketLen:])
	if err != nil {
		return Socket{}, fmt.Errorf("sock_diag attributes: %w", err)
	}
	for attrs.Next() {
		switch attrs.Type() {
		case attrV6Only:
			s.V6Only = attrs.Uint8() != 0
		case attrCgroup:
			s.Cgroup = attrs.Uint64()
		}
	}
	if err := attrs.Err(); err != nil {
		return Socket{}, fmt.Errorf("sock_diag attributes: %w", err)
	}
	return s, nil
}

func address(family uint8, addr, port []byte) (netip.AddrPort, error) {
	p := binary.BigEndian.Uint16(port)
	switch family {
	case unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(addr)), p), nil
	case unix.AF_INET6:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(addr)), p), nil
	}
	return netip.AddrPort{}, fmt.Errorf("sock_diag answer: unknown address family %d", family)
}
