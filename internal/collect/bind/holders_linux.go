package bind

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/procinfo"
	"github.com/tcpwhy/tcpwhy/internal/rtnl"
	"github.com/tcpwhy/tcpwhy/internal/sockdiag"
	"github.com/tcpwhy/tcpwhy/internal/tcpsock"
)

func bindToDevice(fd int, name string) error { return unix.BindToDevice(fd, name) }

// inTheWay are the states of sockets that occupy their port. A connection that
// is half-open does not: it has no socket yet.
const inTheWay = (sockdiag.Connections | 1<<sockdiag.Listen | 1<<sockdiag.BoundInactive) &^
	(1<<sockdiag.SynRecv | 1<<sockdiag.NewSynRecv)

// holders lists the sockets in the way of a socket of this place, and counts the
// connections in TIME_WAIT. Where somebody listens, or is bound, the connections
// are his and are not listed.
func (p place) holders(ctx context.Context) (list []evidence.Listener, timeWait int, err error) {
	conn, err := sockdiag.Dial(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer conn.Close()
	var bound, connected []evidence.Listener
	made := make(map[uint64]uint64) // control groups by inode
	for s, err := range conn.Sockets(sockdiag.Query{States: inTheWay, LocalPort: p.addr.Port(), V4: true, V6: true}) {
		if err != nil {
			return nil, 0, err
		}
		if !p.overlaps(s) {
			continue
		}
		l := evidence.Listener{Addr: s.Local, V6Only: s.V6Only, UID: s.UID, Inode: s.Inode}
		if s.Device != 0 {
			l.Device = strconv.Itoa(s.Device) // its name comes later
		}
		switch {
		case s.State == sockdiag.TimeWait:
			timeWait++
		case s.State == sockdiag.Listen:
			l.Queue, l.Backlog = int(s.RecvQ), int(s.SendQ)
			made[s.Inode] = s.Cgroup
			bound = append(bound, l)
		case s.State == sockdiag.BoundInactive:
			l.State = "BOUND_INACTIVE"
			made[s.Inode] = s.Cgroup
			bound = append(bound, l)
		case len(connected) < maxHolders:
			l.State, l.Remote = tcpsock.State(s.State).String(), s.Remote
			made[s.Inode] = s.Cgroup
			connected = append(connected, l)
		}
	}
	slices.SortStableFunc(bound, func(a, b evidence.Listener) int { return cmp.Compare(len(a.State), len(b.State)) })
	if list = bound; len(list) == 0 {
		list = connected
	}
	list = list[:min(len(list), maxHolders)]
	nameDevices(list)

	ctx, cancel := context.WithTimeout(ctx, ownerTime)
	defer cancel()
	inodes, ids := make([]uint64, len(list)), make([]uint64, len(list))
	for i, l := range list {
		inodes[i], ids[i] = l.Inode, made[l.Inode]
	}
	groups := procinfo.FindGroups(ctx, ids...)
	owners := sockdiag.Owners(ctx, groups.Processes(), inodes...)
	for i := range list {
		l := &list[i]
		l.PID, l.Process = owners[l.Inode].PID, owners[l.Inode].Name
		if l.PID == 0 {
			l.Unit, l.Container = groups.Unit(made[l.Inode])
		}
	}
	procinfo.Describe(list)
	return list, timeWait, nil
}

// overlaps says that the addresses of a socket and of the place cannot both be
// bound, SO_REUSEADDR and SO_REUSEPORT aside: inet_rcv_saddr_equal and
// inet_bind_conflict in net/ipv4/inet_connection_sock.c.
func (p place) overlaps(s sockdiag.Socket) bool {
	if p.index != 0 && s.Device != 0 && p.index != s.Device {
		return false
	}
	mine, its := p.addr.Addr().WithZone(""), s.Local.Addr()
	dual := its.Is6() && its.IsUnspecified() && !s.V6Only // IPv4 as well
	if its = its.Unmap(); mine.Is4() != its.Is4() {
		// Between the families only a wildcard of IPv6 that includes IPv4 counts.
		return dual || mine.Is6() && mine.IsUnspecified()
	}
	return mine == its || mine.IsUnspecified() || its.IsUnspecified()
}

// nameDevices puts names in place of the indexes of interfaces.
func nameDevices(list []evidence.Listener) {
	if !slices.ContainsFunc(list, func(l evidence.Listener) bool { return l.Device != "" }) {
		return
	}
	r, err := rtnl.NewReader()
	if err != nil {
		return
	}
	defer r.Close()
	links, err := r.Interfaces()
	if err != nil {
		return
	}
	names := make(map[string]string, len(links))
	for _, l := range links {
		names[strconv.Itoa(l.Index)] = rtnl.Printable(l.Name)
	}
	for i := range list {
		list[i].Device = cmp.Or(names[list[i].Device], list[i].Device)
	}
}

// portStart is the first port that needs no privilege, ip-sysctl; -1 if it
// cannot be read.
func portStart() int {
	n, err := strconv.Atoi(setting("net/ipv4/ip_unprivileged_port_start"))
	if err != nil {
		return -1
	}
	return n
}

// setting reads a file below /proc/sys, "" if there is none.
func setting(name string) string {
	b, err := os.ReadFile("/proc/sys/" + name)
	if err != nil {
		return ""
	}
	return strings.Join(strings.Fields(string(b)), " ")
}

// mayBindLow says whether the process has CAP_NET_BIND_SERVICE, in whatever
// user namespace it is.
func mayBindLow() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&header, &data[0]) == nil && data[0].Effective&(1<<unix.CAP_NET_BIND_SERVICE) != 0
}

// carrier finds the interface that has an address, and whether it may be used.
func carrier(addr netip.Addr) (name string, usable bool, err error) {
	r, err := rtnl.NewReader()
	if err != nil {
		return "", false, err
	}
	defer r.Close()
	addrs, err := r.Addrs(addr.Is6())
	if err != nil {
		return "", false, err
	}
	i := slices.IndexFunc(addrs, func(a rtnl.LocalAddr) bool { return a.Addr == addr.WithZone("") })
	if i < 0 {
		return "", false, nil
	}
	links, err := r.Interfaces()
	if err != nil {
		return "", false, err
	}
	name = fmt.Sprintf("interface %d", addrs[i].Link)
	for _, l := range links {
		if l.Index == addrs[i].Link {
			name = rtnl.Printable(l.Name)
		}
	}
	return name, addrs[i].Usable, nil
}

// selinux is "enforcing" or "permissive" where SELinux is there, else "".
func selinux() string {
	switch b, err := os.ReadFile("/sys/fs/selinux/enforce"); {
	case err != nil:
		return ""
	case string(b) == "1":
		return "enforcing"
	}
	return "permissive"
}
