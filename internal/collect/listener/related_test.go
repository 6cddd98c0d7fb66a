package listener

import (
	"net/netip"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

func TestRelatives(t *testing.T) {
	type l = evidence.Listener
	at := netip.MustParseAddrPort("0.0.0.0:5432")
	for _, c := range []struct {
		name  string
		on    []l
		other l
		want  bool
	}{
		{"the same process", []l{{PID: 5, Process: "java"}}, l{PID: 5, Process: "java"}, true},
		{"the same program", []l{{PID: 5, Process: "nginx"}}, l{PID: 6, Process: "nginx"}, true},
		{"another program", []l{{PID: 5, Process: "nginx"}}, l{PID: 6, Process: "haproxy"}, false},
		{"two programs on an interpreter", []l{{PID: 5, Process: "python3.13"}}, l{PID: 6, Process: "python3.13"}, false},
		{"sockets of the service manager", []l{{PID: 1, Process: "systemd", Unit: "init.scope"}}, l{PID: 1, Process: "systemd", Unit: "init.scope"}, false},
		{"two containers", []l{{PID: 5, Process: "docker-proxy", Unit: "docker.service"}}, l{PID: 6, Process: "docker-proxy", Unit: "docker.service"}, false},
		{"one container", []l{{PID: 5, Process: "java", Container: "a", Namespace: 7}}, l{PID: 6, Process: "sh", Container: "a", Namespace: 7}, true},
		{"one unit", []l{{PID: 5, Process: "python3", Unit: "web.service"}}, l{PID: 6, Process: "node", Unit: "web.service"}, true},
		{"a unit of another user", []l{{PID: 5, Unit: "user@1.service/web.service"}}, l{PID: 6, Unit: "user@2.service/web.service"}, false},
		{"a session", []l{{PID: 5, Unit: "session-3.scope"}}, l{PID: 6, Unit: "session-3.scope"}, false},
		{"a user's manager", []l{{PID: 5, Unit: "user@1.service"}}, l{PID: 6, Unit: "user@1.service"}, false},
		{"nothing is known", []l{{}}, l{}, false},
		{"nobody, the usual program", nil, l{PID: 6, Process: "postgres"}, true},
		{"nobody, the usual unit", nil, l{Unit: "postgresql@17-main.service"}, true},
		{"nobody here, the usual program", []l{{PID: 5, Process: "x", Namespace: 7}}, l{PID: 6, Process: "postgres"}, true},
		{"somebody, the usual program", []l{{PID: 5, Process: "x"}}, l{PID: 6, Process: "postgres"}, false},
		{"nobody, another unit", nil, l{Unit: "mypostgresql.service"}, false},
	} {
		for i := range c.on {
			c.on[i].Addr = at
		}
		if got := relatives(c.on, 5432).has(c.other); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestFill: the lists are bounded, and what is left out is counted.
func TestFill(t *testing.T) {
	var all []evidence.Listener
	for _, port := range []uint16{80, 81} {
		for range maxListed + 5 {
			all = append(all, evidence.Listener{Addr: netip.AddrPortFrom(netip.IPv4Unspecified(), port), PID: 5})
		}
	}
	var out evidence.HostTable
	fill(&out, all, 80)
	if len(out.Listeners) != maxListed || len(out.Others) != maxOthers || out.Total != len(all) ||
		out.Omitted != len(all)-maxListed-maxOthers {
		t.Errorf("%d and %d of %d, %d left out", len(out.Listeners), len(out.Others), out.Total, out.Omitted)
	}
}
