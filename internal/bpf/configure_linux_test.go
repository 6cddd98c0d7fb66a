//go:build linux && (amd64 || arm64)

package bpf

import (
	"bytes"
	"errors"
	"testing"

	"github.com/cilium/ebpf/btf"
)

// kernelWith is the type information of a kernel with tracepoints that have so
// many arguments.
func kernelWith(t *testing.T, arguments map[string]int) *btf.Spec {
	t.Helper()
	b, err := btf.NewBuilder(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, n := range arguments {
		f := &btf.FuncProto{Return: &btf.Void{}}
		for range n + 1 {
			f.Params = append(f.Params, btf.FuncParam{Type: &btf.Pointer{Target: &btf.Void{}}})
		}
		if _, err := b.Add(&btf.Typedef{Name: "btf_trace_" + name, Type: &btf.Pointer{Target: f}}); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := b.Marshal(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := btf.LoadSpecFromReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// What the tracepoints are given has grown with the kernel.
func TestKernels(t *testing.T) {
	for _, c := range []struct {
		name              string
		drop, reset, exit int // arguments; -1 is no such tracepoint
		accepts           bool
		missing           string
		set               [3]uint8
	}{
		{"5.15", 2, 2, 2, true, "", [3]uint8{0, 0, 0}},
		{"5.17", 3, 2, 2, true, "", [3]uint8{1, 0, 0}},
		{"6.10", 3, 3, 2, true, "", [3]uint8{1, 0, 1}},
		{"6.11", 4, 3, 2, true, "", [3]uint8{1, 1, 1}},
		{"no system calls", 4, 3, -1, true, "tracepoint sys_exit", [3]uint8{}},
		{"no system calls, none asked for", 4, 3, -1, false, "", [3]uint8{1, 1, 1}},
		{"no resets", 4, -1, 2, true, "tracepoint tcp_send_reset", [3]uint8{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			arguments := map[string]int{"tcp_receive_reset": 1, "tcp_retransmit_skb": 2, "tcp_retransmit_synack": 2, "inet_sock_set_state": 3}
			for name, n := range map[string]int{"kfree_skb": c.drop, "tcp_send_reset": c.reset, "sys_exit": c.exit} {
				if n >= 0 {
					arguments[name] = n
				}
			}
			spec, err := loadTracer()
			if err != nil {
				t.Fatal(err)
			}
			err = configure(spec, Filter{Port: 80, Accepts: c.accepts}, kernelWith(t, arguments))
			var missing *Error
			if c.missing != "" {
				if !errors.As(err, &missing) || missing.Missing != c.missing || !errors.Is(err, errors.ErrUnsupported) {
					t.Errorf("%v, want %s missing", err, c.missing)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for i, name := range []string{tracerVarDropHasReason, tracerVarDropHasSocket, tracerVarResetHasReason} {
				var v uint8
				if err := spec.Variables[name].Get(&v); err != nil || v != c.set[i] {
					t.Errorf("%s is %d (%v), want %d", name, v, err, c.set[i])
				}
			}
			trace(t, Filter{Port: 1}) // or the kernel cannot load any
			var o tracerObjects
			if err := spec.LoadAndAssign(&o, nil); err != nil {
				t.Fatal(err)
			}
			o.Close()
		})
	}
}
