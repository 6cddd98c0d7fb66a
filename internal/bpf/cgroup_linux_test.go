//go:build linux && (amd64 || arm64)

package bpf

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
	"github.com/tcpwhy/tcpwhy/internal/tcpsock/routertest"
)

// BPF programs of a cgroup have a say on what its sockets get and send.
func TestDropByCgroup(t *testing.T) {
	const variable = "TCPWHY_TEST_LISTEN"
	if at := os.Getenv(variable); at != "" {
		l, err := net.Listen("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println("listens")
		for {
			if _, err := l.Accept(); err != nil {
				t.Fatal(err)
			}
		}
	}
	n := network(t)
	dir := newCgroup(t)
	for i, c := range []struct {
		attach     ebpf.AttachType
		flags      string
		fromServer bool
		reasons    []string
	}{
		// Until some version the first was SOCKET_FILTER.
		{ebpf.AttachCGroupInetIngress, "SYN", false, []string{"SOCKET_FILTER", "BPF_CGROUP_INGRESS"}},
		{ebpf.AttachCGroupInetEgress, "SYN,ACK", true, []string{"BPF_CGROUP_EGRESS"}},
	} {
		t.Run(c.attach.String(), func(t *testing.T) {
			at := netip.AddrPortFrom(routertest.Addr(4, 3, 2), uint16(4500+i))
			cmd := exec.Command("/proc/self/exe", "-test.run=^TestDropByCgroup$")
			cmd.Env = append(os.Environ(), variable+"="+at.String())
			cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			n.Server.Do(func() { err = cmd.Start() })
			if err != nil {
				t.Fatal(err)
			}
			defer cmd.Wait()
			defer cmd.Process.Kill()
			if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "listens\n" {
				t.Fatalf("%q, %v", line, err)
			}
			p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.CGroupSKB, AttachType: c.attach, License: "MIT", Instructions: asm.Instructions{
				asm.Mov.Imm(asm.R0, 0),
				asm.Return(),
			}})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			l, err := link.AttachCgroup(link.CgroupOptions{Path: dir.Name(), Attach: c.attach, Program: p})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			tr := trace(t, Filter{Port: at.Port(), Namespace: inode(t, n.Server)})
			if conn, err := dial(n.Client, at); err == nil {
				conn.Close()
				t.Fatal("connected")
			}
			e := until(t, tr, "drop", of(evidence.EventDrop))[0]
			if !strings.Contains(strings.Join(c.reasons, " "), e.Reason) || e.Flags != c.flags || e.FromServer != c.fromServer || e.Server != at {
				t.Errorf("%+v, want one of %q", e, c.reasons)
			}
		})
	}
}

// newCgroup makes a cgroup of version 2, for the time of the test.
func newCgroup(t *testing.T) *os.File {
	t.Helper()
	for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		var st unix.Statfs_t
		if unix.Statfs(root, &st) != nil || st.Type != unix.CGROUP2_SUPER_MAGIC {
			continue
		}
		dir, err := os.MkdirTemp(root, "tcpwhy-test-")
		if err != nil {
			nettest.Unsupported(t, err.Error())
		}
		t.Cleanup(func() {
			nettest.Eventually(t, "the cgroup cannot be removed", func() bool { return os.Remove(dir) == nil })
		})
		f, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	nettest.Unsupported(t, "cgroup version 2")
	return nil
}
