package procinfo

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// TestRead looks at a process with a hostile name and a secret among its
// arguments.
func TestRead(t *testing.T) {
	if os.Getenv("TCPWHY_TEST_READ") != "" {
		if err := os.WriteFile("/proc/self/comm", []byte("a\x1b(\n) 1 \\"), 0); err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString("ready\n")
		os.Stdin.Read(make([]byte, 1))
		return
	}
	nettest.LeakCheck(t)
	before := time.Now()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestRead$", "--", "--password=hunter2", "\x1b[31m")
	cmd.Env = append(os.Environ(), "TCPWHY_TEST_READ=1")
	nettest.Start(t, cmd)
	p, err := Read(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if want := `a\x1b(\n) 1 \\`; p.Name != want || p.PID != cmd.Process.Pid {
		t.Errorf("name %q, want %q", p.Name, want)
	}
	if want := `/proc/self/exe -test.run=^TestRead$ -- --password=*** \x1b[31m`; p.Command != want {
		t.Errorf("command %q, want %q", p.Command, want)
	}
	// The kernel counts in hundredths of a second.
	if p.Started.Before(before.Add(-time.Second)) || p.Started.After(time.Now().Add(time.Second)) {
		t.Errorf("started %v, want after %v", p.Started, before)
	}
}

func TestReadNone(t *testing.T) {
	for _, pid := range []int{0, -1, 1 << 30} {
		if p, err := Read(pid); err == nil {
			t.Errorf("process %d: %+v", pid, p)
		}
		if _, _, err := Files(pid); err == nil {
			t.Errorf("process %d has files", pid)
		}
	}
}

func TestFiles(t *testing.T) {
	nettest.LeakCheck(t)
	a, limit, err := Files(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	// Reading the directory takes a descriptor, which Files leaves out.
	if e, err := os.ReadDir("/proc/self/fd"); err != nil || len(e)-1 != a {
		t.Errorf("%d descriptors, want %d; %v", a, len(e)-1, err)
	}
	for range 10 {
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	b, _, err := Files(os.Getpid())
	if err != nil || b != a+10 || limit < b {
		t.Errorf("%d, then %d descriptors of %d; %v", a, b, limit, err)
	}
}

func TestParseLimit(t *testing.T) {
	const head = "Limit                     Soft Limit           Hard Limit           Units     \n"
	if n, err := parseLimit(head + "Max open files            1024                 524288               files     \n"); n != 1024 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	for _, bad := range []string{"", head, "Max open files", "Max open files  unlimited x", "Max open files -1"} {
		if n, err := parseLimit(bad); err == nil || !strings.Contains(err.Error(), "Max open files") {
			t.Errorf("%q: %d, %v", bad, n, err)
		}
	}
}

func FuzzParseStart(f *testing.F) {
	f.Add([]byte("1 (a) b) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0"))
	f.Add([]byte("1 (a"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if d := parseStart(b); d < 0 {
			t.Errorf("%q: %v", b, d)
		}
	})
}

func TestParseStart(t *testing.T) {
	if got := parseStart([]byte("1 (a) 9 b) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0")); got != 47110*time.Millisecond {
		t.Errorf("%v", got)
	}
}

// TestArguments: a program that writes a title over its arguments leaves zeros
// or spaces behind it.
func TestArguments(t *testing.T) {
	for text, want := range map[string]string{
		"a\x00-b\x00\x00c\x00":                "a -b  c",
		"nginx: master process\x00\x00\x00":   "nginx: master process",
		"postgres: checkpointer             ": "postgres: checkpointer",
		"":                                    "",
	} {
		if got := Command(arguments([]byte(text))); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// TestDescribeGone: what is known of a process stays when it has ended.
func TestDescribeGone(t *testing.T) {
	list := []evidence.Listener{{PID: 1 << 30, Process: "gone"}, {Unit: "a.service"}, {PID: os.Getpid()}}
	Describe(list)
	if list[0].Process != "gone" || list[0].Command != "" || list[1].Unit != "a.service" || list[2].Command == "" {
		t.Errorf("%+v", list)
	}
}

func TestGroupsUnit(t *testing.T) {
	g := Groups{map[uint64]string{
		2: "/system.slice/nginx.service", 3: "/init.scope", 4: "/user.slice/user-1.slice/user@1.service/init.scope",
		5: "/system.slice/docker-" + strings.Repeat("a", 64) + ".scope",
	}}
	for id, want := range map[uint64][2]string{
		2: {"nginx.service", ""}, 3: {}, 4: {}, 5: {"", "aaaaaaaaaaaa"}, 6: {},
	} {
		if unit, container := g.Unit(id); unit != want[0] || container != want[1] {
			t.Errorf("%d: %q and %q, want %q", id, unit, container, want)
		}
	}
}
