package kernel

import (
	"net/netip"

	"github.com/tcpwhy/tcpwhy/internal/afpacket"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/flow"
	"github.com/tcpwhy/tcpwhy/internal/wire"
)

// packetDecoder turns captured packets into evidence. It holds what it decodes
// into, and the text of options, which come again and again.
type packetDecoder struct {
	ip      wire.IP
	tcp     wire.TCP
	icmp    wire.ICMP
	quoted  wire.Quoted
	text    []byte
	options map[string]string
}

// maxOptions bounds what the options of strangers can fill.
const maxOptions = 256

// decode fills e, but for time and interface. An error says what is malformed;
// wire.ErrProtocol and wire.ErrFragment are for what is in order and of no
// interest.
func (d *packetDecoder) decode(p *afpacket.Packet, e *evidence.Packet) error {
	if err := d.ip.Decode(p.Data); err != nil {
		return err
	}
	*e = evidence.Packet{
		Outgoing: p.Direction == afpacket.Outgoing,
		Src:      netip.AddrPortFrom(d.ip.Src, 0), Dst: netip.AddrPortFrom(d.ip.Dst, 0),
		TTL: int(d.ip.TTL), IPID: d.ip.ID, DF: d.ip.DF,
	}
	switch d.ip.Proto {
	case wire.ProtoTCP:
		return d.segment(e)
	case wire.ProtoICMP, wire.ProtoICMPv6:
		return d.error(e)
	}
	return wire.ErrProtocol
}

func (d *packetDecoder) segment(e *evidence.Packet) error {
	t := &d.tcp
	if err := t.Decode(d.ip.Payload); err != nil {
		return err
	}
	e.Kind = "tcp"
	e.Src, e.Dst = netip.AddrPortFrom(d.ip.Src, t.SrcPort), netip.AddrPortFrom(d.ip.Dst, t.DstPort)
	e.Flags, e.Seq, e.Ack = t.Flags.String(), t.Seq, t.Ack
	e.Window, e.MSS = int(t.Window), int(t.MSS)
	e.PayloadLen = max(d.ip.Len-len(t.Header), 0)
	d.text = t.AppendOptions(d.text[:0])
	s, ok := d.options[string(d.text)]
	if !ok {
		s = string(d.text)
		if len(d.options) < maxOptions {
			d.options[s] = s
		}
	}
	e.Options = s
	return nil
}

// error decodes an ICMP error that quotes a TCP segment.
func (d *packetDecoder) error(e *evidence.Packet) error {
	m := &d.icmp
	if err := m.Decode(&d.ip); err != nil {
		return err
	}
	if !m.IsError() {
		return wire.ErrProtocol
	}
	if err := d.quoted.Decode(m.Body); err != nil {
		return err
	}
	e.Kind, e.Type, e.Code, e.MTU = "icmp", int(m.Type), int(m.Code), m.MTU
	e.Inner = flow.Tuple{Local: d.quoted.Src(), Remote: d.quoted.Dst()}
	return nil
}
