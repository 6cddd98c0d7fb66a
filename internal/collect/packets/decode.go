package packets

import (
	"net/netip"

	"github.com/tcpwhy/tcpwhy/internal/afpacket"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/flow"
	"github.com/tcpwhy/tcpwhy/internal/wire"
)

// errOther says that a packet is in order and no evidence.
const errOther = wire.ErrProtocol

// decoder turns captured packets into evidence. It holds what it decodes into,
// and strings that come again and again.
type decoder struct {
	target netip.Addr
	ip     wire.IP
	tcp    wire.TCP
	icmp   wire.ICMP
	quoted wire.Quoted
	nd     wire.ND
	arp    wire.ARP

	text    []byte
	options map[string]string
}

// decode fills e, but for time and interface. The error is errOther for what
// the filter lets through and nobody asked for, and else says what is
// malformed.
func (d *decoder) decode(p *afpacket.Packet, e *evidence.Packet) error {
	if p.EtherType == afpacket.EtherTypeARP {
		return d.decodeARP(p.Data, e)
	}
	switch err := d.ip.Decode(p.Data); err {
	case nil:
	case wire.ErrFragment:
		return errOther
	default:
		return err
	}
	*e = evidence.Packet{
		Src:  netip.AddrPortFrom(d.ip.Src, 0),
		Dst:  netip.AddrPortFrom(d.ip.Dst, 0),
		TTL:  int(d.ip.TTL),
		IPID: d.ip.ID,
		DF:   d.ip.DF,
	}
	switch d.ip.Proto {
	case wire.ProtoTCP:
		return d.decodeTCP(e)
	case wire.ProtoICMP, wire.ProtoICMPv6:
		return d.decodeICMP(p, e)
	}
	return errOther
}

func (d *decoder) decodeTCP(e *evidence.Packet) error {
	t := &d.tcp
	if err := t.Decode(d.ip.Payload); err != nil {
		return err
	}
	e.Kind = "tcp"
	e.Src = netip.AddrPortFrom(d.ip.Src, t.SrcPort)
	e.Dst = netip.AddrPortFrom(d.ip.Dst, t.DstPort)
	e.Flags = t.Flags.String()
	e.Seq, e.Ack = t.Seq, t.Ack
	e.Window = int(t.Window)
	e.MSS = int(t.MSS)
	d.text = t.AppendOptions(d.text[:0])
	e.Options = d.intern(d.text)
	e.PayloadLen = len(t.Payload)
	if d.ip.Len >= len(t.Header) { // the capture may hold less of it
		e.PayloadLen = d.ip.Len - len(t.Header)
	}
	return nil
}

// intern gives a string for b, the same one for most packets of a run.
func (d *decoder) intern(b []byte) string {
	if s, ok := d.options[string(b)]; ok {
		return s
	}
	s := string(b)
	if d.options == nil {
		d.options = make(map[string]string)
	}
	if len(d.options) < 256 {
		d.options[s] = s
	}
	return s
}

func (d *decoder) decodeICMP(p *afpacket.Packet, e *evidence.Packet) error {
	m := &d.icmp
	if err := m.Decode(&d.ip); err != nil {
		return err
	}
	if !p.Partial && p.Len == len(p.Data) && !m.ChecksumFits(&d.ip) {
		return wire.ErrChecksum
	}
	e.Kind, e.Type, e.Code, e.MTU = "icmp", int(m.Type), int(m.Code), m.MTU
	switch {
	case m.IsError():
		d.quote(m.Body, e)
		return nil
	case m.IsEchoReply():
		return nil
	case m.V6 && (m.Type == wire.TypeSolicitation6 || m.Type == wire.TypeAdvert6):
		return d.decodeND(e)
	}
	return errOther
}

// quote judges the packet that an ICMP error quotes. Who sent it must be who
// gets the error; that holds for every untouched packet, also where the error
// is on its way out of this host.
func (d *decoder) quote(body []byte, e *evidence.Packet) {
	q := &d.quoted
	switch err := q.Decode(body); err {
	case nil:
	case wire.ErrProtocol:
		e.Quote = evidence.QuoteForeign // of a ping, or of another program
		return
	default:
		return
	}
	e.Inner = flow.Tuple{Local: q.Src(), Remote: q.Dst()}
	local := netip.AddrPortFrom(d.ip.Dst, q.SrcPort)
	e.Quote = wire.VerifyQuote(local, netip.AddrPortFrom(d.target, q.DstPort), body)
}

func (d *decoder) decodeND(e *evidence.Packet) error {
	if err := d.nd.Decode(&d.icmp); err != nil {
		return err
	}
	if d.ip.TTL != 255 {
		return wire.ErrHopLimit // RFC 4861 section 7.1
	}
	e.Kind, e.Op = "nd", "solicitation"
	if d.nd.Advert {
		e.Op = "advertisement"
	}
	e.About, e.MAC = d.nd.Target, d.nd.MAC.String()
	return nil
}

func (d *decoder) decodeARP(b []byte, e *evidence.Packet) error {
	if err := d.arp.Decode(b); err != nil {
		return err
	}
	a := &d.arp
	*e = evidence.Packet{
		Kind:  "arp",
		Src:   netip.AddrPortFrom(a.Sender, 0),
		Dst:   netip.AddrPortFrom(a.Target, 0),
		Op:    "who-has",
		About: a.Target,
		MAC:   a.SenderMAC.String(),
	}
	if a.Reply {
		e.Op, e.About = "is-at", a.Sender
	}
	return nil
}
