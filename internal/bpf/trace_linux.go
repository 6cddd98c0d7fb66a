//go:build linux && (amd64 || arm64)

package bpf

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"
)

// Tracer is a running trace. Its methods may be called from several goroutines,
// but only one may be in Read at a time.
type Tracer struct {
	links   []link.Link
	lost    *ebpf.Map
	events  *ebpf.Map
	reader  *ringbuf.Reader
	record  ringbuf.Record
	decoder decoder

	closing sync.Once
	mu      sync.Mutex // guards lost against Close
	total   uint64     // lost, once closed
	err     error      // of Close
}

// Trace starts to trace: it has every event from its return on. What is missing
// for it is an *Error.
func Trace(f Filter) (*Tracer, error) {
	if !capable() {
		return nil, &Error{Missing: privilege, Kind: fs.ErrPermission}
	}
	types := btf.NewCache()
	kernel, err := types.Kernel()
	if err != nil {
		return nil, &Error{Missing: "the kernel's type information (CONFIG_DEBUG_INFO_BTF, /sys/kernel/btf/vmlinux)", Kind: errors.ErrUnsupported, Err: err}
	}
	spec, err := loadTracer()
	if err != nil {
		return nil, err
	}
	if err := configure(spec, f, kernel); err != nil {
		return nil, err
	}
	// Before Linux 5.11 BPF memory counts against a limit. Where that cannot be
	// raised, loading says so. (Package rlimit of ebpf asks the kernel about it when
	// a program starts, whatever that does then.)
	_ = unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY})
	var objects tracerObjects
	if err := spec.LoadAndAssign(&objects, &ebpf.CollectionOptions{Cache: types}); err != nil {
		return nil, loadError(err)
	}
	// The links hold the programs.
	defer objects.tracerPrograms.Close()
	t := &Tracer{lost: objects.Lost, events: objects.Events}
	if err := t.start(&objects, f, kernel); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

func (t *Tracer) start(o *tracerObjects, f Filter, kernel *btf.Spec) (err error) {
	if t.reader, err = ringbuf.NewReader(o.Events); err != nil {
		return fmt.Errorf("trace the kernel: %w", err)
	}
	locate := &locator{known: make(map[uint64]string)}
	t.decoder = decoder{
		drops: names(kernel, "skb_drop_reason", "SKB_DROP_REASON_"), resets: names(kernel, "sk_rst_reason", "SK_RST_REASON_"),
		subsystems: names(kernel, "skb_drop_reason_subsys", "SKB_DROP_REASON_SUBSYS_"),
		location:   locate.function,
		names:      make(map[string]string),
	}
	if t.decoder.start, t.decoder.ns, err = clocks(); err != nil {
		return fmt.Errorf("trace the kernel: %w", err)
	}
	for _, p := range tracepoints {
		if p.optional && !f.Accepts {
			continue
		}
		l, err := link.AttachRawTracepoint(link.RawTracepointOptions{Name: p.name, Program: p.program(o)})
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return &Error{Missing: "tracepoint " + p.name, Kind: errors.ErrUnsupported, Err: err}
		case errors.Is(err, fs.ErrPermission):
			return &Error{Missing: privilege, Kind: fs.ErrPermission, Err: err}
		case err != nil:
			return fmt.Errorf("trace the kernel: tracepoint %s: %w", p.name, err)
		}
		t.links = append(t.links, l)
	}
	return nil
}

// clocks reads ours and the kernel's monotonic one at the same time: of several
// tries it takes the one in which least time passed.
func clocks() (start time.Time, ns uint64, err error) {
	best := int64(1) << 62
	for range 8 {
		var before, after unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &before); err != nil {
			return start, 0, os.NewSyscallError("clock_gettime", err)
		}
		now := time.Now()
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &after); err != nil {
			return start, 0, os.NewSyscallError("clock_gettime", err)
		}
		if took := after.Nano() - before.Nano(); took < best {
			best, start, ns = took, now, uint64(before.Nano()+took/2)
		}
	}
	return start, ns, nil
}

// tracepoints with their programs. The optional one comes last: it is what makes
// every system call slower.
var tracepoints = []struct {
	name     string
	program  func(*tracerObjects) *ebpf.Program
	optional bool
}{
	{name: "kfree_skb", program: func(o *tracerObjects) *ebpf.Program { return o.Drop }},
	{name: "tcp_send_reset", program: func(o *tracerObjects) *ebpf.Program { return o.SendReset }},
	{name: "tcp_receive_reset", program: func(o *tracerObjects) *ebpf.Program { return o.ReceiveReset }},
	{name: "tcp_retransmit_skb", program: func(o *tracerObjects) *ebpf.Program { return o.Retransmit }},
	{name: "tcp_retransmit_synack", program: func(o *tracerObjects) *ebpf.Program { return o.RetransmitSynack }},
	{name: "inet_sock_set_state", program: func(o *tracerObjects) *ebpf.Program { return o.SetState }},
	{name: "sys_exit", program: func(o *tracerObjects) *ebpf.Program { return o.Accepted }, optional: true},
}

const privilege = "CAP_BPF and CAP_PERFMON in the initial user namespace"

// capable says whether the process has the capabilities, capabilities(7), in
// whatever user namespace. Before Linux 5.8 they were CAP_SYS_ADMIN.
func capable() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&header, &data[0]) != nil {
		return false
	}
	has := func(c int) bool { return data[c/32].Effective&(1<<(c%32)) != 0 }
	return has(unix.CAP_SYS_ADMIN) || has(unix.CAP_BPF) && has(unix.CAP_PERFMON)
}

// configure sets the filter and what depends on the kernel.
func configure(spec *ebpf.CollectionSpec, f Filter, kernel *btf.Spec) error {
	arguments := map[string]int{}
	for _, p := range tracepoints {
		n, err := argumentsOf(kernel, p.name)
		if err != nil && (!p.optional || f.Accepts) {
			return &Error{Missing: "tracepoint " + p.name, Kind: errors.ErrUnsupported, Err: err}
		}
		arguments[p.name] = n
	}
	client, server := address(f.Client), address(f.Server)
	set := map[string]any{
		tracerVarOnlyPort: f.Port, tracerVarOnlyNetns: f.Namespace,
		tracerVarOnlyClient: client, tracerVarByClient: flag(f.Client.IsValid()),
		tracerVarOnlyServer: server, tracerVarByServer: flag(f.Server.IsValid()),
		// Linux 5.17, 6.11 and 6.10.
		tracerVarDropHasReason: flag(arguments["kfree_skb"] >= 3), tracerVarDropHasSocket: flag(arguments["kfree_skb"] >= 4),
		tracerVarResetHasReason: flag(arguments["tcp_send_reset"] >= 3),
		tracerVarWakeAt:         uint64(spec.Maps[tracerMapEvents].MaxEntries / 4),
	}
	for name, value := range set {
		if err := spec.Variables[name].Set(value); err != nil {
			return fmt.Errorf("trace the kernel: %w", err)
		}
	}
	return nil
}

func flag(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

// address is IPv4-mapped where it is of IPv4; zero for none.
func address(a netip.Addr) [16]byte {
	if !a.IsValid() {
		return [16]byte{}
	}
	return a.As16()
}

// argumentsOf counts the arguments of a tracepoint by the type that the kernel
// declares for its probes. The first of those is no argument.
func argumentsOf(kernel *btf.Spec, tracepoint string) (int, error) {
	var probe *btf.Typedef
	if err := kernel.TypeByName("btf_trace_"+tracepoint, &probe); err != nil {
		return 0, err
	}
	if p, ok := probe.Type.(*btf.Pointer); ok {
		if f, ok := p.Target.(*btf.FuncProto); ok && len(f.Params) > 0 {
			return len(f.Params) - 1, nil
		}
	}
	return 0, fmt.Errorf("type btf_trace_%s is not one of a function", tracepoint)
}

// names gives an enumeration of the kernel by number, without the prefix; nil
// where the kernel has none.
func names(kernel *btf.Spec, enum, prefix string) map[uint32]string {
	var e *btf.Enum
	if err := kernel.TypeByName(enum, &e); err != nil {
		return nil
	}
	m := make(map[uint32]string, len(e.Values))
	for _, v := range e.Values {
		name, ok := strings.CutPrefix(v.Name, prefix)
		if !ok {
			name = strings.TrimPrefix(v.Name, "SKB_") // SKB_CONSUMED
		}
		m[uint32(v.Value)] = name
	}
	return m
}

// loadError says what a failure to load means.
func loadError(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return &Error{Missing: privilege, Kind: fs.ErrPermission, Err: err}
	case errors.Is(err, ebpf.ErrMapIncompatible), errors.Is(err, unix.ENOMEM), errors.Is(err, unix.ENOSPC):
		return fmt.Errorf("trace the kernel: %w", err)
	}
	return &Error{Missing: "Linux 5.8 or later, and BPF programs that read kernel memory (no lockdown)", Kind: errors.ErrUnsupported, Err: err}
}

// locator names functions of the kernel; the list of those is read when it is
// first needed.
type locator struct {
	all   *symbols
	known map[uint64]string
}

func (l *locator) function(addr uint64) string {
	if name, ok := l.known[addr]; ok {
		return name
	}
	if l.all == nil {
		l.all = &symbols{}
		if f, err := os.Open("/proc/kallsyms"); err == nil {
			defer f.Close()
			if s, err := readSymbols(f); err == nil {
				l.all = s
			}
		}
	}
	name := l.all.find(addr)
	l.known[addr] = name
	return name
}

// Read fills e with the next event. It waits for one until the deadline, and
// fails with os.ErrDeadlineExceeded when there is none; after Close it fails with
// os.ErrClosed. Events come in the order in which they happened on each
// processor, and nearly so on all.
//
// A wait lasts until the deadline even where events come, unless these fill a
// quarter of the buffer (8 MiB): to be woken for each would cost more than the
// events. So Read is for a loop that sets a deadline some ms ahead and then reads
// until that is exceeded.
func (t *Tracer) Read(e *Event) error {
	if err := t.reader.ReadInto(&t.record); err != nil {
		return err
	}
	return t.decoder.decode(t.record.RawSample, e)
}

// SetDeadline sets the time at which Read gives up; the zero time is never. It
// has no bearing on a Read that already waits.
func (t *Tracer) SetDeadline(at time.Time) { t.reader.SetDeadline(at) }

// Lost counts the events so far for which the buffer had no room.
func (t *Tracer) Lost() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sumLost()
}

func (t *Tracer) sumLost() uint64 {
	if t.lost == nil {
		return t.total
	}
	var each []uint64
	if err := t.lost.Lookup(uint32(0), &each); err != nil {
		return t.total
	}
	t.total = 0
	for _, n := range each {
		t.total += n
	}
	return t.total
}

// Close ends the trace; a Read that waits returns. It may be called again.
func (t *Tracer) Close() error {
	t.closing.Do(func() {
		for _, l := range t.links {
			t.err = errors.Join(t.err, l.Close())
		}
		t.mu.Lock()
		t.sumLost()
		t.err = errors.Join(t.err, t.lost.Close())
		t.lost = nil
		t.mu.Unlock()
		if t.reader != nil {
			t.err = errors.Join(t.err, t.reader.Close())
		}
		t.err = errors.Join(t.err, t.events.Close())
	})
	return t.err
}
