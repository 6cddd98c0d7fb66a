package programs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/netns"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
	"github.com/tcpwhy/tcpwhy/internal/rtnl"
)

// program loads one that lets everything pass.
func program(t *testing.T, name string, kind ebpf.ProgramType, attach ebpf.AttachType, pass int32) (*ebpf.Program, uint32) {
	t.Helper()
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: name, Type: kind, AttachType: attach, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, pass), asm.Return()},
	})
	if err != nil {
		nettest.Unsupported(t, fmt.Sprintf("BPF programs of type %v: %v", kind, err))
	}
	t.Cleanup(func() { p.Close() })
	info, err := p.Info()
	if err != nil {
		t.Fatal(err)
	}
	id, _ := info.ID()
	return p, uint32(id)
}

// keep holds a link until the test ends.
func keep(t *testing.T, l link.Link, err error) error {
	if err == nil {
		t.Cleanup(func() { l.Close() })
	}
	return err
}

// needBPF ends the test unless it may load programs of every kind.
func needBPF(t *testing.T) {
	t.Helper()
	nettest.NeedRoot(t)
	if b, err := os.ReadFile("/proc/self/uid_map"); err != nil || strings.Join(strings.Fields(string(b)), " ") != "0 0 4294967295" {
		nettest.Unsupported(t, "BPF without root of the initial user namespace")
	}
}

// pair makes a namespace with a pair of links.
func pair(t *testing.T) *netns.NS {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	c, err := rtnl.NewChanger(ns.Fd())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := errors.Join(c.AddVeth("v0", "v1", ns.Fd()), c.SetUp("v0"), c.SetUp("v1")); err != nil {
		t.Fatal(err)
	}
	return ns
}

func TestCollectLinks(t *testing.T) {
	needBPF(t)
	nettest.LeakCheck(t)
	ns := pair(t)
	generic, genericID := program(t, "a_generic", ebpf.XDP, 0, 2)
	native, nativeID := program(t, "a_native", ebpf.XDP, 0, 2)
	filter, filterID := program(t, "a_filter", ebpf.SchedCLS, 0, 0)
	next, nextID := program(t, "a_tcx", ebpf.SchedCLS, ebpf.AttachTCXIngress, -1)
	lookup, lookupID := program(t, "a_lookup", ebpf.SkLookup, ebpf.AttachSkLookup, 1)
	var got []evidence.Program
	var missed []evidence.NotChecked
	if err := ns.Do(func() error {
		v0, err0 := net.InterfaceByName("v0")
		v1, err1 := net.InterfaceByName("v1")
		if err := errors.Join(err0, err1); err != nil {
			return err
		}
		l, err := link.AttachXDP(link.XDPOptions{Program: generic, Interface: v0.Index, Flags: link.XDPGenericMode})
		if err := keep(t, l, err); err != nil {
			return err
		}
		l, err = link.AttachXDP(link.XDPOptions{Program: native, Interface: v1.Index, Flags: link.XDPDriverMode})
		if err := keep(t, l, err); err != nil {
			return err
		}
		l, err = link.AttachTCX(link.TCXOptions{Program: next, Interface: v0.Index, Attach: ebpf.AttachTCXIngress})
		if err := keep(t, l, err); err != nil {
			return err
		}
		here, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			return err
		}
		defer here.Close()
		nl, err := link.AttachNetNs(int(here.Fd()), lookup)
		if err != nil {
			return err
		}
		t.Cleanup(func() { nl.Close() })
		if err := attachFilter(v1.Index, filter); err != nil {
			return err
		}
		got, missed, err = Collect(t.Context(), 0)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	slices.SortStableFunc(got, func(a, b evidence.Program) int { return strings.Compare(a.Interface, b.Interface) })
	want := []evidence.Program{
		{Kind: "netns", Attach: "sk_lookup", ID: lookupID, Name: "a_lookup"},
		{Kind: "xdp", Interface: "v0", Attach: "generic", ID: genericID, Name: "a_generic"},
		{Kind: "tc", Interface: "v0", Attach: "tcx_ingress", ID: nextID, Name: "a_tcx"},
		{Kind: "xdp", Interface: "v1", Attach: "native", ID: nativeID, Name: "a_native"},
		{Kind: "tc", Interface: "v1", Attach: "egress", ID: filterID, Name: "a_filter"},
	}
	if diff := cmp.Diff(want, got); diff != "" || len(missed) > 0 {
		t.Errorf("not checked: %v (-want +got):\n%s", missed, diff)
	}
}

// attachFilter makes a clsact qdisc with a program at egress, as tc(8) does, in
// the calling thread's namespace.
func attachFilter(index int, p *ebpf.Program) error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer h.Close()
	return errors.Join(
		h.QdiscAdd(&netlink.GenericQdisc{QdiscType: "clsact", QdiscAttrs: netlink.QdiscAttrs{
			LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
		}}),
		h.FilterAdd(&netlink.BpfFilter{
			FilterAttrs: netlink.FilterAttrs{LinkIndex: index, Parent: netlink.HANDLE_MIN_EGRESS, Handle: 1, Protocol: unix.ETH_P_ALL, Priority: 1},
			Fd:          p.FD(), Name: "from tc\x1b", DirectAction: true,
		}))
}

func TestCollectCgroups(t *testing.T) {
	needBPF(t)
	nettest.LeakCheck(t)
	mounts, err := read("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	root, err := directories(mounts, "/")
	if err != nil {
		nettest.Unsupported(t, err.Error())
	}
	outer := fmt.Sprintf("/tcpwhy-test-%d", os.Getpid())
	inner := outer + "/in ner\x1b"
	for _, dir := range []string{outer, inner} {
		if err := os.Mkdir(root[0].path+dir, 0o755); err != nil {
			nettest.Unsupported(t, "control groups: "+err.Error())
		}
		t.Cleanup(func() {
			nettest.Eventually(t, "the control group stays busy", func() bool { return os.Remove(root[0].path+dir) == nil })
		})
	}
	cmd := exec.Command(nettest.NeedProgram(t, "sleep"), "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	if err := os.WriteFile(root[0].path+inner+"/cgroup.procs", fmt.Append(nil, cmd.Process.Pid), 0); err != nil {
		t.Fatal(err)
	}
	ingress, ingressID := program(t, "a_ingress", ebpf.CGroupSKB, ebpf.AttachCGroupInetIngress, 1)
	create, createID := program(t, "a_create", ebpf.CGroupSock, ebpf.AttachCGroupInetSockCreate, 1)
	l, err := link.AttachCgroup(link.CgroupOptions{Path: root[0].path + outer, Attach: ebpf.AttachCGroupInetIngress, Program: ingress})
	if err := keep(t, l, err); err != nil {
		t.Fatal(err)
	}
	l, err = link.AttachCgroup(link.CgroupOptions{Path: root[0].path + inner, Attach: ebpf.AttachCGroupInetSockCreate, Program: create})
	if err := keep(t, l, err); err != nil {
		t.Fatal(err)
	}
	all, missed, err := Collect(t.Context(), cmd.Process.Pid)
	if err != nil || len(missed) > 0 {
		t.Errorf("not checked: %v, %v", missed, err)
	}
	got := slices.DeleteFunc(all, func(p evidence.Program) bool { return !strings.HasPrefix(p.Cgroup, outer) })
	want := []evidence.Program{
		{Kind: "cgroup", Cgroup: outer, Attach: "cgroup_inet_ingress", ID: ingressID, Name: "a_ingress"},
		{Kind: "cgroup", Cgroup: outer + `/in ner\x1b`, Attach: "cgroup_inet_sock_create", ID: createID, Name: "a_create"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestOrdinaryUser asks where no BPF is allowed.
func TestOrdinaryUser(t *testing.T) {
	nettest.LeakCheck(t)
	nettest.Powerless(t, func() error {
		_, missed, err := Collect(t.Context(), os.Getpid())
		for _, check := range []string{"BPF programs of tcx", "BPF programs of the network namespace"} {
			if !slices.ContainsFunc(missed, func(n evidence.NotChecked) bool {
				return n.Check == check && strings.Contains(n.Reason, "CAP_NET_ADMIN") && n.How != ""
			}) {
				t.Errorf("%s is not said to be unchecked: %v", check, missed)
			}
		}
		return err
	})
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := Collect(ctx, 0); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestDirectories(t *testing.T) {
	const mounts = "24 30 0:22 / /proc rw - proc proc rw\n30 1 0:25 / /sys/fs/cgroup\\040x rw,nosuid shared:4 - cgroup2 cgroup2 rw\n"
	got, err := directories(mounts, "/a.slice/b")
	want := []directory{{"/", "/sys/fs/cgroup x"}, {"/a.slice", "/sys/fs/cgroup x/a.slice"}, {"/a.slice/b", "/sys/fs/cgroup x/a.slice/b"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err = directories(mounts, "/"); err != nil || !slices.Equal(got, want[:1]) {
		t.Errorf("root: %v, %v", got, err)
	}
	for _, bad := range []string{"", "a", "/../a", "/a/../b", "/a/", "/a//b", strings.Repeat("/a", 100)} {
		if got, err := directories(mounts, bad); err == nil {
			t.Errorf("%q is accepted: %v", bad, got)
		}
	}
	if _, err := directories("24 30 0:22 / /proc rw - proc proc rw\n", "/a"); err == nil {
		t.Error("no mount is accepted")
	}
}

func FuzzDirectories(f *testing.F) {
	f.Add("30 1 0:25 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "9:x:/\n0::/a/b\n")
	f.Add("30 1 0:25 / \\0 - cgroup2", "0::/..")
	f.Fuzz(func(t *testing.T, mounts, groups string) {
		group, ok := unified(groups)
		if !ok {
			return
		}
		dirs, err := directories(mounts, group)
		if err == nil && (len(dirs) == 0 || len(dirs) > maxDepth || dirs[len(dirs)-1].group != group) {
			t.Errorf("%q: %v", group, dirs)
		}
	})
}
