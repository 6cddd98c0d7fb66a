package control

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/wire"
)

// Echo sends one ICMP echo request to addr and waits for the reply, or an
// error about it. It needs a group within net.ipv4.ping_group_range (icmp(7))
// or CAP_NET_RAW, and gives a *PermissionError without both. The answer of an
// echo that this host itself would not send is "not-sent"; only where an
// output rule drops one for IPv6, an ordinary user sees silence.
func Echo(ctx context.Context, env collect.Env, addr netip.Addr, timeout time.Duration) (evidence.Control, error) {
	addr = addr.Unmap()
	c := evidence.Control{Kind: evidence.ControlEcho, At: env.Clock.Now()}
	s, err := openEcho(env, addr)
	if err != nil {
		return c, err
	}
	defer s.file.Close()
	if err := s.file.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return c, fmt.Errorf("echo to %v: %w", addr, err)
	}
	defer context.AfterFunc(ctx, func() { _ = s.file.SetReadDeadline(time.Unix(1, 0)) })()

	c.At = env.Clock.Now()
	if err := s.request(addr); err != nil {
		var errno unix.Errno
		if !errors.As(err, &errno) {
			return c, fmt.Errorf("echo to %v: %w", addr, err)
		}
		c.Answer, c.Errno = "not-sent", unix.ErrnoName(errno)
		return c, nil
	}
	c.Sent = 1
	switch err := s.answer(&c); {
	case ctx.Err() != nil && c.Answer == "":
		return c, fmt.Errorf("echo to %v: %w", addr, ctx.Err())
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.Answer = "silent"
	case err != nil:
		return c, fmt.Errorf("echo to %v: %w", addr, err)
	}
	c.Took = env.Clock.Now() - c.At
	return c, nil
}

// echoSocket is a socket for one echo request.
type echoSocket struct {
	file   *os.File
	raw    bool // with CAP_NET_RAW; else a ping socket
	v6     bool
	id     uint16   // of the request; a ping socket has another, its own
	cookie [16]byte // data of the request, by which we know the reply
}

func openEcho(env collect.Env, addr netip.Addr) (*echoSocket, error) {
	s := &echoSocket{v6: addr.Is6(), id: uint16(rand.Uint32())}
	binary.NativeEndian.PutUint64(s.cookie[:], rand.Uint64())
	binary.NativeEndian.PutUint64(s.cookie[8:], rand.Uint64())
	family, proto := unix.AF_INET, unix.IPPROTO_ICMP
	if s.v6 {
		family, proto = unix.AF_INET6, unix.IPPROTO_ICMPV6
	}
	const flags = unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK
	// The raw socket first: a ping socket for IPv6 does not tell when an output
	// rule drops the request (ping_v6_sendmsg in net/ipv6/ping.c).
	fd, err := unix.Socket(family, unix.SOCK_RAW|flags, proto)
	if s.raw = err == nil; !s.raw {
		fd, err = unix.Socket(family, unix.SOCK_DGRAM|flags, proto)
	}
	switch {
	case err == unix.EPERM || err == unix.EACCES:
		return nil, &PermissionError{Err: os.NewSyscallError("socket", err), How: howEcho}
	case err != nil:
		return nil, fmt.Errorf("echo to %v: %w", addr, os.NewSyscallError("socket", err))
	}
	s.file = os.NewFile(uintptr(fd), "echo socket")
	if err := s.setup(fd, env); err != nil {
		s.file.Close()
		return nil, fmt.Errorf("echo to %v: %w", addr, err)
	}
	return s, nil
}

func (s *echoSocket) setup(fd int, env collect.Env) error {
	level, ttl, errs := unix.SOL_IP, unix.IP_RECVTTL, unix.IP_RECVERR
	if s.v6 {
		level, ttl, errs = unix.SOL_IPV6, unix.IPV6_RECVHOPLIMIT, unix.IPV6_RECVERR
	}
	for _, option := range []int{ttl, errs} {
		if err := unix.SetsockoptInt(fd, level, option, 1); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	if env.Interface != "" {
		if err := unix.BindToDevice(fd, env.Interface); err != nil {
			return os.NewSyscallError("setsockopt SO_BINDTODEVICE", err)
		}
	}
	if env.Source.IsValid() {
		return os.NewSyscallError("bind", unix.Bind(fd, sockaddr(env.Source.Unmap())))
	}
	return nil
}

// request sends the echo. Connecting the socket first makes the kernel hand us
// the errors about this request, and replies of addr only.
func (s *echoSocket) request(addr netip.Addr) error {
	b := wire.AppendEcho(nil, s.v6, s.id, 1, s.cookie[:])
	return s.control(func(fd int) error {
		if err := unix.Connect(fd, sockaddr(addr)); err != nil {
			return os.NewSyscallError("connect", err)
		}
		return os.NewSyscallError("send", unix.Send(fd, b, 0))
	})
}

// answer fills c from the reply or the error that comes first.
func (s *echoSocket) answer(c *evidence.Control) error {
	conn, err := s.file.SyscallConn()
	if err != nil {
		return err
	}
	buf, oob := make([]byte, 2048), make([]byte, 512)
	return conn.Read(func(fd uintptr) bool {
		for {
			n, oobn, _, from, rerr := unix.Recvmsg(int(fd), buf, oob, unix.MSG_DONTWAIT)
			if rerr == nil {
				if s.reply(buf[:n], oob[:oobn], from, c) {
					return true
				}
				continue
			}
			if rerr == unix.EINTR {
				continue
			}
			// No reply; EAGAIN, or an errno whose reason is in the error queue.
			n, oobn, _, _, eerr := unix.Recvmsg(int(fd), buf, oob, unix.MSG_DONTWAIT|unix.MSG_ERRQUEUE)
			switch {
			case eerr == nil:
				if s.ours(buf[:n]) && s.failure(oob[:oobn], c) {
					return true
				}
			case rerr == unix.EAGAIN:
				return false
			}
		}
	})
}

// reply takes an echo reply to our request.
func (s *echoSocket) reply(b, oob []byte, from unix.Sockaddr, c *evidence.Control) bool {
	ip := wire.IP{Proto: wire.ProtoICMP, Payload: b}
	switch {
	case s.v6:
		ip.Proto = wire.ProtoICMPv6
	case s.raw: // IPv4 comes with its header, raw(7)
		if ip.Decode(b) != nil {
			return false
		}
	}
	var m wire.ICMP
	if m.Decode(&ip) != nil || !m.IsEchoReply() || !bytes.Equal(m.Body, s.cookie[:]) {
		return false
	}
	c.Answer = "echo-reply"
	c.TTL = hopLimit(oob)
	switch sa := from.(type) {
	case *unix.SockaddrInet4:
		c.From = netip.AddrFrom4(sa.Addr)
	case *unix.SockaddrInet6:
		c.From = netip.AddrFrom16(sa.Addr)
	}
	return true
}

// ours tells whether the request quoted by an error is the one sent here. A
// raw socket also hears of those that other programs send to the address.
func (s *echoSocket) ours(quoted []byte) bool {
	return !s.raw || len(quoted) < 8 || binary.BigEndian.Uint16(quoted[4:]) == s.id
}

// failure takes an ICMP error, or one of this host, from the error queue:
// struct sock_extended_err and the offender's address, ip(7).
func (s *echoSocket) failure(oob []byte, c *evidence.Control) bool {
	for h, data := range controlMessages(oob) {
		if !(h.Level == unix.SOL_IP && h.Type == unix.IP_RECVERR || h.Level == unix.SOL_IPV6 && h.Type == unix.IPV6_RECVERR) || len(data) < 16 {
			continue
		}
		errno, origin := unix.Errno(binary.NativeEndian.Uint32(data)), data[4]
		if origin == unix.SO_EE_ORIGIN_LOCAL {
			c.Answer, c.Errno, c.Sent = "not-sent", unix.ErrnoName(errno), 0
			return true
		}
		c.Answer, c.Type, c.Code, c.TTL = "icmp", int(data[5]), int(data[6]), hopLimit(oob)
		switch sa := data[16:]; {
		case len(sa) >= 8 && binary.NativeEndian.Uint16(sa) == unix.AF_INET:
			c.From = netip.AddrFrom4([4]byte(sa[4:]))
		case len(sa) >= 24 && binary.NativeEndian.Uint16(sa) == unix.AF_INET6:
			c.From = netip.AddrFrom16([16]byte(sa[8:]))
		}
		return true
	}
	return false
}

// hopLimit finds the TTL that a packet came with, or 0.
func hopLimit(oob []byte) int {
	for h, data := range controlMessages(oob) {
		if (h.Level == unix.SOL_IP && h.Type == unix.IP_TTL || h.Level == unix.SOL_IPV6 && h.Type == unix.IPV6_HOPLIMIT) && len(data) >= 4 {
			return int(binary.NativeEndian.Uint32(data))
		}
	}
	return 0
}

// controlMessages goes through the control messages of a recvmsg.
func controlMessages(oob []byte) func(func(unix.Cmsghdr, []byte) bool) {
	return func(yield func(unix.Cmsghdr, []byte) bool) {
		for len(oob) >= unix.SizeofCmsghdr {
			h, data, rest, err := unix.ParseOneSocketControlMessage(oob)
			if err != nil || !yield(h, data) {
				return
			}
			oob = rest
		}
	}
}

// control runs f with the socket's descriptor.
func (s *echoSocket) control(f func(fd int) error) error {
	conn, err := s.file.SyscallConn()
	if err != nil {
		return err
	}
	if cerr := conn.Control(func(fd uintptr) { err = f(int(fd)) }); cerr != nil {
		return cerr
	}
	return err
}

// sockaddr converts an address; a zone that is no interface becomes none.
func sockaddr(a netip.Addr) unix.Sockaddr {
	if a.Is4() {
		return &unix.SockaddrInet4{Addr: a.As4()}
	}
	sa := &unix.SockaddrInet6{Addr: a.As16()}
	if n, err := strconv.ParseUint(a.Zone(), 10, 32); err == nil {
		sa.ZoneId = uint32(n)
	} else if ifi, err := net.InterfaceByName(a.Zone()); err == nil {
		sa.ZoneId = uint32(ifi.Index)
	}
	return sa
}
