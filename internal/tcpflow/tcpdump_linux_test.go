package tcpflow_test

import (
	"bytes"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/netns"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
	"github.com/tcpwhy/tcpwhy/internal/pcapfile"
	"github.com/tcpwhy/tcpwhy/internal/tcpflow"
)

// What the real tcpdump writes of real connections reads as tshark says, from
// one interface and from all (which is another link type).
func TestTcpdump(t *testing.T) {
	// As root of a user namespace it would change its user, which that forbids.
	nettest.NeedRoot(t)
	tcpdump, tshark := nettest.NeedProgram(t, "tcpdump"), nettest.NeedProgram(t, "tshark")
	nettest.NeedProgram(t, "ip")
	for _, iface := range []string{"lo", "any"} {
		t.Run(iface, func(t *testing.T) {
			ns, err := netns.New()
			if err != nil {
				t.Fatal(err)
			}
			defer ns.Close()
			path := filepath.Join(t.TempDir(), "x.pcap")
			// The snap length bounds the slots of its ring: short ones, so that
			// there are enough for all packets.
			cmd := exec.CommandContext(t.Context(), tcpdump, "-i", iface, "-s", "128", "-U", "--immediate-mode", "-Z", "root", "-w", path, "tcp")
			stop := startTcpdump(t, ns, cmd)
			if err := ns.Do(talkOnLoopback); err != nil {
				t.Fatal(err)
			}
			nettest.Eventually(t, "the last packets are not in the capture", func() bool {
				return maps.Equal(outcomesOf(t, path), map[string]int{"closed": 2, "refused": 1})
			})
			stop()
			capture, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := ours(t, capture), theirs(t, tshark, path); got != want || got.Resets != 1 {
				t.Errorf("we count    %+v\ntshark says %+v", got, want)
			}
		})
	}
}

// startTcpdump starts it in a namespace, waits until it listens, and gives what
// ends it.
func startTcpdump(t *testing.T, ns *netns.NS, cmd *exec.Cmd) (stop func()) {
	t.Helper()
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := ns.Do(func() error {
		if err := exec.Command("ip", "link", "set", "lo", "up").Run(); err != nil {
			return err
		}
		return cmd.Start()
	}); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	for b := make([]byte, 256); !strings.Contains(said.String(), "listening on"); {
		n, err := stderr.Read(b)
		said.Write(b[:n])
		if err != nil {
			t.Fatalf("tcpdump: %v; %s", cmd.Wait(), &said)
		}
	}
	return func() {
		t.Helper()
		if err := cmd.Process.Signal(unix.SIGINT); err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, stderr)
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
	}
}

// talkOnLoopback makes a connection that is closed in IPv4 and in IPv6, and one
// that is refused.
func talkOnLoopback() error {
	var port string
	for _, address := range []string{"[::1]:0", "127.0.0.1:0"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		served := make(chan error, 1)
		go func() {
			c, err := l.Accept()
			if err == nil {
				_, err = io.Copy(c, c)
				c.Close()
			}
			served <- err
		}()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			return err
		}
		if _, err := c.Write(make([]byte, 50_000)); err != nil {
			return err
		}
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, c); err != nil {
			return err
		}
		c.Close()
		if err := <-served; err != nil {
			return err
		}
		port = l.Addr().String()
		l.Close()
	}
	if c, err := net.Dial("tcp", port); err == nil {
		c.Close()
	}
	return nil
}

// outcomesOf reads what there is of a capture that is being written.
func outcomesOf(t *testing.T, path string) map[string]int {
	found := map[string]int{}
	r, err := pcapfile.Open(path, pcapfile.ReadOptions{})
	if err != nil {
		return found
	}
	defer r.Close()
	_, _ = tcpflow.Analyze(t.Context(), r, tcpflow.Options{Conn: func(c *tcpflow.Conn) error {
		found[c.Outcome.String()]++
		return nil
	}})
	return found
}
