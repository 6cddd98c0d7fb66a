package bind

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// maxTold bounds the holders that findings name.
const maxTold = 8

// judge says why the trial failed, and what to do.
func judge(ctx context.Context, t *evidence.BindTrial, p place) {
	switch t.Errno {
	case "EADDRINUSE":
		inUse(ctx, t, p)
	case "EACCES":
		denied(t)
		// The kernel asks for the privilege first. Of the rest only a listener is
		// sure to be in the way.
		if list, n, err := p.holders(ctx); err == nil {
			t.Holders, t.TimeWait = list, n
			if len(list) > 0 && list[0].State == "" {
				find(t, "With the privilege the address would still be in use.")
				tellHolders(t)
			}
		}
	case "EADDRNOTAVAIL":
		notAvailable(t)
	case "EAFNOSUPPORT":
		find(t, "This system has no %s.", family(t.Addr.Addr()))
		if t.Addr.Addr().Is6() {
			fix(t, "Take ipv6.disable=1 off the kernel's command line, or bind an IPv4 address.")
		}
	case "EINVAL":
		if a := t.Addr.Addr(); a.IsLinkLocalUnicast() && a.Is6() && a.Zone() == "" {
			find(t, "%v is a link-local address: it means nothing without its interface.", a)
			fix(t, "Name the interface, as in [%v%%eth0]:%d.", a, t.Addr.Port())
			return
		}
		find(t, "%s() fails with EINVAL.", t.Syscall)
	case "EMFILE", "ENFILE":
		find(t, "No descriptor is left for a socket (%s).", t.Errno)
		fix(t, "Raise the limit: ulimit -n, or LimitNOFILE= of the unit.")
	case "EPERM":
		find(t, "%s() is forbidden, though not by the port: a BPF program of the cgroup, seccomp or a security module does that.", t.Syscall)
		fix(t, "Look at: bpftool cgroup tree; systemctl show -p SystemCallFilter -p SocketBindDeny UNIT")
	default:
		find(t, "%s() fails with %s.", t.Syscall, t.Errno)
	}
}

func find(t *evidence.BindTrial, format string, a ...any) {
	t.Findings = append(t.Findings, fmt.Sprintf(format, a...))
}

// fix adds what to do, once.
func fix(t *evidence.BindTrial, format string, a ...any) {
	if s := fmt.Sprintf(format, a...); !slices.Contains(t.Fix, s) {
		t.Fix = append(t.Fix, s)
	}
}

func family(a netip.Addr) string {
	if a.Is4() {
		return "IPv4"
	}
	return "IPv6"
}

func inUse(ctx context.Context, t *evidence.BindTrial, p place) {
	list, timeWait, err := p.holders(ctx)
	t.Holders, t.TimeWait = list, timeWait
	if err != nil {
		find(t, "%v is in use. By whom could not be read: %v.", t.Addr, err)
		return
	}
	tellHolders(t)
	switch {
	case timeWait == 0:
	case t.WithReuse == "":
		find(t, "Connections in TIME_WAIT on the port: %d. They are in the way of a server without SO_REUSEADDR, for up to a minute.", timeWait)
	case len(list) == 0:
		find(t, "Connections in TIME_WAIT on the port: %d. SO_REUSEADDR does not help where those had not set it themselves. They are gone within a minute.", timeWait)
		fix(t, "Wait a minute and try again.")
	}
	if len(list) == 0 && timeWait == 0 {
		find(t, "%v is in use, but no socket of this network namespace that is in the way can be seen. It may have gone just now; one that is bound and does not listen shows since Linux 6.8 only.", t.Addr)
	}
	if t.WithReuse == "" {
		find(t, "A server that sets SO_REUSEADDR, as nearly all do, can bind %v. Only one without it cannot.", t.Addr)
		fix(t, "Set SO_REUSEADDR in the server.")
		return
	}
	if a := t.Addr.Addr(); a.Is6() && a.IsUnspecified() {
		if _, errno := p.attempt(options{reuse: true, v6only: true}); errno == "" {
			find(t, "Only IPv4 is in the way: a server that sets IPV6_V6ONLY can bind %v.", t.Addr)
			fix(t, "Listen on IPv6 alone, for nginx: listen %v ipv6only=on;", t.Addr)
		}
	}
}

// tellHolders says of each socket in the way whose it is, and what to do.
func tellHolders(t *evidence.BindTrial) {
	hidden := false
	for _, h := range t.Holders[:min(len(t.Holders), maxTold)] {
		find(t, "%s %s.", owner(h), doing(t.Addr, h))
		hidden = hidden || h.PID == 0
		fixHolder(t, h)
	}
	if n := len(t.Holders) - maxTold; n > 0 {
		find(t, "And %d more sockets are in the way.", n)
	}
	if hidden && os.Geteuid() != 0 {
		fix(t, "See which process it is: sudo tcpwhy host --can-bind %v", t.Addr)
	}
}

// owner names a process in the way.
func owner(h evidence.Listener) string {
	if h.PID == 0 {
		of := fmt.Sprintf("of the user with UID %d", h.UID)
		if unit := cmp.Or(h.Unit, h.Container); unit != "" {
			of = "whose socket was made in " + unit
		}
		return "A process that cannot be seen, " + of + ","
	}
	s := fmt.Sprintf("%s (PID %d", h.Process, h.PID)
	if h.Unit != "" {
		s += ", " + h.Unit
	}
	if h.Container != "" {
		s += ", container " + h.Container
	}
	return s + ")"
}

// doing says how its socket is in the way of the address.
func doing(addr netip.AddrPort, h evidence.Listener) string {
	its := netip.AddrPortFrom(h.Addr.Addr().Unmap(), h.Addr.Port())
	at := its.String()
	if h.Device != "" {
		at += " on interface " + h.Device
	}
	mine := netip.AddrPortFrom(addr.Addr().WithZone(""), addr.Port())
	why := ""
	switch {
	case its == mine:
	case its.Addr().Is6() && mine.Addr().Is4():
		why = ", which without IPV6_V6ONLY takes in IPv4"
	case its.Addr().IsUnspecified():
		why = ", which takes in every address"
	case mine.Addr().IsUnspecified():
		why = ", which " + mine.String() + " would take in"
	}
	switch h.State {
	case "":
		return "listens on " + at + why
	case "BOUND_INACTIVE":
		return "is bound to " + at + why + ", and does not listen"
	}
	return fmt.Sprintf("has a connection from %s to %v (%s)%s", at, netip.AddrPortFrom(h.Remote.Addr().Unmap(), h.Remote.Port()), h.State, why)
}

// named is a process in the way, in short.
func named(h evidence.Listener) string { return cmp.Or(h.Process, "it") }

func fixHolder(t *evidence.BindTrial, h evidence.Listener) {
	manager, unit, user := strings.Cut(h.Unit, "/")
	switch {
	case h.State != "" && h.State != "BOUND_INACTIVE":
		if h.PID != 0 && t.WithReuse != "" { // else it is left of a server
			fix(t, "End that connection, or choose a port that connections are not given: one outside of net.ipv4.ip_local_port_range (%s), or in net.ipv4.ip_local_reserved_ports.", setting("net/ipv4/ip_local_port_range"))
		}
	case h.Process == "docker-proxy":
		fix(t, "Find the container that has the port: docker ps --filter publish=%d", h.Addr.Port())
		return
	case h.Process == "systemd" && h.PID != 0:
		fix(t, "Find the socket unit: systemctl list-sockets")
		return
	case user:
		fix(t, "Stop %s, as the user of %s: systemctl --user stop %s. Or give one of the two another port.", named(h), manager, unit)
	case strings.HasSuffix(h.Unit, ".service"):
		fix(t, "Stop %s: sudo systemctl stop %s. Or give one of the two another port.", named(h), h.Unit)
	case h.Container != "":
		fix(t, "Stop container %s, or give one of the two another port.", h.Container)
	case h.PID != 0:
		fix(t, "Stop %s, or give one of the two another port.", h.Process)
	}
	if h.PID != 0 {
		fix(t, "Look at PID %[1]d: ps -fp %[1]d", h.PID)
	}
}

// denied explains EACCES: the port needs a privilege, or a security module says
// no.
func denied(t *evidence.BindTrial) {
	port := int(t.Addr.Port())
	switch {
	case t.PortStart < 0:
		find(t, "The system denies port %d to the user with UID %d. Low ports commonly are for root.", port, os.Geteuid())
	case port < t.PortStart:
		find(t, "Port %d is below net.ipv4.ip_unprivileged_port_start (%d): to bind it needs CAP_NET_BIND_SERVICE in the user namespace that the network namespace belongs to.", port, t.PortStart)
		if mayBindLow() {
			find(t, "This process has the capability, but in another user namespace, or a security module forbids it all the same.")
		} else {
			find(t, "This process, of the user with UID %d, does not have it. One that is started as root usually does.", os.Geteuid())
		}
		fix(t, "For a unit: sudo systemctl edit UNIT, and there [Service] AmbientCapabilities=CAP_NET_BIND_SERVICE")
		fix(t, "For a program: sudo setcap cap_net_bind_service=+ep PROGRAM")
		fix(t, "For everybody: sudo sysctl -w net.ipv4.ip_unprivileged_port_start=%d", port)
	default:
		find(t, "Port %d needs no privilege: a security module forbids it (SELinux, AppArmor, Landlock), or a BPF program.", port)
	}
	if mode := selinux(); mode != "" {
		find(t, "SELinux is %s here, which lets a service bind only ports of its type.", mode)
		fix(t, "See what SELinux denied: sudo ausearch -m AVC -ts recent. To allow the port: sudo semanage port -a -t TYPE -p tcp %d", port)
	}
}

// notAvailable explains EADDRNOTAVAIL.
func notAvailable(t *evidence.BindTrial) {
	a := t.Addr.Addr()
	name, usable, err := carrier(a)
	switch {
	case err != nil:
		find(t, "This host cannot bind %v. Its addresses could not be read: %v.", a, err)
		return
	case name != "" && !usable:
		find(t, "%v is on %s, but tentative: that no other host has it (duplicate address detection, RFC 4862) is not known yet, or is known to be wrong.", a.WithZone(""), name)
		fix(t, "Look at the address, for tentative or dadfailed: ip -6 addr show dev %s", name)
		return
	case name != "" && a.Zone() != "" && a.Zone() != name:
		find(t, "%v is on %s, and not on %s.", a.WithZone(""), name, a.Zone())
		fix(t, "Bind [%v%%%s]:%d.", a.WithZone(""), name, t.Addr.Port())
		return
	case name != "":
		find(t, "%v is on %s, and still the system says that it is not there. It may have come just now.", a.WithZone(""), name)
		return
	}
	find(t, "No interface of this network namespace has %v.", a.WithZone(""))
	nonlocal := "net.ipv4.ip_nonlocal_bind"
	if a.Is6() {
		nonlocal = "net.ipv6.ip_nonlocal_bind"
		if setting("net/ipv6/conf/all/disable_ipv6") == "1" {
			find(t, "IPv6 is switched off (net.ipv6.conf.all.disable_ipv6 is 1).")
			fix(t, "sudo sysctl -w net.ipv6.conf.all.disable_ipv6=0")
		}
	}
	fix(t, "See the addresses that are there: ip -br addr")
	fix(t, "For an address that moves between hosts: sudo sysctl -w %s=1", nonlocal)
}
