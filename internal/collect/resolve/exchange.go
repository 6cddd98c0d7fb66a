package resolve

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// udpSize is the EDNS0 payload size asked for: what passes every path without
// fragments (DNS Flag Day 2020).
const udpSize = 1232

// question is what one server is asked.
type question struct {
	server netip.AddrPort
	name   string // with the last dot
	qtype  uint16
}

// reply is a query in the making.
type reply struct {
	evidence.Query
	rcode int
	more  int // addresses beyond maxAddrs
}

// usable says whether a stub resolver would take the answer and ask no other
// server.
func (r *reply) usable() bool {
	return !r.Truncated && (r.Rcode == "NOERROR" || r.Rcode == "NXDOMAIN")
}

// refusesEDNS says whether the server may have stumbled over EDNS0 itself,
// RFC 6891 section 7.
func (r *reply) refusesEDNS() bool {
	return r.rcode == dns.RcodeFormatError || r.rcode == dns.RcodeNotImplemented || r.rcode == dns.RcodeBadVers
}

func (a *asker) begin(q question, network string) reply {
	return reply{Query: evidence.Query{Server: q.server, Net: network, Name: trimDot(q.name),
		Type: dns.TypeToString[q.qtype], At: a.clock.Now()}}
}

// exchange asks over UDP and, if the answer is truncated, over TCP.
func (a *asker) exchange(ctx context.Context, q question) []reply {
	var all []reply
	edns := true
	if !a.tcp {
		var r reply
		if r, edns = a.udp(ctx, q); !r.Truncated {
			return []reply{r}
		}
		all = append(all, r)
	}
	r := a.stream(ctx, q, edns)
	if edns && r.refusesEDNS() {
		r = a.stream(ctx, q, false)
	}
	return append(all, r)
}

// udp asks up to a.tries times on one socket with one ID, so that a late
// answer to the first try still counts. Only the first try has EDNS0: old
// servers and middleboxes drop or refuse what a plain program's query passes.
// It tells whether the answer came to a query with EDNS0.
func (a *asker) udp(ctx context.Context, q question) (r reply, edns bool) {
	r = a.begin(q, "udp")
	defer func() { r.Took = a.clock.Now() - r.At }()
	conn, err := dial(ctx, "udp", q.server)
	if err != nil {
		r.fail(ctx, err)
		return r, false
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	buf := make([]byte, 64<<10)
	id := dns.Id()
	for edns = true; ; edns = false {
		r.Tries++
		err := a.try(conn, q, id, edns, buf, &r)
		retry := errors.Is(err, os.ErrDeadlineExceeded) && r.Tries < a.tries || err == nil && edns && r.refusesEDNS()
		switch {
		case retry && ctx.Err() == nil:
		case err != nil && r.Rcode == "":
			r.fail(ctx, err)
			return r, edns
		default:
			return r, edns
		}
	}
}

// try sends one query and reads until its answer comes. Whatever else comes is
// counted and passed over: it may be forged to end the wait.
func (a *asker) try(conn net.Conn, q question, id uint16, edns bool, buf []byte, r *reply) error {
	msg, err := q.pack(id, edns)
	if err != nil {
		return err
	}
	if err := conn.SetDeadline(time.Now().Add(a.timeout)); err != nil {
		return err
	}
	if _, err := conn.Write(msg); err != nil {
		return err
	}
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return err
		}
		if digest(buf[:n], id, q, r) {
			return nil
		}
		r.Ignored++
	}
}

// stream asks over TCP, once.
func (a *asker) stream(ctx context.Context, q question, edns bool) reply {
	r := a.begin(q, "tcp")
	r.Tries = 1
	if err := a.overTCP(ctx, q, edns, &r); err != nil {
		r.fail(ctx, err)
	}
	r.Took = a.clock.Now() - r.At
	return r
}

func (a *asker) overTCP(ctx context.Context, q question, edns bool, r *reply) error {
	deadline := time.Now().Add(a.timeout)
	dialCtx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	conn, err := dial(dialCtx, "tcp", q.server)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	id := dns.Id()
	msg, err := q.pack(id, edns)
	if err != nil {
		return err
	}
	// Length and message in one write: some servers want one segment.
	framed := append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...)
	if _, err := conn.Write(framed); err != nil {
		return err
	}
	var size [2]byte
	buf := make([]byte, 64<<10)
	for {
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return err
		}
		msg := buf[:binary.BigEndian.Uint16(size[:])]
		if _, err := io.ReadFull(conn, msg); err != nil {
			return err
		}
		if digest(msg, id, q, r) {
			return nil
		}
		r.Ignored++
	}
}

func (q question) pack(id uint16, edns bool) ([]byte, error) {
	m := dns.Msg{MsgHdr: dns.MsgHdr{Id: id, RecursionDesired: true},
		Question: []dns.Question{{Name: q.name, Qtype: q.qtype, Qclass: dns.ClassINET}}}
	if edns {
		m.SetEdns0(udpSize, false)
	}
	return m.Pack()
}

// dial makes a connected socket, so that the kernel drops what other sources
// send and reports ICMP errors.
func dial(ctx context.Context, network string, server netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{Control: reportICMP}
	return d.DialContext(ctx, network, server.String())
}

// fail records why no answer came.
func (r *reply) fail(ctx context.Context, err error) {
	var timeout net.Error
	switch name := errnoName(err); {
	case errors.Is(context.Cause(ctx), errNotWaited):
		r.Err = errNotWaited.Error()
	case ctx.Err() != nil:
		r.Err = "stopped before an answer came"
	case name != "":
		r.Errno = name
	case errors.As(err, &timeout) && timeout.Timeout():
		r.Timeout = true
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		r.Err = "the server closed the connection without an answer"
	default:
		r.Err = clean(err.Error())
	}
}

func trimDot(name string) string { return strings.TrimSuffix(name, ".") }
