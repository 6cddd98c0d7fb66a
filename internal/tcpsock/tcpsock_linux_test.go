package tcpsock

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"reflect"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// control makes a control message.
func control(level, typ int, data []byte) []byte {
	b := make([]byte, unix.CmsgSpace(len(data)))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	h.Level, h.Type = int32(level), int32(typ)
	h.SetLen(unix.CmsgLen(len(data)))
	copy(b[unix.CmsgLen(0):], data)
	return b
}

// extended makes a struct sock_extended_err with an offender.
func extended(errno unix.Errno, origin, typ, code byte, info uint32, from []byte) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(errno))
	b = append(b, origin, typ, code, 0)
	b = binary.NativeEndian.AppendUint32(b, info)
	b = binary.NativeEndian.AppendUint32(b, 0)
	return append(b, from...)
}

func sockaddr4(addr string) []byte {
	b := binary.NativeEndian.AppendUint16(nil, unix.AF_INET)
	b = append(b, 0, 0)
	b = append(b, netip.MustParseAddr(addr).AsSlice()...)
	return append(b, make([]byte, 8)...)
}

func sockaddr6(addr string, scope uint32) []byte {
	b := binary.NativeEndian.AppendUint16(nil, unix.AF_INET6)
	b = append(b, 0, 0, 0, 0, 0, 0)
	b = append(b, netip.MustParseAddr(addr).AsSlice()...)
	return binary.NativeEndian.AppendUint32(b, scope)
}

func ttl(level, typ, n int) []byte {
	return control(level, typ, binary.NativeEndian.AppendUint32(nil, uint32(n)))
}

type parsed struct {
	name  string
	in    []byte
	want  ICMPError
	scope uint32
	ok    bool
}

func parsedCases() []parsed {
	v4 := func(b []byte) []byte { return control(unix.IPPROTO_IP, unix.IP_RECVERR, b) }
	v6 := func(b []byte) []byte { return control(unix.IPPROTO_IPV6, unix.IPV6_RECVERR, b) }
	exceeded := extended(unix.EHOSTUNREACH, unix.SO_EE_ORIGIN_ICMP, 11, 0, 0, sockaddr4("192.0.2.1"))
	want := ICMPError{Errno: unix.EHOSTUNREACH, Type: 11, From: netip.MustParseAddr("192.0.2.1"), TTL: 63}
	hops := ttl(unix.IPPROTO_IP, unix.IP_TTL, 63)
	return []parsed{
		{name: "time exceeded", in: append(v4(exceeded), hops...), want: want, ok: true},
		{name: "in the other order", in: append(append([]byte(nil), hops...), v4(exceeded)...), want: want, ok: true},
		{
			name: "ICMPv6 from a link-local address", ok: true, scope: 7,
			in: append(ttl(unix.IPPROTO_IPV6, unix.IPV6_HOPLIMIT, 255),
				v6(extended(unix.EACCES, unix.SO_EE_ORIGIN_ICMP6, 1, 1, 0, sockaddr6("fe80::1", 7)))...),
			want: ICMPError{Errno: unix.EACCES, Type: 1, Code: 1, From: netip.MustParseAddr("fe80::1"), TTL: 255},
		},
		{
			name: "fragmentation needed", ok: true,
			in:   v4(extended(unix.EMSGSIZE, unix.SO_EE_ORIGIN_ICMP, 3, 4, 1280, sockaddr4("192.0.2.1"))),
			want: ICMPError{Errno: unix.EMSGSIZE, Type: 3, Code: 4, From: netip.MustParseAddr("192.0.2.1"), MTU: 1280},
		},
		{
			name: "packet too big", ok: true,
			in:   v6(extended(unix.EMSGSIZE, unix.SO_EE_ORIGIN_ICMP6, 2, 0, 1280, sockaddr6("2001:db8::1", 0))),
			want: ICMPError{Errno: unix.EMSGSIZE, Type: 2, From: netip.MustParseAddr("2001:db8::1"), MTU: 1280},
		},
		{
			name: "made here", ok: true,
			in:   v4(extended(unix.EMSGSIZE, unix.SO_EE_ORIGIN_LOCAL, 0, 0, 0, make([]byte, 16))),
			want: ICMPError{Errno: unix.EMSGSIZE, Local: true},
		},
		{name: "a timestamp", in: v4(extended(unix.ENOMSG, unix.SO_EE_ORIGIN_TIMESTAMPING, 0, 0, 0, nil))},
		{name: "no errno", in: v4(extended(0, unix.SO_EE_ORIGIN_ICMP, 3, 1, 0, nil))},
		{name: "too short", in: v4(exceeded[:15])},
		{
			name: "no offender", in: v4(exceeded[:16]), ok: true,
			want: ICMPError{Errno: unix.EHOSTUNREACH, Type: 11},
		},
		{
			name: "half an offender", in: v4(exceeded[:20]), ok: true,
			want: ICMPError{Errno: unix.EHOSTUNREACH, Type: 11},
		},
		{name: "hop limit alone", in: hops},
		{name: "cut", in: v4(exceeded)[:30]},
		{name: "nothing"},
	}
}

func TestParseError(t *testing.T) {
	for _, tt := range parsedCases() {
		got, scope, ok := parseError(tt.in)
		if ok != tt.ok || ok && (!reflect.DeepEqual(got, tt.want) || scope != tt.scope) {
			t.Errorf("%s: got %+v, scope %d, %v; want %+v, scope %d, %v", tt.name, got, scope, ok, tt.want, tt.scope, tt.ok)
		}
	}
}

func FuzzParseError(f *testing.F) {
	for _, c := range parsedCases() {
		f.Add(c.in)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, _, ok := parseError(b)
		if ok && e.Errno == 0 {
			t.Error("an error without errno")
		}
		if e.TTL < 0 || e.TTL > 255 || e.Type < 0 || e.Type > 255 || e.Code < 0 || e.Code > 255 || e.MTU < 0 {
			t.Errorf("out of range: %+v", e)
		}
		if e.From.Zone() != "" || e.From.Is4In6() {
			t.Errorf("address %v", e.From)
		}
	})
}

// listen opens a listener on loopback.
func listen(t *testing.T) (*net.TCPListener, netip.AddrPort) {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, l.Addr().(*net.TCPAddr).AddrPort()
}

func newPoller(t *testing.T) *Poller {
	t.Helper()
	p, err := NewPoller()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// settle waits until a socket is no longer pending.
func settle(t *testing.T, s *Socket) Status {
	t.Helper()
	p := newPoller(t)
	if err := p.Add(s, 0); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(nettest.Patience); time.Now().Before(end); {
		if _, err := p.Wait(nil, end); err != nil {
			t.Fatal(err)
		}
		if st := s.Check(); st.Phase != Pending {
			if err := p.Remove(s); err != nil {
				t.Error(err)
			}
			return st
		}
	}
	t.Fatal("still pending")
	return Status{}
}

func TestConnected(t *testing.T) {
	nettest.LeakCheck(t)
	_, to := listen(t)
	s, err := Connect(netip.AddrPortFrom(netip.MustParseAddr("::ffff:127.0.0.1"), to.Port()),
		Options{TTL: 9, MSS: 500, Interface: "lo", Source: netip.MustParseAddr("127.0.0.2")})
	if err != nil {
		t.Fatal(err)
	}
	if st := settle(t, s); st.Phase != Connected || st.Err != nil {
		t.Fatalf("%+v", st)
	}
	for name, want := range map[[2]int]int{{unix.IPPROTO_IP, unix.IP_TTL}: 9, {unix.IPPROTO_IP, unix.IP_RECVERR}: 1} {
		if got, err := unix.GetsockoptInt(s.fd, name[0], name[1]); got != want || err != nil {
			t.Errorf("option %v is %d, %v", name, got, err)
		}
	}
	info, err := s.Info()
	if err != nil || info.State != Established || info.MSS > 500 || info.RTT <= 0 {
		t.Errorf("%+v, %v", info, err)
	}
	local := s.Local()
	if local.Addr().String() != "127.0.0.2" || local.Port() == 0 {
		t.Errorf("from %v", local)
	}

	c, err := s.TCPConn()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.LocalAddr().String() != local.String() || c.RemoteAddr().String() != to.String() {
		t.Errorf("from %v to %v", c.LocalAddr(), c.RemoteAddr())
	}
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		for _, opt := range [][2]int{{unix.IPPROTO_IP, unix.IP_RECVERR}, {unix.IPPROTO_IP, unix.IP_RECVTTL}, {unix.SOL_SOCKET, unix.SO_KEEPALIVE}} {
			if on, err := unix.GetsockoptInt(int(fd), opt[0], opt[1]); on != 0 || err != nil {
				t.Errorf("option %v is still %d, %v", opt, on, err)
			}
		}
	})
	if err := errors.Join(s.Close(), s.Abort()); err != nil {
		t.Errorf("closing a socket that was given up: %v", err)
	}
}

// TestAbort resets the connection, which the peer sees.
func TestAbort(t *testing.T) {
	nettest.LeakCheck(t)
	l, to := listen(t)
	s, err := Connect(to, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if st := settle(t, s); st.Phase != Connected {
		t.Fatalf("%+v", st)
	}
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	if err := s.Abort(); err != nil {
		t.Error(err)
	}
	if _, err := peer.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("the peer reads %v", err)
	}
}

func TestErrorsBeforeAnyPacket(t *testing.T) {
	nettest.LeakCheck(t)
	_, to := listen(t)
	for _, tt := range []struct {
		to    netip.AddrPort
		o     Options
		call  string
		errno string
	}{
		{to, Options{Source: netip.MustParseAddr("192.0.2.1")}, "bind", "EADDRNOTAVAIL"},
		{to, Options{Source: to.Addr(), SourcePort: to.Port()}, "bind", "EADDRINUSE"},
		{to, Options{SourcePort: to.Port()}, "bind", "EADDRINUSE"},
		{to, Options{Source: netip.IPv6LinkLocalAllNodes()}, "bind", "EAFNOSUPPORT"},
		{to, Options{Interface: "no such"}, "bind", "ENODEV"},
		{to, Options{TTL: 256}, "socket", "EINVAL"},
		{to, Options{MSS: 1}, "socket", "EINVAL"},
		{netip.MustParseAddrPort("255.255.255.255:9"), Options{}, "connect", "ENETUNREACH"},
		{netip.MustParseAddrPort("[fe80::1%none]:9"), Options{}, "connect", "ENODEV"},
	} {
		s, err := Connect(tt.to, tt.o)
		var call *Error
		if !errors.As(err, &call) || call.Call != tt.call || ErrnoName(err) != tt.errno {
			t.Errorf("%v %+v: %v, want %s from %s", tt.to, tt.o, err, tt.errno, tt.call)
		}
		if s != nil {
			s.Close()
		}
	}
}

// TestPollerMany runs 64 sockets in this goroutine.
func TestPollerMany(t *testing.T) {
	nettest.LeakCheck(t)
	_, to := listen(t)
	p := newPoller(t)
	const n = 64
	socks := make([]*Socket, n)
	for i := range socks {
		s, err := Connect(to, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		socks[i] = s
		if err := p.Add(s, i); err != nil {
			t.Fatal(err)
		}
	}
	seen := make(map[int]bool)
	for end := time.Now().Add(nettest.Patience); len(seen) < n && time.Now().Before(end); {
		ids, err := p.Wait(nil, end)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range ids {
			if socks[id].Check().Phase == Connected {
				seen[id] = true
			}
		}
	}
	if len(seen) != n {
		t.Errorf("%d of %d sockets connected", len(seen), n)
	}
}

func TestPollerWake(t *testing.T) {
	nettest.LeakCheck(t)
	p, err := NewPoller()
	if err != nil {
		t.Fatal(err)
	}
	p.Wake()
	wait := func() {
		if ids, err := p.Wait(nil, time.Time{}); len(ids) != 0 || err != nil {
			t.Errorf("woken with %v, %v", ids, err)
		}
	}
	wait() // at once
	var done sync.WaitGroup
	done.Go(wait)
	p.Wake()
	done.Wait()
	if ids, err := p.Wait(nil, time.Now().Add(time.Millisecond)); len(ids) != 0 || err != nil {
		t.Errorf("deadline: %v, %v", ids, err)
	}
	if ids, err := p.Wait(nil, time.Unix(1, 0)); len(ids) != 0 || err != nil {
		t.Errorf("past deadline: %v, %v", ids, err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	p.Wake()
	if _, err := p.Wait(nil, time.Time{}); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("waiting after Close: %v", err)
	}
}

func TestNames(t *testing.T) {
	for s, want := range map[State]string{0: "", Established: "ESTABLISHED", SynSent: "SYN_SENT", Closed: "CLOSE", NewSynRecv: "NEW_SYN_RECV", 13: "", 255: ""} {
		if s.String() != want {
			t.Errorf("state %d is %q", s, s)
		}
	}
	for err, want := range map[error]string{unix.ECONNREFUSED: "ECONNREFUSED", &Error{"bind", unix.EACCES}: "EACCES", os.ErrClosed: "", unix.Errno(4000): ""} {
		if got := ErrnoName(err); got != want {
			t.Errorf("%v is %q", err, got)
		}
	}
}
