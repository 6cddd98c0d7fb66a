package programs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/rtnl"
)

const (
	maxPrograms = 512 // listed
	maxLinks    = 512 // interfaces looked at
)

// list is what is found.
type list struct {
	programs []evidence.Program
	missed   []evidence.NotChecked
	names    map[uint32]string
}

func collect(ctx context.Context, pid int) ([]evidence.Program, []evidence.NotChecked, error) {
	r, err := rtnl.NewReader()
	if err != nil {
		return nil, nil, fmt.Errorf("BPF programs: %w", err)
	}
	defer r.Close()
	links, err := r.Interfaces()
	if err != nil {
		return nil, nil, fmt.Errorf("BPF programs: %w", err)
	}
	l := list{names: make(map[uint32]string)}
	if len(links) > maxLinks {
		l.miss(fmt.Sprintf("BPF programs of %d interfaces", len(links)-maxLinks), errTooMany)
		links = links[:maxLinks]
	}
	for _, i := range links {
		if err := ctx.Err(); err != nil {
			return l.programs, l.missed, fmt.Errorf("BPF programs: %w", err)
		}
		l.ofLink(r, i)
	}
	l.ofNamespace()
	if pid > 0 {
		l.ofCgroups(pid)
	}
	return l.programs, l.missed, nil
}

var errTooMany = errors.New("too many to look at")

// miss notes what could not be looked at, once.
func (l *list) miss(check string, err error) {
	n := evidence.NotChecked{Check: check, Reason: err.Error(), Keys: []evidence.Key{evidence.HostPrograms}}
	if errors.Is(err, fs.ErrPermission) {
		n.Reason += ": needs CAP_NET_ADMIN and CAP_SYS_ADMIN in the initial user namespace"
		n.How = "run it as root of the machine"
	}
	if !slices.ContainsFunc(l.missed, func(o evidence.NotChecked) bool { return o.Check == check }) {
		l.missed = append(l.missed, n)
	}
}

func (l *list) add(p evidence.Program) {
	if len(l.programs) == maxPrograms {
		l.miss(fmt.Sprintf("BPF programs beyond %d", maxPrograms), errTooMany)
		return
	}
	if name := l.name(p.ID); name != "" {
		p.Name = name
	}
	l.programs = append(l.programs, p)
}

// name is the program's name, "" when it has none or may not be known.
func (l *list) name(id uint32) string {
	name, ok := l.names[id]
	if ok || id == 0 {
		return name
	}
	p, err := ebpf.NewProgramFromID(ebpf.ProgramID(id))
	if err == nil {
		defer p.Close()
		var info *ebpf.ProgramInfo
		if info, err = p.Info(); err == nil {
			name = rtnl.Printable(info.Name)
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.miss("names of BPF programs", err)
	}
	l.names[id] = name
	return name
}

// ofLink lists the programs of an interface.
func (l *list) ofLink(r *rtnl.Reader, i rtnl.Interface) {
	name := rtnl.Printable(i.Name)
	if i.XDP.Mode != "" {
		l.add(evidence.Program{Kind: "xdp", Interface: name, Attach: i.XDP.Mode, ID: i.XDP.ID})
	}
	filters, err := r.Filters(i.Index)
	if err != nil {
		l.miss("filters of traffic control", err)
	}
	for _, f := range filters {
		l.add(evidence.Program{Kind: "tc", Interface: name, Attach: f.Direction, ID: f.ID, Name: f.Name})
	}
	for _, h := range tcx {
		l.query("BPF programs of tcx", i.Index, h.attach, evidence.Program{Kind: "tc", Interface: name, Attach: h.word})
	}
}

// hook is a place for programs, in the words of the kernel.
type hook struct {
	attach ebpf.AttachType
	word   string
}

// tcx are the hooks of Linux 6.6 beside those of the clsact qdisc.
var tcx = []hook{{ebpf.AttachTCXIngress, "tcx_ingress"}, {ebpf.AttachTCXEgress, "tcx_egress"}}

// ofNamespace lists the programs that choose the socket for a packet.
func (l *list) ofNamespace() {
	const check = "BPF programs of the network namespace"
	ns, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		l.miss(check, err)
		return
	}
	defer ns.Close()
	l.query(check, int(ns.Fd()), ebpf.AttachSkLookup, evidence.Program{Kind: "netns", Attach: "sk_lookup"})
}

// query adds the programs at a hook as copies of like with their IDs.
func (l *list) query(check string, target int, attach ebpf.AttachType, like evidence.Program) {
	found, err := link.QueryPrograms(link.QueryOptions{Target: target, Attach: attach})
	switch {
	case errors.Is(err, unix.EINVAL):
		return // a kernel without the hook has no programs there
	case errors.Is(err, ebpf.ErrNotSupported): // the library's word for EPERM, too
		l.miss(check, fs.ErrPermission)
		return
	case errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOENT):
		return // the interface is gone, or has none
	case err != nil:
		l.miss(check, err)
		return
	}
	for _, p := range found.Programs {
		like.ID = uint32(p.ID)
		l.add(like)
	}
}
