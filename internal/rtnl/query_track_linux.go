package rtnl

import (
	"encoding/binary"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Of linux/netfilter/nfnetlink_conntrack.h.
const (
	getTrackStats = unix.NFNL_SUBSYS_CTNETLINK<<8 | 4 // IPCTNL_MSG_CT_GET_STATS_CPU
	typeMask      = 0x3fff                            // NLA_TYPE_MASK
)

// trackStats are enum ctattr_stats_cpu, in the words of the kernel's
// /proc/net/stat/nf_conntrack.
var trackStats = map[uint16]string{
	2: "found", 4: "invalid", 8: "insert", 9: "insert_failed", 10: "drop", 11: "early_drop",
	12: "icmp_error", 13: "search_restart", 14: "clashres", 15: "chainlength",
}

// TrackStats gives what tracking of connections has counted on all CPUs in the
// network namespace of the calling thread; nothing where it is not there. It
// needs CAP_NET_ADMIN over the namespace and wraps EPERM without it.
func TrackStats() (map[string]int64, error) {
	req := nl.NewNetlinkRequest(getTrackStats, unix.NLM_F_DUMP)
	req.AddData(&nl.Nfgenmsg{NfgenFamily: unix.AF_UNSPEC, Version: nl.NFNETLINK_V0})
	cpus, err := req.Execute(unix.NETLINK_NETFILTER, 0)
	if err := broken(err); err != nil {
		return nil, fmt.Errorf("statistics of tracked connections: %w", err)
	}
	out := make(map[string]int64)
	for _, b := range cpus {
		if len(b) < nl.SizeofNfgenmsg {
			continue
		}
		attrs, err := nl.ParseRouteAttr(b[nl.SizeofNfgenmsg:])
		if err != nil {
			return nil, fmt.Errorf("statistics of tracked connections: %w", err)
		}
		for _, a := range attrs {
			if name := trackStats[a.Attr.Type&typeMask]; name != "" && len(a.Value) >= 4 {
				out[name] += int64(binary.BigEndian.Uint32(a.Value))
			}
		}
	}
	return out, nil
}
