package rtnl

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Arrival asks the kernel what it would do with a packet that comes in by a
// link: "" when it would take or forward it, else the errno of the refusal. A
// packet that fails the reverse path filter has EXDEV, or EINVAL from Linux 6.13
// on, which stands for other reasons, too (inet_rtm_getroute in
// net/ipv4/route.c). The mark is taken for 0, and no port is known. Where
// log_martians is on the kernel logs the question like a packet.
func (r *Reader) Arrival(from, to netip.Addr, link int) (errno string, err error) {
	from, to = from.Unmap().WithZone(""), to.Unmap().WithZone("")
	_, err = r.h.RouteGetWithOptions(to.AsSlice(), &netlink.RouteGetOptions{SrcAddr: from.AsSlice(), IifIndex: link})
	var e unix.Errno
	switch {
	case errors.As(err, &e) && (e == unix.EXDEV || isAnswer(e)):
		return unix.ErrnoName(e), nil
	case err != nil:
		return "", fmt.Errorf("packet from %s to %s: %w", from, to, err)
	}
	return "", nil
}

// RulesLookAt tells by what, beside addresses and interfaces, the policy rules
// of a family choose.
func (r *Reader) RulesLookAt(v6 bool) (Criteria, error) {
	rules, err := r.h.RuleList(family(v6))
	if err := broken(err); err != nil {
		return Criteria{}, fmt.Errorf("list rules: %w", err)
	}
	var c Criteria
	for _, rule := range rules {
		c.Mark = c.Mark || rule.Mark != 0 || rule.Mask != nil && *rule.Mask != 0
		c.Packet = c.Packet || rule.Tos != 0 || rule.IPProto != 0 || rule.Sport != nil || rule.Dport != nil || rule.TunID != 0
		c.Unnamed = c.Unnamed || rule.Tos != 0 || rule.Sport != nil || rule.TunID != 0 || l3mdev(rule)
	}
	return c, nil
}

// IPsec says whether the network namespace of the calling thread has security
// associations of IPsec, by which packets can come in that the reverse path
// filter does not look at. It needs CAP_NET_ADMIN and wraps EPERM without it.
func IPsec() (bool, error) {
	req := nl.NewNetlinkRequest(nl.XFRM_MSG_GETSADINFO, unix.NLM_F_REQUEST)
	req.AddRawData(nl.Uint32Attr(^uint32(0))) // flags, of which nothing is used
	replies, err := req.Execute(unix.NETLINK_XFRM, nl.XFRM_MSG_NEWSADINFO)
	switch {
	case errors.Is(err, unix.EPROTONOSUPPORT): // a kernel without
		return false, nil
	case err != nil:
		return false, fmt.Errorf("count IPsec associations: %w", err)
	}
	for _, b := range replies {
		if len(b) < 4 {
			continue
		}
		attrs, err := nl.ParseRouteAttr(b[4:])
		if err != nil {
			return false, fmt.Errorf("count IPsec associations: %w", err)
		}
		for _, a := range attrs {
			if a.Attr.Type == sadCount && len(a.Value) >= 4 {
				return binary.NativeEndian.Uint32(a.Value) > 0, nil
			}
		}
	}
	return false, errors.New("count IPsec associations: the kernel's answer has no count")
}

// sadCount is XFRMA_SAD_CNT of linux/xfrm.h.
const sadCount = 1
