// Package counters tells what the kernel counted during the attempts, and how
// close this host is to the limits that make a connect fail: ephemeral ports,
// the connection table, descriptors. Host does so for the host that is asked
// for a connection, with what its interfaces and its connection table dropped.
//
// Everything is of the network namespace of the calling thread, which is why it
// reads /proc/thread-self/net: /proc/net is that of the main thread. It imports
// sockdiag, rtnl, collect and evidence.
package counters

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

const (
	netDir  = "/proc/thread-self/net/"
	sysDir  = "/proc/sys/"
	maxFile = 1 << 20 // bytes read of one file; the real ones have a few thousand
)

// sysctls are the settings that bear on how a connect fails, ip-sysctl.rst.
var sysctls = [...]string{
	"net.ipv4.tcp_ecn", "net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports",
	"net.ipv4.tcp_syn_retries", "net.ipv4.tcp_syncookies", "net.ipv4.tcp_tw_reuse",
	"net.ipv4.ip_default_ttl", "net.ipv4.ping_group_range",
}

// Snap is what the counters were at one moment.
type Snap struct{ values map[string]int64 }

// Snapshot reads /proc/net/netstat and snmp, and snmp6 where there is IPv6.
// Where some of them cannot be read it returns the others and the error.
func Snapshot() (Snap, error) {
	s := Snap{make(map[string]int64, 512)}
	var errs []error
	for _, f := range []struct {
		name  string
		parse func(string, map[string]int64) error
	}{{"netstat", parseTables}, {"snmp", parseTables}, {"snmp6", parseLines}} {
		text, err := read(netDir + f.name)
		switch {
		case err == nil:
			err = f.parse(text, s.values)
		case f.name == "snmp6" && errors.Is(err, fs.ErrNotExist):
			continue // no IPv6
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("kernel counters %s: %w", f.name, err))
		}
	}
	return s, errors.Join(errs...)
}

// Collect reads what changed since before, the settings, and the limits
// towards the target. What could not be read is absent from the result (-1 for
// the connection table) and named in the list beside it. A connection table of
// -1 that is not in the list does not exist: connections are not tracked here.
func Collect(env collect.Env, before Snap, target netip.AddrPort) (evidence.Counters, []evidence.NotChecked) {
	c := evidence.Counters{Sysctl: make(map[string]string, len(sysctls))}
	var missed []evidence.NotChecked
	miss := func(check string, err error, keys ...evidence.Key) {
		missed = append(missed, evidence.NotChecked{Check: check, Reason: err.Error(), Keys: keys})
	}

	now, err := Snapshot()
	if err != nil {
		miss("kernel counters during the attempt", err)
	}
	c.Delta = now.since(before)

	for _, name := range sysctls {
		if v, err := sysctl(name); err == nil {
			c.Sysctl[name] = v
		} else if !errors.Is(err, fs.ErrNotExist) {
			miss("setting "+name, err)
		}
	}
	if c.PortsUsed, c.PortsTotal, err = ports(env, c.Sysctl, target); err != nil {
		miss("ephemeral ports in use", err, evidence.PortsHere)
	}
	if c.ConntrackCount, c.ConntrackMax, err = conntrack(); err != nil {
		miss("connection table of this host", err, evidence.TrackHere)
	}
	if c.FilesUsed, c.FilesLimit, err = files(); err != nil {
		miss("descriptors of this process", err, evidence.FilesHere)
	}
	return c, missed
}

// since is the change of every counter that changed. A counter that one of the
// two snapshots lacks tells nothing.
func (s Snap) since(before Snap) map[string]int64 {
	var delta map[string]int64
	for name, v := range s.values {
		if old, ok := before.values[name]; ok && old != v {
			if delta == nil {
				delta = make(map[string]int64)
			}
			delta[name] = v - old
		}
	}
	return delta
}

// sysctl reads a setting by its dotted name, with tabs as spaces.
func sysctl(name string) (string, error) {
	s, err := read(sysDir + strings.ReplaceAll(name, ".", "/"))
	return strings.Join(strings.Fields(s), " "), err
}

// conntrack gives the size and the limit of the table of tracked connections,
// -1 when not readable or when there is no such table.
func conntrack() (count, limit int, err error) {
	count, err = number("net.netfilter.nf_conntrack_count")
	if err == nil {
		limit, err = number("net.netfilter.nf_conntrack_max")
	}
	switch {
	case err == nil:
		return count, limit, nil
	case errors.Is(err, fs.ErrNotExist) && exists(sysDir+"net/ipv4"):
		return -1, -1, nil // the module is not loaded
	}
	return -1, -1, err
}

func number(name string) (int, error) {
	s, err := sysctl(name)
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, fmt.Errorf("setting %s: %w", name, err)
	}
	return n, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// read reads a file of /proc, at most maxFile bytes of it.
func read(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	return string(b), err
}
