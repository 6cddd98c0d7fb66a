package wire

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// quotes are packets as ICMP errors brought them back to 10.77.1.2 or
// fd77:1::2, captured on Linux 6.18 between namespaces with two routers.
var quotes = []struct {
	name string
	want evidence.Quote
	hex  string
}{
	{"rejected on the way, checksum left to the interface", evidence.QuoteIntact,
		"4500003c885740003e069bc70a4d01020a4d03028d0600509bc9e03f00000000a002faf018cc0000020405b40402080a493abc0c000000000103030a"},
	{"rejected on the way, checksum complete", evidence.QuoteIntact,
		"4500003cf9c340003e062a5b0a4d01020a4d03028d2600500ea0821d00000000a002faf034ef0000020405b40402080a3829a922000000000103030a"},
	{"translated to a dead host, checksum left to the interface", evidence.QuoteRewritten,
		"4500003c754840003f06add60a4d01020a4d03028d100050fa32fa8c00000000a002faf024da0000020405b40402080a5035968d000000000103030a"},
	// Here Linux restores the checksum along with the address, and nothing is
	// left to tell.
	{"translated to a dead host, checksum complete", evidence.QuoteIntact,
		"4500003c581f40003f06caff0a4d01020a4d03028d2e0050528c9ec500000000a002faf05c2a0000020405b40402080ad8ac80c7000000000103030a"},
	{"source translated, checksum left to the interface", evidence.QuoteRewritten,
		"4500003c7b1440003e06a90a0a4d01020a4d03028d220050c9e1924e00000000a002faf01aca0000020405b40402080aa54835ef000000000103030a"},
	{"IPv6, checksum left to the interface", evidence.QuoteIntact,
		"6003b8690028063efd770001000000000000000000000002fd7700030000000000000000000000028a5c005000e3082800000000a002fd20fb250000020405a00402080ad1c3215a000000000103030a"},
	{"IPv6, checksum complete", evidence.QuoteIntact,
		"6001d5510028063efd770001000000000000000000000002fd7700030000000000000000000000028a840050531bc25e00000000a002fd20627d0000020405a00402080aef365df6000000000103030a"},
	{"IPv6 translated to a dead host", evidence.QuoteRewritten,
		"6001e65c0028063ffd770001000000000000000000000002fd7700030000000000000000000000028a660050c05fd64000000000a002fd20fb3f0000020405a00402080acf754b3c000000000103030a"},
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestVerifyQuote(t *testing.T) {
	for _, c := range quotes {
		t.Run(c.name, func(t *testing.T) {
			b := unhex(t, c.hex)
			var q Quoted
			if err := q.Decode(b); err != nil {
				t.Fatal(err)
			}
			if got := VerifyQuote(q.Src(), q.Dst(), b); got != c.want {
				t.Errorf("with IP header: %q, want %q", got, c.want)
			}
			if got := VerifyQuotedTCP(q.Src(), q.Dst(), q.IP.Payload); got != c.want {
				t.Errorf("TCP header only: %q, want %q", got, c.want)
			}
			// Extensions of the ICMP message may follow the quote.
			long := append(bytes.Clone(q.IP.Payload), 0, 0, 0, 0, 0x20, 0, 1, 2, 3)
			if got := VerifyQuotedTCP(q.Src(), q.Dst(), long); got != c.want {
				t.Errorf("TCP header and more: %q, want %q", got, c.want)
			}
			mapped := netip.AddrPortFrom(netip.AddrFrom16(q.IP.Src.As16()), q.SrcPort)
			if got := VerifyQuote(mapped, q.Dst(), b); got != c.want {
				t.Errorf("mapped address: %q, want %q", got, c.want)
			}
			other := netip.AddrPortFrom(q.IP.Dst, q.DstPort+1)
			if got := VerifyQuotedTCP(q.Src(), other, q.IP.Payload); got != evidence.QuoteForeign {
				t.Errorf("another port: %q", got)
			}
			if got := VerifyQuote(q.Src(), netip.AddrPortFrom(q.IP.Src, q.DstPort), b); got != evidence.QuoteForeign {
				t.Errorf("another address: %q", got)
			}
			if got := VerifyQuote(q.Src(), q.Dst(), b[:len(b)-len(q.IP.Payload)+8]); got != evidence.QuoteUnknown {
				t.Errorf("8 bytes of TCP: %q", got)
			}
		})
	}
}

// However an untouched SYN is cut and padded, nothing says rewritten.
func TestVerifyQuoteCut(t *testing.T) {
	for _, c := range quotes {
		if c.want != evidence.QuoteIntact {
			continue
		}
		b := unhex(t, c.hex)
		var q Quoted
		if err := q.Decode(b); err != nil {
			t.Fatal(err)
		}
		for n := range b {
			padded := make([]byte, 128)
			copy(padded, b[:n])
			for name, b := range map[string][]byte{"cut": b[:n], "cut and padded": padded} {
				if got := VerifyQuote(q.Src(), q.Dst(), b); got == evidence.QuoteRewritten {
					t.Errorf("%s, %s to %d bytes: %q", c.name, name, n, got)
				}
			}
		}
	}
}

// Of a segment that may carry data only a fitting checksum says anything.
func TestVerifyQuoteOfData(t *testing.T) {
	s := segments()[1]
	s.Options = AppendSYNOptions(nil, 0, 0)
	b := s.Append(nil)
	if got := VerifyQuotedTCP(s.Src, s.Dst, b[20:]); got != evidence.QuoteIntact {
		t.Errorf("bare ACK: %q", got)
	}
	b[36] ^= 0xff
	if got := VerifyQuotedTCP(s.Src, s.Dst, b[20:]); got != evidence.QuoteUnknown {
		t.Errorf("ACK of unknown length: %q", got)
	}
	if got := VerifyQuote(s.Src, s.Dst, b); got != evidence.QuoteRewritten {
		t.Errorf("ACK known to be bare: %q", got)
	}
	b[3] += 10 // 10 bytes of data follow
	if got := VerifyQuote(s.Src, s.Dst, b); got != evidence.QuoteUnknown {
		t.Errorf("ACK with data: %q", got)
	}
}
