package limits

import (
	"math"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/netns"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// TestSettings changes each setting of a namespace of its own.
func TestSettings(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		ns, err := netns.New()
		if err != nil {
			t.Fatal(err)
		}
		defer ns.Close()
		if err := ns.Do(func() error {
			for file, value := range map[string]string{
				"core/somaxconn": "17", "ipv4/tcp_max_syn_backlog": "18", "ipv4/tcp_syncookies": "2", "ipv4/tcp_abort_on_overflow": "1",
			} {
				if err := os.WriteFile("/proc/sys/net/"+file, []byte(value), 0); err != nil {
					return err
				}
			}
			got, missing, err := Collect(nil)
			if err != nil || len(missing) != 0 ||
				got.Somaxconn != 17 || got.MaxSYNBacklog != 18 || got.SYNCookies != 2 || got.AbortOverflow != 1 || got.Files != nil {
				t.Errorf("%+v, %+v, %v", got, missing, err)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	})
}

func TestFiles(t *testing.T) {
	nettest.LeakCheck(t)
	me := os.Getpid()
	before, _, err := Collect([]int{me, me, math.MaxInt32, 0})
	if err != nil || len(before.Files) != 1 {
		t.Fatalf("%+v, %v", before, err)
	}
	for range 5 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
	after, missing, err := Collect([]int{me})
	if err != nil || len(missing) != 0 || len(after.Files) != 1 {
		t.Fatalf("%+v, %+v, %v", after, missing, err)
	}
	f := after.Files[0]
	// The runtime may open its poller for the first listener.
	if n := f.Used - before.Files[0].Used; f.PID != me || n < 5 || n > 7 || f.Limit < f.Used || !strings.Contains(os.Args[0], f.Process) {
		t.Errorf("%+v, before %+v", f, before.Files[0])
	}
}

// TestOthers: the descriptors of a process that an ordinary user may not look
// into. Root becomes one.
func TestOthers(t *testing.T) {
	if os.Geteuid() == 0 {
		cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestOthers$")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("as an ordinary user: %v\n%s", err, out)
		}
		return
	}
	got, missing, err := Collect([]int{1})
	if err != nil || len(got.Files) != 0 || len(missing) != 1 || !strings.Contains(missing[0].Reason, "CAP_SYS_PTRACE") {
		t.Errorf("%+v, %+v, %v", got, missing, err)
	}
}

func TestBounded(t *testing.T) {
	pids := make([]int, maxProcesses+3)
	for i := range pids {
		pids[i] = math.MaxInt32 - i
	}
	_, missing, err := Collect(pids)
	if err != nil || len(missing) != 1 || !strings.Contains(missing[0].Check, "(3 of them)") {
		t.Errorf("%+v, %v", missing, err)
	}
}
