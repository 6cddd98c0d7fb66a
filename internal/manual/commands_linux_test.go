package manual

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// tried are the beginnings of commands that a test may run in a network
// namespace of its own: they read, or change nothing beyond that namespace.
var tried = []string{
	"ss ", "nstat ", "sysctl net.", "sysctl -a ", "sysctl -w net.ipv4.", "sysctl -w net.ipv6.", "sysctl -w net.core.",
	"ip route ", "ip -6 route ", "ip rule ", "ip neigh ", "ip addr ", "ip -br ", "ip link ", "ip -s ",
	"nft ", "tcpdump ", "tc filter show ", "bridge fdb show", "bpftool net list", "bpftool cgroup tree",
	"conntrack -L ", "conntrack -S", "lsns ", "cat /proc/", "grep ", "ls ", "ps ", "df ", "env ", "prlimit --nofile ",
	"journalctl ", "systemctl show ", "systemctl status ", "systemctl list-sockets", "timedatectl",
	"dig @", "curl ", "openssl ", "nc ", "iptables ", "traceroute ", "ufw ",
}

// refused are the words of programs that do not understand their arguments.
var refused = regexp.MustCompile(`(?i)syntax error|invalid syntax|usage:|need at least|is unknown|unknown (option|command|argument|operation)|(invalid|unrecognized|bad|illegal) (option|argument)|` +
	`command line is not complete|garbage|can(no|')t parse|cannot stat|is expected rather|not found$|bad filter|option requires|` +
	`(?-i:Error: (either|Invalid|argument))`)

// inNamespace runs a shell script as root of new user and network namespaces
// with the loopback interface up, so that nothing it does or sends gets out.
func inNamespace(t *testing.T, script string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", script)
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin", "LC_ALL=C", "NSTAT_HISTORY="+t.TempDir()+"/nstat")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Setpgid:     true,
	}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}

const setUp = `ip link set lo up
if command -v nft >/dev/null; then nft -f - <<'RULES'
table inet filter {
	chain input { type filter hook input priority 0; }
	chain output { type filter hook output priority 0; }
	chain forward { type filter hook forward priority 0; }
}
RULES
fi
`

// The syntax of every command that may be tried is accepted by its program.
// Whether it succeeds depends on the machine and does not matter.
func TestCommandsAreAccepted(t *testing.T) {
	if _, err := exec.LookPath("sh"); err != nil {
		nettest.Unsupported(t, "sh")
	}
	if out, err := inNamespace(t, setUp); err != nil {
		nettest.Unsupported(t, fmt.Sprintf("user and network namespaces with ip and nft: %v %s", err, out))
	}
	v4 := Vars{Host: "127.0.0.1", Addr: "127.0.0.1", Port: "8080", Client: "127.0.0.1", Interface: "lo", Gateway: "127.0.0.1",
		Router: "127.0.0.1", Service: "tcpwhy-no-such.service", Server: "127.0.0.1", Path: "/nonexistent"}
	v6 := v4
	v6.Host, v6.Addr, v6.Client, v6.Gateway, v6.Router, v6.Server = "::1", "::1", "::1", "::1", "::1", "::1"
	byProgram := make(map[string][]string)
	for _, v := range []Vars{v4, v6} {
		for _, c := range commands(t, v) {
			mayTry := slices.ContainsFunc(tried, func(p string) bool { return strings.HasPrefix(c, p) })
			if p := program(c); mayTry && !slices.Contains(byProgram[p], c) {
				byProgram[p] = append(byProgram[p], c)
			}
		}
	}
	for p, cs := range byProgram {
		t.Run(p, func(t *testing.T) {
			if _, err := inNamespace(t, "command -v "+p); err != nil {
				nettest.Unsupported(t, p)
			}
			for _, c := range cs {
				run := blanks(c)
				switch {
				case p == "tcpdump": // compile the filter, capture nothing
					run = strings.Replace(run, "tcpdump ", "tcpdump -d ", 1)
				case p == "ufw": // parse it, change nothing
					run = strings.Replace(run, "ufw ", "ufw --dry-run ", 1)
				case p == "dig":
					run += " +time=1 +tries=1"
				case strings.HasPrefix(c, "nft delete rule"): // there is no such rule, nor the chain of NAT
					run = strings.Replace(run, "nft ", "nft --check ", 1)
				}
				out, err := inNamespace(t, setUp+run+" </dev/null")
				if trackingMissing(c) {
					continue
				}
				if errors.Is(err, context.DeadlineExceeded) || refused.MatchString(out) {
					t.Errorf("%s\n%v\n%s", run, err, out)
				}
				t.Logf("%s\n%s", run, out[:min(len(out), 200)])
			}
		})
	}
}

// blanks puts something into the words that only the reader can replace.
func blanks(command string) string {
	hop := "127.0.0.1"
	if strings.Contains(command, "::1") {
		hop = "::1"
	}
	return strings.NewReplacer("<next-hop>", hop, "<prefix>", "192.0.2.0/24", "<device>", "lo", "<handle>", "7", "<pid>", "1", "<other-server>", hop).Replace(command)
}

// trackingMissing says whether a command reads keys that are there only while
// the kernel tracks connections.
func trackingMissing(command string) bool {
	_, err := os.Stat("/proc/sys/net/netfilter/nf_conntrack_max")
	return err != nil && strings.HasPrefix(command, "sysctl net.netfilter.")
}

// The test above can fail: each program's way to refuse is known.
func TestRefusalsAreSeen(t *testing.T) {
	if out, err := inNamespace(t, setUp); err != nil {
		nettest.Unsupported(t, fmt.Sprintf("user and network namespaces with ip and nft: %v %s", err, out))
	}
	for _, c := range []string{"ss -ltnp 'sport = :80 und'", "ss --nonsense", "ip route get", "ip route frob", "ip -br addr show too 127.0.0.1",
		"sysctl net.ipv4.no_such_key", "nft list nonsense", "nft insert rule inet filter input tcp dprt 80 accept", "tcpdump -d 'tcp prt 80'",
		"tc filter shw dev lo", "journalctl --nonsense", "systemctl show --nonsense", "nstat --nonsense", "dig @127.0.0.1 +nonsense x",
		"curl --nonsense", "openssl s_client -nonsense", "nc --nonsense", "ps -o nonsense", "lsns --nonsense", "prlimit --nonsense",
		"bridge fdb shw", "iptables -L INPUT --nonsense", "iptables -I INPUT -p tcp --dprt 80 -j ACCEPT", "traceroute --nonsense", "ufw --dry-run alow 80/tcp", "df --nonsense", "grep --nonsense", "ls --nonsense"} {
		p := program(c)
		if _, err := inNamespace(t, "command -v "+p); err != nil {
			continue
		}
		if out, err := inNamespace(t, setUp+c+" </dev/null"); !refused.MatchString(out) {
			t.Errorf("the refusal of %q is not seen: %v %s", c, err, out)
		}
	}
}
