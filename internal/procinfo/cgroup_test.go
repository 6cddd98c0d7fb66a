package procinfo

import (
	"strings"
	"testing"
)

func TestCgroup(t *testing.T) {
	id := strings.Repeat("0123456789abcdef", 4)
	const short = "0123456789ab"
	for _, c := range []struct{ text, unit, container string }{
		{"0::/system.slice/nginx.service", "nginx.service", ""},
		{"0::/system.slice/system-postgresql.slice/postgresql@17-main.service", "postgresql@17-main.service", ""},
		{"0::/system.slice/ssh.service/worker", "ssh.service", ""},
		{"0::/system.slice/_cgroup.service", "cgroup.service", ""},
		{"0::/", "", ""},
		{"0::/init.scope", "init.scope", ""},
		{"0::/user.slice/user-1000.slice/session-3.scope", "session-3.scope", ""},
		{"0::/user.slice/user-1000.slice/user@1000.service/app.slice/web.service", "user@1000.service/web.service", ""},
		{"0::/user.slice/user-1000.slice/user@1000.service/init.scope", "user@1000.service/init.scope", ""},
		{"0::/system.slice/docker-" + id + ".scope", "", short},
		{"0::/system.slice/docker-" + id + ".scope/init.scope", "init.scope", short},
		{"0::/machine.slice/libpod-" + id + ".scope/container", "", short},
		{"0::/machine.slice/libpod-conmon-" + id + ".scope", "libpod-conmon-" + id + ".scope", ""},
		{"0::/system.slice/web.service/libpod-payload-" + id, "web.service", short},
		{"0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podaa_bb.slice/cri-containerd-" + id + ".scope", "", short},
		{"0::/system.slice/containerd.service/kubepods-podaa.slice:cri-containerd:" + id, "containerd.service", short},
		{"5:memory:/docker/" + id + "\n1:name=systemd:/docker/" + id + "\n0::/system.slice/containerd.service", "containerd.service", short},
		{"11:cpu,cpuacct:/kubepods/burstable/podaa/" + id + "\n", "", short},
		{"4:memory:/other/aaaa\n1:name=systemd:/system.slice/a.service\n0::/", "a.service", ""},
		{"4:memory:/lxc/web\n", "", "web"},
		{"0::/lxc.payload.w\x1bb", "", `w\x1bb`},
		{"0::/../../system.slice/a\nb.service", "", ""},
		{"0::/system.slice/a\x1b[31m.service", `a\x1b[31m.service`, ""},
		{"0::/docker-" + strings.ToUpper(id) + ".scope", "docker-" + strings.ToUpper(id) + ".scope", ""},
		{"0::/.service", "", ""},
		{"", "", ""}, {"0", "", ""}, {"0:", "", ""}, {"::", "", ""}, {"0::nginx.service", "", ""},
	} {
		if unit, container := Cgroup(c.text); unit != c.unit || container != c.container {
			t.Errorf("%q: unit %q, container %q, want %q and %q", c.text, unit, container, c.unit, c.container)
		}
	}
}

func FuzzCgroup(f *testing.F) {
	f.Add("0::/system.slice/nginx.service")
	f.Add("0::/user.slice/user@1.service/a.service\n1:name=systemd:/lxc/\x00")
	f.Add("0::/docker/" + strings.Repeat("a", 64))
	f.Fuzz(func(t *testing.T, text string) {
		unit, container := Cgroup(text)
		if len(unit) > 2*maxUnit+1 || len(container) > maxName {
			t.Errorf("%q: %d and %d characters", text, len(unit), len(container))
		}
		for _, s := range []string{unit, container} {
			if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' && r != ' ' || r > '~' }) {
				t.Errorf("%q gives %q", text, s)
			}
		}
	})
}
