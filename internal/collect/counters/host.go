package counters

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/rtnl"
)

// matter are the counters that tell of handshakes that failed here, whether
// they changed or not: snmp_counter.rst of the kernel's documentation.
var matter = [...]string{
	"TcpExt.ListenOverflows", "TcpExt.ListenDrops", "TcpExt.TCPReqQFullDrop", "TcpExt.TCPReqQFullDoCookies",
	"TcpExt.SyncookiesSent", "TcpExt.SyncookiesRecv", "TcpExt.SyncookiesFailed", "TcpExt.IPReversePathFilter",
	"TcpExt.TCPMD5NotFound", "TcpExt.TCPMD5Unexpected", "TcpExt.TCPMD5Failure",
	"TcpExt.TCPAONotFound", "TcpExt.TCPAOBad", "TcpExt.TCPAOKeyNotFound", "TcpExt.TCPAORequired",
	"TcpExt.TCPBacklogDrop", "TcpExt.TCPAbortOnOverflow", "TcpExt.TCPAbortOnMemory", "TcpExt.TCPTimeWaitOverflow",
	"TcpExt.PAWSPassive", "TcpExt.PAWSEstab", "TcpExt.TSEcrRejected", "TcpExt.PFMemallocDrop", "TcpExt.TCPMemoryPressures",
	"Tcp.PassiveOpens", "Tcp.AttemptFails", "Tcp.EstabResets", "Tcp.CurrEstab", "Tcp.InErrs", "Tcp.InCsumErrors", "Tcp.OutRsts",
	"Ip.InHdrErrors", "Ip.InAddrErrors", "Ip.InDiscards", "Ip.OutDiscards", "Ip.OutNoRoutes",
	"Ip6.InHdrErrors", "Ip6.InAddrErrors", "Ip6.InDiscards", "Ip6.OutDiscards", "Ip6.InNoRoutes", "Ip6.OutNoRoutes",
	"conntrack.insert_failed", "conntrack.drop", "conntrack.early_drop", "conntrack.invalid",
	"softnet.dropped", "softnet.time_squeeze",
}

// maxLinks bounds the interfaces whose counters are kept.
const maxLinks = 512

// Host reads every counter of the calling thread's network namespace that there
// is. Those of softnet are the machine's: the kernel has them once for all
// namespaces. Where some cannot be read it returns the others and the error.
// The caller sets At; Since makes what is to be shown of two.
func Host(ctx context.Context) (evidence.HostCounters, error) {
	c := evidence.HostCounters{ConntrackCount: -1, ConntrackMax: -1}
	if err := ctx.Err(); err != nil {
		return c, err
	}
	snap, err := Snapshot()
	errs := []error{err}
	c.Now = snap.values
	text, err := read(netDir + "softnet_stat")
	if err == nil {
		err = parseSoftnet(text, c.Now)
	}
	if err != nil {
		errs = append(errs, fmt.Errorf("kernel counters softnet_stat: %w", err))
	}
	if err := drops(c.Now); err != nil {
		errs = append(errs, fmt.Errorf("counters of interfaces: %w", err))
	}
	if c.ConntrackCount, c.ConntrackMax, err = conntrack(); err != nil {
		errs = append(errs, fmt.Errorf("connection table of this host: %w", err))
	}
	if err := tracked(c.Now, c.ConntrackMax >= 0); err != nil {
		errs = append(errs, fmt.Errorf("statistics of the connection table: %w", err))
	}
	return c, errors.Join(errs...)
}

// tracked adds what the connection table counted: "conntrack.drop". A kernel
// may have the table without the file for it, and tells root by netlink then.
func tracked(into map[string]int64, table bool) error {
	text, err := read(netDir + "stat/nf_conntrack")
	switch {
	case err == nil:
		return parseConntrack(text, into)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	case !table:
		return nil
	}
	stats, err := rtnl.TrackStats()
	for name, v := range stats {
		into["conntrack."+name] = v
	}
	return err
}

// drops adds what each interface dropped: "eth0.rx_dropped".
func drops(into map[string]int64) error {
	r, err := rtnl.NewReader()
	if err != nil {
		return err
	}
	defer r.Close()
	kept := 0
	links, err := r.Drops()
	if err != nil {
		return err
	}
	for _, index := range slices.Sorted(maps.Keys(links)) {
		if kept++; kept > maxLinks {
			break
		}
		d := links[index]
		name := rtnl.Printable(d.Name)
		into[name+".rx_dropped"] = int64(d.Received)
		into[name+".rx_missed"] = int64(d.Missed)
		into[name+".tx_dropped"] = int64(d.Transmitted)
	}
	return nil
}

// matters says whether a counter is shown though it did not change.
func matters(name string, value int64) bool {
	if slices.Contains(matter[:], name) {
		return true
	}
	ofLink := strings.HasSuffix(name, ".rx_dropped") || strings.HasSuffix(name, ".rx_missed") || strings.HasSuffix(name, ".tx_dropped")
	return ofLink && value != 0
}

// Since is after with the change since before, without the counters that are
// neither among those that tell of handshakes nor changed nor, being of an
// interface, above zero.
func Since(before, after evidence.HostCounters) evidence.HostCounters {
	out := after
	out.Delta = Snap{after.Now}.since(Snap{before.Now})
	out.Now = maps.Clone(after.Now)
	maps.DeleteFunc(out.Now, func(name string, value int64) bool {
		_, changed := out.Delta[name]
		return !changed && !matters(name, value)
	})
	return out
}
