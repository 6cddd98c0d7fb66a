package listener

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"slices"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/netns"
	"github.com/tcpwhy/tcpwhy/internal/procinfo"
	"github.com/tcpwhy/tcpwhy/internal/rtnl"
	"github.com/tcpwhy/tcpwhy/internal/sockdiag"
	"github.com/tcpwhy/tcpwhy/internal/tcpsock"
)

// Table gives the listeners on a port (0: on all ports) in this network
// namespace and in those others that can be entered, with the processes behind
// them; listeners on other ports that have to do with the port; and the
// connections with the port by state, unless it is 0. Where addr is not zero,
// Serves of each listener of this namespace says whether a SYN to it reaches
// the listener.
//
// An ordinary user sees neither the processes of others nor other namespaces.
// What is missing is listed; the error is that of the socket table of this
// namespace, without which there is nothing to say.
func Table(ctx context.Context, env collect.Env, port uint16, addr netip.Addr) (evidence.HostTable, []evidence.NotChecked, error) {
	out := evidence.HostTable{At: env.Clock.Now(), Namespaces: 1}
	socks, err := listeners(ctx)
	if err != nil {
		return out, nil, fmt.Errorf("table of sockets: %w", err)
	}
	made := make(origins)
	made.add(socks)
	all, err := here(env, socks, addr)
	if err != nil {
		return out, nil, fmt.Errorf("table of sockets: %w", err)
	}
	var missing []evidence.NotChecked
	note := func(n ...evidence.NotChecked) { missing = append(missing, n...) }

	others, n, left := elsewhere(ctx, port, made)
	all, out.Namespaces = append(all, others...), out.Namespaces+n
	note(left...)
	note(own(ctx, all, port, made)...)
	markShared(all)
	fill(&out, all, port)

	if port != 0 {
		if err := connections(ctx, &out, port); err != nil {
			out.States, out.Unaccepted = nil, 0
			note(evidence.NotChecked{Check: fmt.Sprintf("connections with port %d", port), Reason: err.Error()})
		}
	}
	return out, missing, nil
}

// here makes evidence of the listeners of this namespace.
func here(env collect.Env, socks []sockdiag.Socket, addr netip.Addr) ([]evidence.Listener, error) {
	var in int
	var names map[int]string
	var err error
	if onDevice(socks) {
		if addr.IsValid() {
			in, names, err = arrival(env, addr)
		} else {
			names, err = deviceNames()
		}
		if err != nil {
			return nil, err
		}
	}
	all := make([]evidence.Listener, len(socks))
	byPort := make(map[uint16][]int)
	for i, s := range socks {
		all[i] = toListener(s, names)
		byPort[s.Local.Port()] = append(byPort[s.Local.Port()], i)
	}
	if !addr.IsValid() {
		return all, nil
	}
	for _, same := range byPort { // only these compete for a SYN
		rivals := make([]sockdiag.Socket, len(same))
		for j, i := range same {
			rivals[j] = socks[i]
		}
		for j, serves := range serving(rivals, addr, in) {
			all[same[j]].Serves = serves
		}
	}
	return all, nil
}

// deviceNames names the interfaces of the namespace of the calling thread.
func deviceNames() (map[int]string, error) {
	r, err := rtnl.NewReader()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	_, names, err := interfaces(r)
	return names, err
}

// elsewhere gives the listeners of other namespaces, and how many of these were
// looked into.
func elsewhere(ctx context.Context, port uint16, made origins) (all []evidence.Listener, looked int, missing []evidence.NotChecked) {
	const check = "listeners in other network namespaces"
	ctx, cancel := context.WithTimeout(ctx, namespaceTime)
	defer cancel()
	found, err := netns.FindOthers(ctx)
	if err != nil {
		return nil, 0, []evidence.NotChecked{{Check: check, Reason: err.Error()}}
	}
	denied, failed := 0, 0
	var last error
	for _, ns := range found.List {
		switch list, err := inside(ctx, ns, made); {
		case err == nil:
			all, looked = append(all, list...), looked+1
		case errors.Is(err, fs.ErrNotExist): // it is gone
		case errors.Is(err, fs.ErrPermission):
			denied++
		default:
			failed, last = failed+1, err
		}
	}
	note := func(how, format string, a ...any) {
		missing = append(missing, evidence.NotChecked{Check: check, Reason: fmt.Sprintf(format, a...), How: how})
	}
	how := ""
	if os.Geteuid() != 0 {
		how = command(port)
	}
	if found.Hidden > 0 {
		note(how, "those of processes that hide theirs (%d): needs CAP_SYS_PTRACE, and CAP_SYS_ADMIN to enter them", found.Hidden)
	}
	if denied > 0 {
		note(how, "namespaces that may not be entered (%d): needs CAP_SYS_ADMIN", denied)
	}
	if failed > 0 {
		note("", "namespaces that cannot be read (%d): %v", failed, last)
	}
	if found.Omitted > 0 || found.Unseen > 0 {
		note("", "there are too many: %d namespaces were left out, and %d processes not looked at", found.Omitted, found.Unseen)
	}
	return all, looked, missing
}

func inside(ctx context.Context, other netns.Other, made origins) (all []evidence.Listener, err error) {
	ns, err := other.Open()
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	err = ns.Do(func() error {
		socks, err := listeners(ctx)
		if err != nil {
			return err
		}
		made.add(socks)
		var names map[int]string
		if onDevice(socks) {
			if names, err = deviceNames(); err != nil {
				return err
			}
		}
		for _, s := range socks {
			l := toListener(s, names)
			l.Namespace = uint32(other.Inode) // 32 bits in the kernel, ns_common.inum
			all = append(all, l)
		}
		return nil
	})
	return all, err
}

// origins has the control group that each socket was made in, by inode.
type origins map[uint64]uint64

func (o origins) add(socks []sockdiag.Socket) {
	for _, s := range socks {
		o[s.Inode] = s.Cgroup
	}
}

// own finds the processes that the listeners belong to. Where that may not be
// seen, the control group in which a socket was made still tells its unit.
func own(ctx context.Context, all []evidence.Listener, port uint16, made origins) []evidence.NotChecked {
	// Those on the port come first: what follows is bounded.
	slices.SortStableFunc(all, func(a, b evidence.Listener) int {
		switch x, y := onPort(a, port), onPort(b, port); {
		case x == y:
			return 0
		case x:
			return -1
		}
		return 1
	})
	inodes, n := make([]uint64, len(all)), 0
	for i, l := range all {
		inodes[i] = l.Inode
		if onPort(l, port) {
			n++
		}
	}
	ctx, cancel := context.WithTimeout(ctx, tableOwnerTime)
	defer cancel()
	groups := procinfo.FindGroups(ctx, slices.Collect(maps.Values(made))...)
	likely := groups.Processes()
	owners := sockdiag.Owners(ctx, likely, inodes[:n]...)
	late := ctx.Err() != nil
	ctx, cancel = context.WithTimeout(ctx, restOwnerTime)
	defer cancel()
	maps.Copy(owners, sockdiag.Owners(ctx, likely, inodes[n:]...))
	for i := range all {
		l := &all[i]
		l.PID, l.Process = owners[l.Inode].PID, owners[l.Inode].Name
		if l.PID == 0 {
			l.Unit, l.Container = groups.Unit(made[l.Inode])
		}
	}
	procinfo.Describe(all)
	return ownerless(all, port, late, ctx.Err() != nil)
}

// ownerless says which processes are missing, and why: whether the search for
// those of listeners on the port, and of others, took too long.
func ownerless(all []evidence.Listener, port uint16, late, restLate bool) (missing []evidence.NotChecked) {
	for _, on := range []bool{true, false} {
		n, foreign := 0, false
		for _, l := range all {
			if l.PID == 0 && onPort(l, port) == on {
				n++
				foreign = foreign || l.UID != uint32(os.Geteuid())
			}
		}
		if n == 0 {
			continue
		}
		m := evidence.NotChecked{Check: fmt.Sprintf("processes of listeners on other ports (%d)", n)}
		switch {
		case on && port == 0:
			m.Check = fmt.Sprintf("processes of listeners (%d)", n)
		case on:
			m.Check = fmt.Sprintf("processes of listeners on port %d (%d)", port, n)
		}
		switch {
		case on && late, !on && restLate:
			m.Reason = "to look through all processes would take too long"
		case foreign && os.Geteuid() != 0:
			m.Reason, m.How = "they belong to other users: needs CAP_SYS_PTRACE", command(port)
		default:
			m.Reason = "no process that can be seen has them: the kernel itself does (as for NFS), or one of another PID namespace"
		}
		missing = append(missing, m)
	}
	return missing
}

// connections counts the connections with the port on their side of this host.
func connections(ctx context.Context, out *evidence.HostTable, port uint16) error {
	conn, err := sockdiag.Dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	out.States = make(map[string]int)
	for s, err := range conn.Sockets(sockdiag.Query{States: sockdiag.Connections, LocalPort: port, V4: true, V6: true}) {
		if err != nil {
			return err
		}
		out.States[tcpsock.State(s.State).String()]++
		if s.State != sockdiag.SynRecv && waiting(s) {
			out.Unaccepted++
		}
	}
	return nil
}
