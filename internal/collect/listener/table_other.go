//go:build !linux

package listener

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"

	"github.com/shirou/gopsutil/v4/net"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/procinfo"
)

// Table gives the listeners on a port (0: on all ports) with the processes
// behind them, listeners on other ports that have to do with it, and the
// connections with the port by state, unless it is 0. This system tells less
// than Linux does; what is missing is listed.
func Table(ctx context.Context, env collect.Env, port uint16, addr netip.Addr) (evidence.HostTable, []evidence.NotChecked, error) {
	out := evidence.HostTable{At: env.Clock.Now(), Namespaces: 1}
	conns, err := net.ConnectionsWithContext(ctx, "tcp")
	if err != nil {
		return out, nil, fmt.Errorf("table of sockets: %w", err)
	}
	if port != 0 {
		out.States = make(map[string]int)
	}
	var all []evidence.Listener
	without := 0
	for _, c := range conns {
		local, err := netip.ParseAddr(c.Laddr.IP)
		if c.Laddr.IP == "*" || c.Laddr.IP == "" {
			local, err = netip.IPv6Unspecified(), nil
		}
		if err != nil || c.Laddr.Port > 65535 {
			continue
		}
		at := netip.AddrPortFrom(local, uint16(c.Laddr.Port))
		if c.Status != "LISTEN" {
			if port != 0 && at.Port() == port {
				out.States[c.Status]++
			}
			continue
		}
		l := evidence.Listener{Addr: at, PID: int(c.Pid)}
		if len(c.Uids) > 0 && c.Uids[0] >= 0 {
			l.UID = uint32(c.Uids[0])
		}
		if l.PID == 0 {
			without++
		}
		all = append(all, l)
	}
	procinfo.Describe(all)
	markShared(all)
	fill(&out, all, port)

	missing := []evidence.NotChecked{{
		Check:  "queues, backlog, device and V6ONLY of listeners, and connections not accepted yet",
		Reason: "not supported on " + runtime.GOOS,
	}}
	if without > 0 {
		missing = append(missing, evidence.NotChecked{
			Check: fmt.Sprintf("processes of listeners (%d)", without), Reason: "the system does not tell them to this user", How: command(port),
		})
	}
	if addr.IsValid() {
		missing = append(missing, evidence.NotChecked{
			Check: "which listener serves " + addr.String(), Reason: "not supported on " + runtime.GOOS,
		})
	}
	return out, missing, nil
}
