package containers

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// podman runs in namespaces and a control group of its own, with a state of its
// own, and ends with its input. It serves at $1/podman.sock. crun wants control
// groups v2 alone.
const podman = `
set -e
mount -t cgroup2 cgroup2 /mnt
group=/mnt/tcpwhy-test-$$
mkdir $group
exec 3<&0
(
	echo 0 > $group/cgroup.procs
	exec unshare --cgroup --pid --net --fork --kill-child --mount-proc sh -c '
		set -e
		mount -t tmpfs tmpfs /run
		mount -t tmpfs tmpfs /dev/shm
		mount -t cgroup2 cgroup2 /sys/fs/cgroup
		P="podman --root $1/root --runroot /run/podman-test --storage-driver vfs --cgroup-manager cgroupfs"
		O="--cgroups=disabled --ulimit nofile=256:256 --ulimit nproc=256:256"
		$P create --name published --expose 9000 -p 127.0.0.1:8080:80 -p 53:53/udp --rootfs $1/rootfs /prog 0
		$P run --name ended --network none $O --rootfs $1/rootfs /prog 3 || test $? = 3
		$P run -d --name up --network host $O --rootfs $1/rootfs /prog 0
		exec $P system service --time 0 unix://$1/podman.sock
	' podman "$1"
) </dev/null &
inner=$!
(read -r _ <&3 || true; kill -9 $inner 2>/dev/null) &
reader=$!
wait $inner || true
kill $reader 2>/dev/null || true
for i in 1 2 3 4 5 6 7 8 9 10; do
	find $group -depth -type d -exec rmdir {} + 2>/dev/null && break
	sleep 0.1
done
`

func TestRealPodman(t *testing.T) {
	nettest.NeedRoot(t)
	for _, p := range []string{"podman", "crun", "conmon", "unshare"} {
		nettest.NeedProgram(t, p)
	}
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "rootfs"), 0o755); err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(nettest.Build(t, "./testdata/prog"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "rootfs", "prog"), program, 0o755); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", podman, "podman", dir)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		nettest.Unsupported(t, err.Error())
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // with its input
	}()
	t.Cleanup(func() {
		input.Close()
		<-ended
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("log of podman:\n%.4000s", text)
		}
	})
	e := Engine{"podman", filepath.Join(dir, "podman.sock")}
	nettest.Eventually(t, "podman serves", func() bool {
		select {
		case <-ended:
			text, _ := os.ReadFile(log.Name())
			nettest.Unsupported(t, "podman in a namespace: "+string(text))
		default:
		}
		_, err := List(t.Context(), e, nil)
		return err == nil
	})

	list, err := List(t.Context(), e, nil)
	if err != nil || len(list) != 3 {
		t.Fatalf("%+v, %v", list, err)
	}
	byName := map[string]Container{}
	for _, c := range list {
		if len(c.ID) != idDigits || c.Engine != "podman" {
			t.Errorf("%+v", c)
		}
		byName[c.Name] = c
	}
	if c := byName["published"]; c.State != "created" || c.PID != 0 || !slices.Equal(c.Exposed, []uint16{80, 9000}) ||
		!slices.Equal(c.Published, []evidence.Published{{Host: netip.MustParseAddrPort("127.0.0.1:8080"), Port: 80}}) {
		t.Errorf("published: %+v", c)
	}
	if c := byName["ended"]; c.State != "exited" || c.ExitCode != 3 || c.PID != 0 || c.Finished.IsZero() || c.HostNetwork {
		t.Errorf("ended: %+v", c)
	}
	if c := byName["up"]; c.State != "running" || c.PID == 0 || c.ExitCode != 0 || !c.HostNetwork || !c.Finished.IsZero() {
		t.Errorf("up: %+v", c)
	}
}
