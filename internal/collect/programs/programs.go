// Package programs lists the BPF programs in the way of packets: those of
// interfaces (XDP, tc, tcx), of the network namespace (sk_lookup) and of a
// process's control groups. Each can drop or divert packets, and no rule of a
// firewall shows it. Programs in netfilter's own hooks are not among them: the
// kernel does not tell of which namespace they are.
//
// It imports rtnl, evidence and cilium/ebpf, and loads nothing.
package programs

import (
	"context"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// Collect lists the programs of the calling thread's network namespace, and
// those of the control groups of the process, from the root to its own; pid 0
// leaves these out. The programs of a process that has ended are not found.
//
// XDP and tc everybody may see. The rest, and the names of programs, need
// CAP_NET_ADMIN and CAP_SYS_ADMIN in the initial user namespace: what is
// refused, or beyond a bound, is named in the second list. An error means that
// nothing could be asked, and wraps errors.ErrUnsupported where it never can.
func Collect(ctx context.Context, pid int) ([]evidence.Program, []evidence.NotChecked, error) {
	return collect(ctx, pid)
}
