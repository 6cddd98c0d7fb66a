package resolve

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
)

// TestHostUnreachable sends the ICMP error of a router, which the kernel keeps
// from a UDP socket that has not asked for it with IP_RECVERR.
func TestHostUnreachable(t *testing.T) {
	n := newNetwork(t)
	conn, err := net.ListenPacket("ip4:icmp", "127.0.0.1")
	if err != nil {
		t.Skip("not supported: raw sockets (CAP_NET_RAW): ", err)
	}
	t.Cleanup(func() { conn.Close() })
	n.opts.Families, n.opts.Timeout = IPv4, time.Minute
	n.raw(ns1, func(_ *net.UDPConn, from netip.AddrPort, query []byte) {
		quoted := make([]byte, 28) // IPv4 and UDP header of the query
		quoted[0], quoted[8], quoted[9] = 0x45, 64, 17
		binary.BigEndian.PutUint16(quoted[2:], uint16(len(quoted)+len(query)))
		copy(quoted[12:], from.Addr().AsSlice())
		copy(quoted[16:], ns1.AsSlice())
		binary.BigEndian.PutUint16(quoted[20:], from.Port())
		binary.BigEndian.PutUint16(quoted[22:], n.port)
		binary.BigEndian.PutUint16(quoted[24:], uint16(8+len(query)))
		m := icmp.Message{Type: ipv4.ICMPTypeDestinationUnreachable, Code: 1, Body: &icmp.DstUnreach{Data: quoted}}
		b, err := m.Marshal(nil)
		if err != nil {
			t.Error(err)
		}
		if _, err := conn.WriteTo(b, &net.IPAddr{IP: from.Addr().AsSlice()}); err != nil {
			t.Error(err)
		}
	})
	check(t, n.collect("db.example"), want{queries: "127.53.0.1 udp db.example A:  EHOSTUNREACH\n"})
}
