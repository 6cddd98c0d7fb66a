package programs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/cilium/ebpf"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/rtnl"
)

const (
	maxFile  = 1 << 20 // bytes read of one file of /proc
	maxDepth = 64      // control groups above each other
)

// cgroupHooks are the places where a program of a control group sees packets or
// sockets of its processes; enum bpf_attach_type of linux/bpf.h.
var cgroupHooks = []hook{
	{ebpf.AttachCGroupInetIngress, "cgroup_inet_ingress"},
	{ebpf.AttachCGroupInetEgress, "cgroup_inet_egress"},
	{ebpf.AttachCGroupInetSockCreate, "cgroup_inet_sock_create"},
	{ebpf.AttachCGroupSockOps, "cgroup_sock_ops"},
	{ebpf.AttachCGroupInet4Bind, "cgroup_inet4_bind"},
	{ebpf.AttachCGroupInet6Bind, "cgroup_inet6_bind"},
	{ebpf.AttachCGroupInet4PostBind, "cgroup_inet4_post_bind"},
	{ebpf.AttachCGroupInet6PostBind, "cgroup_inet6_post_bind"},
	{ebpf.AttachCGroupInet4Connect, "cgroup_inet4_connect"},
	{ebpf.AttachCGroupInet6Connect, "cgroup_inet6_connect"},
}

// ofCgroups lists the programs of the process's control groups of version 2.
// Those of version 1 have none.
func (l *list) ofCgroups(pid int) {
	const check = "BPF programs of control groups"
	mounts, err := read("/proc/self/mountinfo")
	if err != nil {
		l.miss(check, err)
		return
	}
	groups, err := read(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		l.miss(check, err)
		return
	}
	group, ok := unified(groups)
	if !ok {
		return
	}
	dirs, err := directories(mounts, group)
	if err != nil {
		l.miss(check, err)
		return
	}
	for _, d := range dirs {
		f, err := os.Open(d.path)
		if err != nil {
			l.miss(check, err)
			return
		}
		for _, h := range cgroupHooks {
			l.query(check, int(f.Fd()), h.attach, evidence.Program{Kind: "cgroup", Cgroup: rtnl.Printable(d.group), Attach: h.word})
		}
		f.Close()
	}
}

// directory is where a control group is mounted.
type directory struct{ group, path string }

// unified is the control group of version 2 in /proc/PID/cgroup, cgroups(7).
func unified(text string) (group string, ok bool) {
	for line := range strings.Lines(text) {
		if g, found := strings.CutPrefix(line, "0::"); found {
			return strings.TrimSuffix(g, "\n"), true
		}
	}
	return "", false
}

// directories are those of a control group and the ones above it, from the
// root, by /proc/PID/mountinfo, proc_pid_mountinfo(5).
func directories(mounts, group string) ([]directory, error) {
	if !path.IsAbs(group) || path.Clean(group) != group { // "/../x" is beyond this cgroup namespace
		return nil, fmt.Errorf("control group %s is not visible here", rtnl.Printable(group))
	}
	for line := range strings.Lines(mounts) {
		own, kind, _ := strings.Cut(line, " - ")
		f, k := strings.Fields(own), strings.Fields(kind)
		if len(f) < 5 || len(k) < 1 || k[0] != "cgroup2" || f[3] != "/" {
			continue
		}
		at := unescape(f[4])
		out := []directory{{"/", at}}
		for i := 1; i < len(group); i++ {
			if i+1 == len(group) || group[i+1] == '/' {
				out = append(out, directory{group[:i+1], at + group[:i+1]})
			}
		}
		if len(out) > maxDepth {
			return nil, fmt.Errorf("%d control groups above each other", len(out))
		}
		return out, nil
	}
	return nil, errors.New("the control groups are not mounted here")
}

// unescape undoes what the kernel does to blanks in paths: "\040".
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

func read(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	return string(b), err
}
