package rtnl

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// lookupSocket opens a socket on the network namespace of the calling thread.
func lookupSocket() (*nl.NetlinkSocket, error) {
	s, err := nl.GetNetlinkSocketAt(netns.None(), netns.None(), unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	tv := unix.NsecToTimeval(patience.Nanoseconds())
	if err := errors.Join(s.SetSendTimeout(&tv), s.SetReceiveTimeout(&tv)); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// looked is the kernel's answer to RTM_GETROUTE.
type looked struct {
	kind, table, link, mtu int
	dst                    netip.Prefix
	gateway, source        netip.Addr
}

// lookup asks for the route of a packet or, with match, for the entry of the
// table that it comes from. Kernels before 4.17 pass over protocol and port,
// about which their policy rules cannot be.
func (r *Reader) lookup(q Lookup, match bool) (looked, error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETROUTE, 0)
	req.Sockets = r.lookups
	bits := uint8(q.To.BitLen())
	msg := &nl.RtMsg{RtMsg: unix.RtMsg{Family: uint8(family(q.To.Is6())), Dst_len: bits, Flags: unix.RTM_F_LOOKUP_TABLE}}
	if match {
		msg.Flags |= unix.RTM_F_FIB_MATCH
	}
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(unix.RTA_DST, q.To.AsSlice()))
	if q.From.IsValid() {
		msg.Src_len = bits
		req.AddData(nl.NewRtAttr(unix.RTA_SRC, q.From.AsSlice()))
	}
	if q.Link != 0 {
		req.AddData(nl.NewRtAttr(unix.RTA_OIF, nl.Uint32Attr(uint32(q.Link))))
	}
	if q.Port != 0 {
		req.AddData(nl.NewRtAttr(unix.RTA_IP_PROTO, []byte{unix.IPPROTO_TCP}))
		req.AddData(nl.NewRtAttr(unix.RTA_DPORT, binary.BigEndian.AppendUint16(nil, q.Port)))
	}
	replies, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWROUTE)
	switch {
	case err != nil:
		return looked{}, err
	case len(replies) == 0 || len(replies[0]) < unix.SizeofRtMsg:
		return looked{}, errors.New("empty answer")
	}
	return readRoute(replies[0])
}

// readRoute reads struct rtmsg and its attributes.
func readRoute(b []byte) (looked, error) {
	msg := nl.DeserializeRtMsg(b)
	attrs, err := nl.ParseRouteAttr(b[unix.SizeofRtMsg:])
	if err != nil {
		return looked{}, err
	}
	out := looked{kind: int(msg.Type), table: int(msg.Table)}
	if msg.Dst_len == 0 { // a default route, whose destination is left out
		out.dst = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		if msg.Family == unix.AF_INET6 {
			out.dst = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
	}
	number := func(v []byte) int {
		if len(v) < 4 {
			return 0
		}
		return int(binary.NativeEndian.Uint32(v))
	}
	for _, a := range attrs {
		switch a.Attr.Type {
		case unix.RTA_TABLE:
			out.table = number(a.Value)
		case unix.RTA_OIF:
			out.link = number(a.Value)
		case unix.RTA_PREFSRC:
			out.source = toAddr(a.Value)
		case unix.RTA_GATEWAY:
			out.gateway = toAddr(a.Value)
		case unix.RTA_VIA: // struct rtvia: a family, then the address
			if len(a.Value) > 2 {
				out.gateway = toAddr(a.Value[2:])
			}
		case unix.RTA_DST:
			out.dst = toPrefix(&net.IPNet{IP: a.Value, Mask: net.CIDRMask(int(msg.Dst_len), 8*len(a.Value))})
		case unix.RTA_METRICS:
			metrics, err := nl.ParseRouteAttr(a.Value)
			if err != nil {
				return out, err
			}
			for _, m := range metrics {
				if m.Attr.Type == unix.RTAX_MTU {
					out.mtu = number(m.Value)
				}
			}
		}
	}
	return out, nil
}
