package wire

import (
	"net/netip"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// VerifyQuote judges the packet that an ICMP error quotes, starting with its
// IP header, against the addresses and ports it had when it left here. It is
// foreign if those in the quote are others. For the rest see VerifyQuotedTCP.
func VerifyQuote(local, remote netip.AddrPort, quoted []byte) evidence.Quote {
	var q Quoted
	if err := q.Decode(quoted); err != nil {
		return evidence.QuoteUnknown
	}
	if q.Src() != plain(local) || q.Dst() != plain(remote) {
		return evidence.QuoteForeign
	}
	return verifyTCP(local.Addr(), remote.Addr(), q.IP.Payload, q.IP.Len)
}

// VerifyQuotedTCP judges a quoted TCP header and what follows, as an ordinary
// user's socket gets it from its error queue (ip(7), IP_RECVERR).
//
// It is foreign if the ports are not the socket's. A whole header of a segment
// without payload is intact if its checksum fits the addresses given, and
// rewritten if it does not: a translator that restores the addresses in the
// quote often leaves a checksum that tells of others. Some restore the
// checksum too (Linux does when the checksum was complete), so intact does not
// prove that nothing translates. When too little was quoted it is unknown.
//
// A SYN is taken to have no payload; of other segments the length is not known
// here, and only a checksum that fits says anything.
func VerifyQuotedTCP(local, remote netip.AddrPort, header []byte) evidence.Quote {
	if len(header) < 4 {
		return evidence.QuoteUnknown
	}
	src, dst := uint16(header[0])<<8|uint16(header[1]), uint16(header[2])<<8|uint16(header[3])
	if src != local.Port() || dst != remote.Port() {
		return evidence.QuoteForeign
	}
	return verifyTCP(local.Addr(), remote.Addr(), header, -1)
}

// verifyTCP does the work; length is that of the segment by its IP header, or
// -1. A SYN goes by its own header alone: routers have been seen to quote IP
// headers with lengths changed or in the wrong byte order.
func verifyTCP(src, dst netip.Addr, b []byte, length int) evidence.Quote {
	var t TCP
	if t.Decode(b) != nil || t.BadOptions {
		return evidence.QuoteUnknown
	}
	// The checksum of a SYN covers its header, and of any other segment
	// without payload as well.
	bare := t.Flags&(SYN|ACK|RST|FIN) == SYN || length == len(t.Header)
	p := pseudo(src.Unmap(), dst.Unmap(), ProtoTCP, len(t.Header))
	switch whole := fold(sum(t.Header, p)); {
	case whole == 0xffff:
		return evidence.QuoteIntact
	case t.Checksum == fold(p):
		// A packet whose checksum the interface was to complete, and that has
		// met no real interface on its way: between namespaces, or refused by
		// this host itself. The field holds the sum of the pseudo-header.
		return evidence.QuoteIntact
	case bare && t.Header[len(t.Header)-1] != 0:
		// A header that ends in 0 may have been cut there and padded with
		// zeros (RFC 4884 section 5.1). The SYNs of Linux end in a window scale
		// or a no-op.
		return evidence.QuoteRewritten
	}
	return evidence.QuoteUnknown
}

// plain takes zone and mapping off, which no packet carries.
func plain(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}
