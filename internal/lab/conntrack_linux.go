package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/nft"
)

// tables are hosts that track connections, and have no room for one more.
func tables() []Scenario {
	return []Scenario{{
		Name: "conntrack-full", Connect: TimesOut,
		Shows: "No answer from anywhere: this host's table of tracked connections is full.",
		fault: func(l *Lab) {
			// Connections are tracked where a rule asks for their state.
			l.rules(Client, nft.Output, nft.If(nft.Untracked()).Accept())
			l.track(Client)
		},
	}}
}

// trackedMost is the largest table that the lab fills. It is the limit that Linux
// takes by itself on a machine with memory enough (nf_conntrack_init_start in
// net/netfilter/nf_conntrack_core.c), and costs 80 MB of it.
const trackedMost = 1 << 18

// track fills a host's table with connections that are not there. Each namespace
// counts its own, against one limit that only the machine's own can set
// (nf_conntrack_standalone_init_sysctl); so a table is filled, not made small, and
// no other is any fuller.
func (l *Lab) track(host string) {
	if l.err != nil {
		return
	}
	err := l.Do(host, func() error {
		b, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_max")
		if err != nil {
			return err
		}
		limit, err := strconv.Atoi(strings.TrimSpace(string(b)))
		if err != nil {
			return err
		}
		if limit < 1 || limit > trackedMost {
			return fmt.Errorf("this machine's table of tracked connections has room for %d, and the lab fills one of %d at most: %w", limit, trackedMost, errors.ErrUnsupported)
		}
		return l.fillTable(limit)
	})
	if err != nil {
		l.missing("connection tracking by netlink", fmt.Errorf("fill the table of tracked connections of %s: %w", host, err))
	}
}

// fillTable adds connections to the table of the calling thread's namespace until
// there is no room.
func (l *Lab) fillTable(limit int) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	const batch = 256 // of requests that one system call takes
	request, answers := make([]byte, 0, batch*256), make([]byte, 1<<16)
	for i := 0; i <= limit; {
		request = request[:0]
		for range batch {
			request = appendTracked(request, uint32(i))
			i++
		}
		if err := unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			return err
		}
		// Only a request that failed is answered, at once.
		n, _, err := unix.Recvfrom(fd, answers, unix.MSG_DONTWAIT)
		switch {
		case errors.Is(err, unix.EAGAIN):
			if err := l.ctx.Err(); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		case n < unix.SizeofNlMsghdr+4:
			return fmt.Errorf("an answer of %d bytes", n)
		}
		errno := syscall.Errno(-int32(binary.NativeEndian.Uint32(answers[unix.SizeofNlMsghdr:])))
		if errno == unix.ENOMEM { // what nf_conntrack_alloc says when the table is full
			return nil
		}
		return errno
	}
	return errors.New("it takes more than its limit")
}

// Of linux/netfilter/nfnetlink_conntrack.h and nf_conntrack_common.h, as far as
// unix does not have them.
const (
	ctNew       = unix.NFNL_SUBSYS_CTNETLINK << 8 // IPCTNL_MSG_CT_NEW
	ctTuple     = 1                               // CTA_TUPLE_ORIG
	ctReply     = 2                               // CTA_TUPLE_REPLY
	ctStatus    = 3                               // CTA_STATUS
	ctProtoInfo = 4                               // CTA_PROTOINFO
	ctTimeout   = 7                               // CTA_TIMEOUT

	ctAssured     = 1<<1 | 1<<2 | 1<<3 // IPS_SEEN_REPLY, IPS_ASSURED, IPS_CONFIRMED: never dropped early
	ctEstablished = 3                  // TCP_CONNTRACK_ESTABLISHED
)

// appendTracked appends the request to track the i-th connection: an established one
// of TCP between addresses that nobody has, RFC 1112 section 4, for the next hour.
func appendTracked(b []byte, i uint32) []byte {
	port := binary.BigEndian.AppendUint16(nil, uint16(i))
	from, to, one := []byte{240, 0, byte(i >> 24), byte(i >> 16)}, []byte{240, 1, 0, 1}, []byte{0, 1}
	start := len(b)
	b = binary.NativeEndian.AppendUint32(b, 0) // the length, later
	b = binary.NativeEndian.AppendUint16(b, ctNew)
	b = binary.NativeEndian.AppendUint16(b, unix.NLM_F_REQUEST|unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	b = append(b, make([]byte, 8)...)                    // sequence and sender
	b = append(b, unix.AF_INET, unix.NFNETLINK_V0, 0, 0) // struct nfgenmsg
	b = append(b, tuple(ctTuple, from, to, port, one)...)
	b = append(b, tuple(ctReply, to, from, one, port)...)
	b = append(b, attribute(ctStatus, binary.BigEndian.AppendUint32(nil, ctAssured))...)
	b = append(b, attribute(ctTimeout, binary.BigEndian.AppendUint32(nil, 3600))...)
	b = append(b, attribute(unix.NLA_F_NESTED|ctProtoInfo, attribute(unix.NLA_F_NESTED|1, attribute(1, []byte{ctEstablished})))...)
	binary.NativeEndian.PutUint32(b[start:], uint32(len(b)-start))
	return b
}

// tuple is one direction of a connection of TCP.
func tuple(kind uint16, from, to, fromPort, toPort []byte) []byte {
	const addresses, protocol = unix.NLA_F_NESTED | 1, unix.NLA_F_NESTED | 2 // CTA_TUPLE_IP, CTA_TUPLE_PROTO
	return attribute(unix.NLA_F_NESTED|kind,
		attribute(addresses, attribute(1, from), attribute(2, to)),
		attribute(protocol, attribute(1, []byte{unix.IPPROTO_TCP}), attribute(2, fromPort), attribute(3, toPort)))
}

// attribute is a netlink attribute, struct nlattr, of values whose length is
// rounded up.
func attribute(kind uint16, values ...[]byte) []byte {
	b := make([]byte, unix.NLA_HDRLEN, 128)
	for _, v := range values {
		b = append(b, v...)
	}
	binary.NativeEndian.PutUint16(b, uint16(len(b)))
	binary.NativeEndian.PutUint16(b[2:], kind)
	for len(b)%unix.NLA_ALIGNTO != 0 {
		b = append(b, 0)
	}
	return b
}
