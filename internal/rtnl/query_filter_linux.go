package rtnl

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Filters lists the BPF programs of a link's clsact qdisc. Those attached by
// tcx, which has no qdisc, are not among them.
func (r *Reader) Filters(link int) ([]Filter, error) {
	var out []Filter
	at := &netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Index: link}}
	for _, place := range []struct {
		direction string
		parent    uint32
	}{{"ingress", netlink.HANDLE_MIN_INGRESS}, {"egress", netlink.HANDLE_MIN_EGRESS}} {
		filters, err := r.h.FilterList(at, place.parent)
		switch err := broken(err); {
		case errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV):
			continue // no qdisc with filters, or the link is gone
		case errors.Is(err, unix.EOPNOTSUPP):
			return nil, nil // a kernel without filters
		case err != nil:
			return out, fmt.Errorf("list filters: %w", err)
		}
		for _, f := range filters {
			if b, ok := f.(*netlink.BpfFilter); ok && b.Id != 0 {
				out = append(out, Filter{place.direction, uint32(b.Id), Printable(b.Name)})
			}
		}
	}
	return out, nil
}

func toXDP(x *netlink.LinkXdp) XDP {
	if x == nil || !x.Attached {
		return XDP{}
	}
	mode := fmt.Sprintf("mode %d", x.AttachMode)
	switch x.AttachMode {
	case nl.XDP_ATTACHED_DRV:
		mode = "native"
	case nl.XDP_ATTACHED_SKB:
		mode = "generic"
	case xdpOffload:
		mode = "offload"
	case xdpMulti:
		mode = "multi"
	}
	return XDP{mode, x.ProgId}
}

// Of linux/if_link.h, XDP_ATTACHED_HW and XDP_ATTACHED_MULTI.
const (
	xdpOffload = 3
	xdpMulti   = 4
)
