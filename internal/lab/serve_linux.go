package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// option sets something on a listening socket before it is bound; what it
// accepts inherits it.
type option func(fd int) error

// listen opens a listening socket on a host until the lab ends. An invalid
// address in at stands for all of the host's addresses, IPv4 and IPv6; the
// unspecified address of a family for those of that family. It returns nil once
// the lab has failed.
func (l *Lab) listen(host string, at netip.AddrPort, options ...option) *net.TCPListener {
	if l.err != nil {
		return nil
	}
	ln, err := l.open(host, at, options...)
	if err != nil {
		l.missing("a socket option", fmt.Errorf("listen on %s: %w", host, err))
		return nil
	}
	l.closers = append(l.closers, ln)
	return ln
}

// open opens a listening socket, as listen does, until somebody closes it.
func (l *Lab) open(host string, at netip.AddrPort, options ...option) (*net.TCPListener, error) {
	// What "tcp" would include hangs on what Go once found out about some other
	// namespace.
	network := "tcp6"
	switch {
	case at.Addr().Is4():
		network = "tcp4"
	case !at.Addr().IsValid():
		at = netip.AddrPortFrom(netip.IPv6Unspecified(), at.Port())
		options = append(options, bothFamilies)
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { return control(c, options...) }}
	lc.SetMultipathTCP(false) // not all options exist for it
	var ln net.Listener
	err := l.Do(host, func() (err error) {
		ln, err = lc.Listen(l.ctx, network, at.String())
		return err
	})
	if err != nil {
		return nil, err
	}
	return ln.(*net.TCPListener), nil
}

func control(c syscall.RawConn, options ...option) error {
	var errs []error
	err := c.Control(func(fd uintptr) {
		for _, o := range options {
			errs = append(errs, o(int(fd)))
		}
	})
	return errors.Join(append(errs, err)...)
}

// door is a port of a host.
type door struct {
	host string
	port uint16
}

// server accepts connections at a door.
type server struct {
	ln   *net.TCPListener
	done chan struct{} // closed when nothing listens any more
}

// serve accepts connections on a host's port, at all of its addresses, and
// handles each. What served there before is stopped. A connection is closed
// when its handler returns or the lab ends.
func (l *Lab) serve(host string, port uint16, handle func(net.Conn), options ...option) {
	l.serveAt(host, netip.AddrPortFrom(netip.Addr{}, port), handle, options...)
}

// serveAt is serve at one address, an invalid one standing for all.
func (l *Lab) serveAt(host string, at netip.AddrPort, handle func(net.Conn), options ...option) {
	l.stop(host, at.Port())
	ln := l.listen(host, at, options...)
	if ln == nil {
		return
	}
	s := server{ln, make(chan struct{})}
	l.servers[door{host, at.Port()}] = s
	l.serving.Go(func() {
		defer close(s.done)
		l.accept(ln, handle)
	})
}

// accept handles connections until the listener is closed.
func (l *Lab) accept(ln *net.TCPListener, handle func(net.Conn)) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		l.serving.Go(func() {
			defer context.AfterFunc(l.ctx, func() { c.Close() })()
			defer c.Close()
			handle(c)
		})
	}
}

// stop ends what serves a port of a host, if anything does. When it returns
// nothing listens there.
func (l *Lab) stop(host string, port uint16) {
	d := door{host, port}
	if s, ok := l.servers[d]; ok {
		// A process that is just being started has a copy of the socket until it
		// executes its program. Shut down, no copy listens.
		if c, err := s.ln.SyscallConn(); err == nil {
			c.Control(func(fd uintptr) { unix.Shutdown(int(fd), unix.SHUT_RDWR) })
		}
		s.ln.Close()
		<-s.done
		delete(l.servers, d)
	}
}

// hold connects from a host and keeps the connection until the lab ends.
func (l *Lab) hold(host string, to netip.AddrPort) {
	if l.err != nil {
		return
	}
	err := l.Do(host, func() error {
		c, err := dial(l.ctx, to)
		if err == nil {
			l.closers = append(l.closers, c)
		}
		return err
	})
	if err != nil {
		l.fail(fmt.Errorf("connect from %s: %w", host, err))
	}
}

// dial connects from the namespace of the calling thread.
func dial(ctx context.Context, to netip.AddrPort) (*net.TCPConn, error) {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	var d net.Dialer
	d.SetMultipathTCP(false)
	network := "tcp4" // else package net may think there is no IPv6, as listen says
	if to.Addr().Is6() {
		network = "tcp6"
	}
	c, err := d.DialContext(ctx, network, to.String())
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

// silent reads and never answers.
func silent(c net.Conn) { io.Copy(io.Discard, c) }

// closing ends the connection with a FIN. What comes after it is still read:
// data for a socket that is gone would be answered by a RST.
func closing(c net.Conn) {
	c.(*net.TCPConn).CloseWrite()
	io.Copy(io.Discard, c)
}

// resetting ends the connection with a RST.
func resetting(c net.Conn) { c.(*net.TCPConn).SetLinger(0) }

// cutting answers half a header and then ends the connection with a RST.
func cutting(c net.Conn) {
	if _, err := c.Read(make([]byte, 512)); err == nil {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 40")
	}
	// The bytes must be there before the RST: it would discard them.
	c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	c.Read(make([]byte, 1))
	resetting(c)
}

// page is the body of an answer to GET: several segments.
var page = strings.Repeat("All is well.\n", 2500)

// web answers HTTP requests with a status.
func web(status int) func(net.Conn) {
	return func(c net.Conn) {
		// The whole answer at once, so that its first segment is a full one.
		in, out := bufio.NewReader(c), bufio.NewWriterSize(c, 2*len(page))
		for {
			req, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				return
			}
			answer := http.Response{
				StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Request: req, Close: req.Close,
				Header:        http.Header{"Server": {"lab"}, "Date": {time.Now().UTC().Format(http.TimeFormat)}},
				ContentLength: int64(len(page)),
				Body:          io.NopCloser(strings.NewReader(page)),
			}
			answer.Write(out) // an error sticks to out
			if err := out.Flush(); err != nil || req.Close {
				return
			}
		}
	}
}

// service is a healthy server: SSH on 22, HTTP on the target's port.
func (l *Lab) service(host string) {
	l.serve(host, 22, ssh)
	l.serve(host, l.dst.Port(), web(http.StatusOK))
}

// bothFamilies lets an IPv6 socket take IPv4 too; ipv6(7).
func bothFamilies(fd int) error {
	return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0)
}

// receiveBuffer makes what a connection may receive small; socket(7).
func receiveBuffer(bytes int) option {
	return func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, bytes) }
}

// minTTL drops packets that come from farther away; ip(7), RFC 5082.
func minTTL(f Family, ttl int) option {
	return func(fd int) error {
		if f == V6 {
			return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MINHOPCOUNT, ttl)
		}
		return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MINTTL, ttl)
	}
}

// signature wants segments from the address signed by RFC 2385; tcp(7).
func signature(from netip.Addr) option {
	return func(fd int) error {
		sig := unix.TCPMD5Sig{Keylen: 6}
		copy(sig.Key[:], "secret")
		b := sig.Addr.Data[:]
		if from.Is4() { // struct sockaddr_in: port, address
			sig.Addr.Family = unix.AF_INET
			copy(b[2:], from.AsSlice())
		} else { // struct sockaddr_in6: port, flow, address
			sig.Addr.Family = unix.AF_INET6
			copy(b[6:], from.AsSlice())
		}
		return unix.SetsockoptTCPMD5Sig(fd, unix.IPPROTO_TCP, unix.TCP_MD5SIG, &sig)
	}
}

// backlog sets how many connections may wait for accept(2), which Go leaves to
// the system; n+1 fit. It is made after the listener, by listen(2) once more.
func backlog(ln *net.TCPListener, n int) error {
	c, err := ln.SyscallConn()
	if err != nil {
		return err
	}
	return control(c, func(fd int) error { return unix.Listen(fd, n) })
}
