package tcpsock

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Socket is one connection attempt. Its methods may not be called from several
// goroutines at once.
type Socket struct {
	fd    int
	v6    bool
	zone  string // of the remote address
	scope uint32 // its number
	local netip.AddrPort
}

// Connect makes a socket and starts to connect it, without waiting. A failure
// of that, before any packet, is an *Error. The socket must be closed.
func Connect(remote netip.AddrPort, o Options) (*Socket, error) {
	remote = netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())
	s := &Socket{v6: remote.Addr().Is6(), zone: remote.Addr().Zone()}
	family := unix.AF_INET
	if s.v6 {
		family = unix.AF_INET6
	}
	var err error
	s.fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return nil, &Error{"socket", err}
	}
	if err := s.start(remote, o); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Socket) start(remote netip.AddrPort, o Options) error {
	if err := s.setup(o); err != nil {
		return &Error{"socket", err}
	}
	if err := s.bind(o); err != nil {
		return &Error{"bind", err}
	}
	to, err := sockaddr(remote)
	if err != nil {
		return &Error{"connect", err}
	}
	if to, ok := to.(*unix.SockaddrInet6); ok {
		s.scope = to.ZoneId
	}
	// An interrupted connect goes on by itself, connect(2).
	if err := unix.Connect(s.fd, to); err != nil && err != unix.EINPROGRESS && err != unix.EINTR {
		return &Error{"connect", err}
	}
	// Asked for now, because a socket that failed forgets what it had.
	if sa, err := unix.Getsockname(s.fd); err == nil {
		s.local = s.addrPort(sa)
	}
	return nil
}

// setup makes the socket tell all it can and applies the options that concern
// packets.
func (s *Socket) setup(o Options) error {
	level, recvErr, recvTTL, ttl := unix.IPPROTO_IP, unix.IP_RECVERR, unix.IP_RECVTTL, unix.IP_TTL
	if s.v6 {
		level, recvErr, recvTTL, ttl = unix.IPPROTO_IPV6, unix.IPV6_RECVERR, unix.IPV6_RECVHOPLIMIT, unix.IPV6_UNICAST_HOPS
	}
	type option struct {
		name             string
		level, opt, want int
	}
	opts := []option{{"IP_RECVERR", level, recvErr, 1}, {"IP_RECVTTL", level, recvTTL, 1}}
	if o.TTL != 0 {
		opts = append(opts, option{"IP_TTL", level, ttl, o.TTL})
	}
	if o.MSS != 0 {
		opts = append(opts, option{"TCP_MAXSEG", unix.IPPROTO_TCP, unix.TCP_MAXSEG, o.MSS})
	}
	if o.HalfOpen {
		opts = append(opts, option{"TCP_QUICKACK", unix.IPPROTO_TCP, unix.TCP_QUICKACK, 0})
	}
	for _, p := range opts {
		if err := unix.SetsockoptInt(s.fd, p.level, p.opt, p.want); err != nil {
			return fmt.Errorf("set %s to %d: %w", p.name, p.want, err)
		}
	}
	return nil
}

func (s *Socket) bind(o Options) error {
	if o.Interface != "" {
		if err := unix.BindToDevice(s.fd, o.Interface); err != nil {
			return fmt.Errorf("interface %q: %w", o.Interface, err)
		}
	}
	from := netip.AddrPortFrom(o.Source.Unmap(), o.SourcePort)
	switch {
	case !from.Addr().IsValid() && from.Port() == 0:
		return nil
	case !from.Addr().IsValid() && s.v6:
		from = netip.AddrPortFrom(netip.IPv6Unspecified(), from.Port())
	case !from.Addr().IsValid():
		from = netip.AddrPortFrom(netip.IPv4Unspecified(), from.Port())
	}
	if from.Port() == 0 {
		if err := unix.SetsockoptInt(s.fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
			return fmt.Errorf("set IP_BIND_ADDRESS_NO_PORT: %w", err)
		}
	}
	sa, err := sockaddr(from)
	if err != nil {
		return err
	}
	return unix.Bind(s.fd, sa)
}

// Local is the socket's own end, zero if the kernel chose none.
func (s *Socket) Local() netip.AddrPort { return s.local }

// Check says where the attempt stands and takes what is in the error queue. What
// has failed or connected is not to be checked again.
//
// It asks TCP_INFO for the state first: reading the error queue clears the
// pending SO_ERROR (sock_dequeue_err_skb in net/core/skbuff.c), so a socket
// that failed could pass for one that connected. A connection that was made and
// is already reset counts as connected; its error is left for who reads it.
func (s *Socket) Check() Status {
	info, err := unix.GetsockoptTCPInfo(s.fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return Status{Phase: Failed, Err: fmt.Errorf("read TCP_INFO: %w", err)}
	}
	var st Status
	switch state := State(info.State); {
	case state == SynSent || state == SynRecv:
		st.ICMP = s.takeErrors()
		if len(st.ICMP) > 0 {
			st.Phase, st.Err = Failed, st.ICMP[0].Errno
		}
	case state == Closed && info.Bytes_acked == 0: // not even the SYN was
		st.Phase = Failed
		pending, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_ERROR)
		st.ICMP = s.takeErrors()
		switch {
		case err == nil && pending != 0:
			st.Err = unix.Errno(pending)
		case len(st.ICMP) > 0:
			st.Err = st.ICMP[0].Errno
		default:
			st.Err = unix.ECONNABORTED // what connect() says then
		}
	default:
		st.Phase = Connected
	}
	return st
}

// Info asks for TCP_INFO.
func (s *Socket) Info() (Info, error) {
	i, err := unix.GetsockoptTCPInfo(s.fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return Info{}, fmt.Errorf("tcpsock: read TCP_INFO: %w", err)
	}
	return Info{
		State:       State(i.State),
		Retransmits: int(i.Total_retrans),
		RTT:         time.Duration(i.Rtt) * time.Microsecond,
		MSS:         int(i.Snd_mss),
		Unacked:     int(i.Unacked),
		Unsent:      int(i.Notsent_bytes),
	}, nil
}

// TCPConn turns a connected socket into an ordinary connection without
// keepalive, and gives up the socket whether it succeeds or not. The error queue is switched off again: it
// would make every later ICMP error an error of the connection. A connection
// that the peer has reset by now has no RemoteAddr.
func (s *Socket) TCPConn() (*net.TCPConn, error) {
	level, recvErr, recvTTL := unix.IPPROTO_IP, unix.IP_RECVERR, unix.IP_RECVTTL
	if s.v6 {
		level, recvErr, recvTTL = unix.IPPROTO_IPV6, unix.IPV6_RECVERR, unix.IPV6_RECVHOPLIMIT
	}
	for _, opt := range []int{recvErr, recvTTL} {
		if err := unix.SetsockoptInt(s.fd, level, opt, 0); err != nil {
			s.Close()
			return nil, fmt.Errorf("tcpsock: reset option %d: %w", opt, err)
		}
	}
	f := os.NewFile(uintptr(s.fd), "tcp")
	s.fd = -1
	defer f.Close() // net.FileConn duplicates
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("tcpsock: %w", err)
	}
	tcp := c.(*net.TCPConn)
	_ = tcp.SetKeepAlive(false) // package net has switched it on
	return tcp, nil
}

// Abort closes the socket and, if it is connected, resets the connection: the
// peer keeps no CLOSE_WAIT and this host no TIME_WAIT. An attempt that is still
// pending ends without a packet.
func (s *Socket) Abort() error {
	// Without the option it is an ordinary close, good enough if this fails.
	_ = unix.SetsockoptLinger(s.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	return s.Close()
}

// Close closes the socket. It may be called again.
func (s *Socket) Close() error {
	if s.fd < 0 {
		return nil
	}
	fd := s.fd
	s.fd = -1
	return unix.Close(fd)
}

func sockaddr(a netip.AddrPort) (unix.Sockaddr, error) {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}, nil
	}
	scope, err := scopeID(a.Addr().Zone())
	if err != nil {
		return nil, err
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16(), ZoneId: scope}, nil
}

// scopeID is the index of an interface named or numbered by an address's zone.
func scopeID(zone string) (uint32, error) {
	if zone == "" {
		return 0, nil
	}
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n), nil
	}
	i, err := net.InterfaceByName(zone)
	if err != nil {
		return 0, fmt.Errorf("zone %q: %w", zone, unix.ENODEV)
	}
	return uint32(i.Index), nil
}

func (s *Socket) addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(s.withZone(netip.AddrFrom16(sa.Addr), sa.ZoneId), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// withZone gives a link-local address its zone: as it was written in the remote
// address if that names the same interface, so that the two compare, and else
// by number.
func (s *Socket) withZone(a netip.Addr, scope uint32) netip.Addr {
	switch {
	case scope == 0 || !a.Is6():
		return a
	case scope == s.scope:
		return a.WithZone(s.zone)
	}
	return a.WithZone(strconv.FormatUint(uint64(scope), 10))
}
