// Package bpf tells what the kernel does with the TCP connections of a port, by
// BPF programs at its tracepoints: packets it drops and why, resets it sends and
// why, retransmissions, changes of state, and the accept() of a program. It uses
// raw tracepoints only, no kprobes, which some kernels lack.
//
// The programs (trace.bpf.c) are verified and filtered in the kernel and hang on
// descriptors of this process alone: they are gone when it dies, in whatever way.
// They need Linux 5.8, its type information (CONFIG_DEBUG_INFO_BTF) and either
// CAP_BPF with CAP_PERFMON or root. The compiled objects are for amd64 and arm64,
// both little-endian; elsewhere nothing is supported.
//
// It imports evidence, for what it tells, and wire, for the flags of segments.
package bpf

import (
	"net/netip"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

//go:generate go tool bpf2go -go-package bpf -output-stem tracer -tags linux -target amd64,arm64 -cflags "-O2 -mcpu=v3 -Wall -Werror" tracer trace.bpf.c

// Filter selects connections, in the kernel. The zero value of each part is any.
type Filter struct {
	// Port is the server's. Without one the server's end of a connection is taken
	// to be the one that a SYN is for, and else the one with the lower port.
	Port uint16
	// Client and Server are the addresses of the ends; zones have no bearing.
	Client, Server netip.Addr
	// Namespace is the inode of a network namespace, as in /proc/PID/ns/net. With
	// one, an event whose namespace cannot be told is left out.
	Namespace uint32
	// Accepts asks for evidence.EventAccepted. That has a program run after every
	// system call of the machine, which makes each some 70 ns longer. The accept()
	// of a 32-bit program and of io_uring(7) is not seen; evidence.KernelEvent.Taken
	// tells later that there was one.
	Accepts bool
}

// Event is one event. The time is that of the kernel's monotonic clock; At of the
// KernelEvent is not set. Names in it are escaped.
type Event struct {
	Time time.Time
	evidence.KernelEvent
}

// Error says that the kernel cannot be traced, and what is missing. It is
// fs.ErrPermission or errors.ErrUnsupported to errors.Is.
type Error struct {
	// Missing names it: "CAP_BPF and CAP_PERFMON", "tracepoint tcp_send_reset".
	Missing string
	// Kind is fs.ErrPermission or errors.ErrUnsupported.
	Kind error
	// Err is what the system said; nil where it was not asked.
	Err error
}

func (e *Error) Error() string {
	text := "trace the kernel: needs " + e.Missing
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap gives Kind and Err.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}
