package nfttrace

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// trace encodes a message as nft_trace_notify does.
func trace(t testing.TB, family byte, fill func(ae *netlink.AttributeEncoder)) []byte {
	t.Helper()
	ae := netlink.NewAttributeEncoder()
	ae.ByteOrder = binary.BigEndian
	fill(ae)
	b, err := ae.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return append(general(family, 0), b...)
}

var (
	tcp  = []byte{0x1f, 0x90, 0, 80, 0, 0, 0, 7, 0, 0, 0, 9, 0x50, 0x12, 0, 0, 0, 0, 0, 0}
	ipv4 = []byte{0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2}
	ipv6 = append([]byte{0x60, 0, 0, 0, 0, 20, 6, 64},
		append(netip.MustParseAddr("2001:db8::1").AsSlice(), netip.MustParseAddr("2001:db8::2").AsSlice()...)...)
)

func TestDecode(t *testing.T) {
	got, err := decode(trace(t, unix.NFPROTO_INET, func(ae *netlink.AttributeEncoder) {
		ae.Uint32(unix.NFTA_TRACE_NFPROTO, unix.NFPROTO_IPV6)
		ae.Uint32(unix.NFTA_TRACE_TYPE, unix.NFT_TRACETYPE_RULE)
		ae.Uint32(unix.NFTA_TRACE_ID, 0xdeadbeef)
		ae.String(unix.NFTA_TRACE_CHAIN, "input")
		ae.String(unix.NFTA_TRACE_TABLE, "filter")
		ae.Uint64(unix.NFTA_TRACE_RULE_HANDLE, 1<<40)
		ae.Nested(unix.NFTA_TRACE_VERDICT, func(ae *netlink.AttributeEncoder) error {
			ae.ByteOrder = binary.BigEndian
			var jump int32 = unix.NFT_JUMP
			ae.Uint32(unix.NFTA_VERDICT_CODE, uint32(jump))
			ae.String(unix.NFTA_VERDICT_CHAIN, "sub")
			return nil
		})
		ae.Uint32(unix.NFTA_TRACE_MARK, 5)
		ae.Uint32(unix.NFTA_TRACE_IIF, 2)
		ae.Uint32(unix.NFTA_TRACE_OIF, 3)
		ae.Bytes(unix.NFTA_TRACE_LL_HEADER, []byte{1, 2})
		ae.Bytes(unix.NFTA_TRACE_NETWORK_HEADER, ipv6)
		ae.Bytes(unix.NFTA_TRACE_TRANSPORT_HEADER, tcp)
		ae.Uint32(99, 1) // of a later kernel
	}))
	want := Event{
		Chain: Chain{"inet", "filter", "input"}, ID: 0xdeadbeef, Kind: KindRule, Handle: 1 << 40,
		Verdict: Jump, Jump: "sub", Mark: 5, V6: true, In: 2, Out: 3, Link: []byte{1, 2},
		Packet: &Packet{
			Src: netip.MustParseAddrPort("[2001:db8::1]:8080"), Dst: netip.MustParseAddrPort("[2001:db8::2]:80"),
			Seq: 7, Ack: 9, Flags: 0x12,
		},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestVerdict(t *testing.T) {
	for code, want := range map[int32]Verdict{
		0: Drop, 1: Accept, 2: Stolen, 3: Queue, 0x0007_0003: Queue, -0x7f_0000: Drop, // with an errno, NF_DROP_ERR
		unix.NFT_CONTINUE: Continue, unix.NFT_BREAK: Continue, unix.NFT_JUMP: Jump, unix.NFT_GOTO: Goto, unix.NFT_RETURN: Return,
		4: "verdict 0x4",
	} {
		if got := verdict(uint32(code)); got != want {
			t.Errorf("%d: %s, want %s", code, got, want)
		}
	}
}

func TestSegment(t *testing.T) {
	if p := segment(ipv4, tcp); p == nil || p.Src != netip.MustParseAddrPort("192.0.2.1:8080") || p.Dst != netip.MustParseAddrPort("192.0.2.2:80") {
		t.Errorf("%+v", p)
	}
	udp := append([]byte(nil), ipv4...)
	udp[9] = unix.IPPROTO_UDP
	extended := append([]byte(nil), ipv6...)
	extended[6] = 0
	for _, c := range [][2][]byte{{nil, nil}, {ipv4, nil}, {nil, tcp}, {ipv4[:19], tcp}, {ipv4, tcp[:19]}, {ipv6[:39], tcp}, {udp, tcp}, {extended, tcp}, {make([]byte, 40), tcp}} {
		if p := segment(c[0], c[1]); p != nil {
			t.Errorf("% x: %+v", c, p)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(trace(f, unix.NFPROTO_INET, func(ae *netlink.AttributeEncoder) {
		ae.String(unix.NFTA_TRACE_CHAIN, "input")
		ae.Bytes(unix.NFTA_TRACE_NETWORK_HEADER, ipv4)
		ae.Bytes(unix.NFTA_TRACE_TRANSPORT_HEADER, tcp)
		ae.Uint32(unix.NFTA_TRACE_POLICY, 1)
	}))
	f.Add(trace(f, unix.NFPROTO_IPV6, func(ae *netlink.AttributeEncoder) {
		ae.Nested(unix.NFTA_RULE_EXPRESSIONS, func(ae *netlink.AttributeEncoder) error {
			ae.Nested(unix.NFTA_LIST_ELEM, func(ae *netlink.AttributeEncoder) error {
				ae.String(unix.NFTA_EXPR_NAME, "target")
				ae.Nested(unix.NFTA_EXPR_DATA, func(ae *netlink.AttributeEncoder) error {
					ae.String(unix.NFTA_TARGET_NAME, "REJECT")
					ae.Bytes(unix.NFTA_TARGET_INFO, []byte{1, 0, 0, 0})
					return nil
				})
				return nil
			})
			return nil
		})
	}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := decode(data)
		if err == nil && e.Packet != nil && (!e.Packet.Src.IsValid() || !e.Packet.Dst.IsValid()) {
			t.Errorf("%+v", e.Packet)
		}
		// The answers to Lookup.
		var r Rule
		_ = r.chain(data)
		_ = r.rule(data, false)
		_ = r.rule(data, true)
		generation(data)
		name(data, unix.NFTA_TABLE_NAME)
	})
}
