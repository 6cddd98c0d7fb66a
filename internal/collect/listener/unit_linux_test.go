package listener

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// TestTableUnit runs a server in a control group named as that of a unit. Root
// sees its process and the unit; a user who may not see the process still learns
// the unit.
func TestTableUnit(t *testing.T) {
	if port := os.Getenv("TCPWHY_TEST_UNIT"); port != "" {
		n, _ := strconv.Atoi(port)
		got, missing := table(t, uint16(n), netip.Addr{})
		fmt.Printf("seen: %+v\nmissing: %+v\n", got.Listeners, missing)
		return
	}
	nettest.NeedRoot(t)
	nettest.LeakCheck(t)
	name := fmt.Sprintf("tcpwhy-test-%d.service", os.Getpid())
	dir := ""
	for _, root := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/unified/"} {
		var st unix.Statfs_t
		if unix.Statfs(root, &st) == nil && int64(st.Type) == unix.CGROUP2_SUPER_MAGIC {
			dir = root + name
		}
	}
	if dir == "" {
		nettest.Unsupported(t, "control groups of version 2")
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		nettest.Unsupported(t, "a control group of its own: "+err.Error())
	}
	t.Cleanup(func() { // once the process in it has gone
		nettest.Eventually(t, "the control group stays", func() bool { return unix.Rmdir(dir) == nil })
	})
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := exec.CommandContext(t.Context(), nettest.NeedProgram(t, "python3"), "-c", python, "0")
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(f.Fd())}
	port, err := strconv.Atoi(nettest.Start(t, cmd))
	if err != nil {
		t.Fatal(err)
	}
	got, _ := table(t, uint16(port), netip.Addr{})
	if on := hereOnly(got.Listeners); len(on) != 1 || on[0].PID != cmd.Process.Pid || on[0].Unit != name {
		t.Errorf("%+v", on)
	}

	other := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestTableUnit$")
	other.Env = append(os.Environ(), "TCPWHY_TEST_UNIT="+strconv.Itoa(port))
	other.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := other.CombinedOutput()
	for _, want := range []string{"PID:0 Process: ", "Unit:" + name + " ", fmt.Sprintf("How:sudo tcpwhy host :%d", port)} {
		if err != nil || !strings.Contains(string(out), want) {
			t.Fatalf("%q is missing; %v:\n%s", want, err, out)
		}
	}
}
