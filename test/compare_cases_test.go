//go:build linux

package test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/tcpwhy/tcpwhy/internal/lab"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
	"github.com/tcpwhy/tcpwhy/internal/pcapfile"
)

// dumping runs the real tcpdump on hosts of a lab while something is done, and
// returns the files.
func dumping(t *testing.T, l *lab.Lab, hosts []string, do func()) []string {
	t.Helper()
	nettest.NeedProgram(t, "tcpdump")
	dir := t.TempDir()
	var files []string
	var ends []func()
	for _, host := range hosts {
		file := filepath.Join(dir, host+".pcap")
		cmd := l.Command(host, false, "tcpdump", "-i", "eth0", "-U", "--immediate-mode", "-Z", "root", "-w", file)
		listening := newWatcher("listening on")
		cmd.Stderr = listening
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-listening.seen:
		case <-time.After(10 * time.Second):
			t.Fatalf("tcpdump does not begin: %s", listening.text())
		}
		files = append(files, file)
		ends = append(ends, func() {
			cmd.Process.Signal(syscall.SIGINT)
			cmd.Wait()
		})
	}
	do()
	for _, end := range ends {
		end()
	}
	return files
}

// watcher waits for a text in what is written to it.
type watcher struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	what string
	seen chan struct{}
}

func newWatcher(what string) *watcher { return &watcher{what: what, seen: make(chan struct{})} }

func (w *watcher) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	had := strings.Contains(w.buf.String(), w.what)
	w.buf.Write(b)
	if !had && strings.Contains(w.buf.String(), w.what) {
		close(w.seen)
	}
	return len(b), nil
}

func (w *watcher) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}

// TestCompareSession is what a person does: tcpdump on both hosts while the
// program fails, and then the two files.
func TestCompareSession(t *testing.T) {
	nettest.NeedRoot(t)
	program := nettest.Build(t, "../cmd/tcpwhy")
	for _, c := range []struct {
		scenario, says string
		want           []string
	}{
		{"return-path-lost", "certain", []string{"return-path-lost", "LOST", "X--"}},
		{"path-firewall-reset-request", "certain", []string{"path-firewall-reset", "made up"}},
		{"host-firewall-drop", "one of", []string{"host-firewall-drop", "4 sent, 4 arrived"}},
	} {
		t.Run(c.scenario, func(t *testing.T) {
			t.Parallel()
			s, _ := lab.Find(c.scenario)
			l := open(t, s, lab.V4)
			files := dumping(t, l, []string{lab.Client, lab.Server}, func() { visits(l) })
			target := l.Dst().String()
			ask := func(a, b string) (string, error) {
				cmd := exec.CommandContext(t.Context(), program, "pcap", a, b, "--compare", "--target", target)
				cmd.Env = append(os.Environ(), "LC_ALL=C")
				out, err := cmd.CombinedOutput()
				return string(out), err
			}
			out, err := ask(files[0], files[1])
			if exit := new(exec.ExitError); !errors.As(err, &exit) || exit.ExitCode() != 1 {
				t.Errorf("%v, want exit code 1", err)
			}
			contains(t, out, append(c.want, c.says, "the first file was made at the client's side", "clocks       the server's is ")...)
			// In the wrong order the answer is the same, and it says so.
			swapped, _ := ask(files[1], files[0])
			contains(t, swapped, append(c.want, c.says, "their order was changed")...)
		})
	}
}

// TestCompareNAT matches connections whose addresses are rewritten on the way.
func TestCompareNAT(t *testing.T) {
	nettest.NeedRoot(t)
	program := nettest.Build(t, "../cmd/tcpwhy")
	for scenario, changed := range map[string]string{"no-listener-nat-gateway": "source", "nat-dead-backend-forwarded": "destination"} {
		t.Run(scenario, func(t *testing.T) {
			t.Parallel()
			s, ok := lab.Find(scenario)
			if !ok {
				t.Fatal("no such scenario")
			}
			l := open(t, s, lab.V4)
			lines := compareFiles(t, program, onBothSides(t, l, func() { visits(l) })...)
			n := 0
			for _, c := range lines {
				if c.Kind != "connection" || c.Client.Server != l.Dst() {
					continue
				}
				n++
				var what []string
				for _, x := range c.Directions[0].Changes {
					what = append(what, x.What)
				}
				if c.MatchedBy != "isn" || !c.Translated || c.Server.Client == c.Client.Client && c.Server.Server == c.Client.Server || !slices.Contains(what, changed) {
					t.Errorf("%+v", c)
				}
			}
			if n != 3 {
				t.Errorf("%d connections, want 3", n)
			}
		})
	}
}

// TestCompareClock measures an offset and a drift that are put into one file.
func TestCompareClock(t *testing.T) {
	nettest.NeedRoot(t)
	program := nettest.Build(t, "../cmd/tcpwhy")
	s, _ := lab.Find("host-firewall-drop")
	l := open(t, s, lab.V4)
	files := onBothSides(t, l, func() { visits(l) })
	const offset, ppm = 3217 * time.Millisecond, 50.0
	shifted := shift(t, files[1], offset, ppm)
	plain, lines := compareFiles(t, program, files...), compareFiles(t, program, files[0], shifted)
	k := lines[len(lines)-1].Clock
	// The drift counts from the beginning of the file.
	more := ppm * 1e-6 * 4000 // ms, at most
	if !k.Known || k.Offset < 3217-k.Error || k.Offset > 3217+more+k.Error || k.Error > 5 {
		t.Errorf("the offset is %v within %v ms, %v were put in", k.Offset, k.Error, offset)
	}
	if k.Off > 45 || k.Drift < ppm-k.Off-1 || k.Drift > ppm+k.Off+1 {
		t.Errorf("the drift is %v within %v ppm, %v were put in", k.Drift, k.Off, ppm)
	}
	if len(plain) != len(lines) {
		t.Fatalf("%d and %d connections", len(plain), len(lines))
	}
	for i := range lines[:len(lines)-1] {
		a, b := plain[i], lines[i]
		if a.Whole != b.Whole || a.Verdict.Cause != b.Verdict.Cause || a.Directions[0].Lost != b.Directions[0].Lost || a.Directions[1].Lost != b.Directions[1].Lost {
			t.Errorf("without the shift %+v\nwith it %+v", a, b)
		}
	}
}

// shift writes a capture anew with another clock.
func shift(t *testing.T, file string, offset time.Duration, ppm float64) string {
	t.Helper()
	r, err := pcapfile.Open(file, pcapfile.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	out := filepath.Join(t.TempDir(), "shifted.pcap")
	f, err := os.Create(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := pcapgo.NewWriterNanos(f)
	var first int64
	for b := new(pcapfile.Batch); ; {
		if err := r.ReadBatch(t.Context(), b); err == io.EOF {
			return out
		} else if err != nil {
			t.Fatal(err)
		}
		for i := range b.Records {
			rec := &b.Records[i]
			if first == 0 {
				first = rec.Time
				if err := w.WriteFileHeader(1<<18, layers.LinkTypeLinuxSLL2); err != nil {
					t.Fatal(err)
				}
			}
			at := time.Unix(0, rec.Time+int64(offset)+int64(ppm*1e-6*float64(rec.Time-first)))
			if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: at, CaptureLength: int(rec.CapLen), Length: int(rec.OrigLen)}, b.Packet(rec)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestCompareLoss counts what a router drops at random, and what the router
// itself says of it.
func TestCompareLoss(t *testing.T) {
	nettest.NeedRoot(t)
	nettest.NeedProgram(t, "nft")
	program := nettest.Build(t, "../cmd/tcpwhy")
	s, _ := lab.Find("none")
	l := open(t, s, lab.V4)
	nft := func(args ...string) string {
		t.Helper()
		out, err := l.Command(lab.R1, false, "nft", args...).Output()
		if err != nil {
			t.Fatalf("nft %v: %v", args, err)
		}
		return string(out)
	}
	nft(`add table ip loss; add chain ip loss f { type filter hook forward priority 0; }; ` +
		`add rule ip loss f ip daddr ` + l.Dst().Addr().String() + ` tcp flags & (syn|fin) == 0x0 numgen random mod 100 < 20 counter drop`)
	files := onBothSides(t, l, func() {
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				l.Do(lab.Client, func() error {
					c, err := net.DialTimeout("tcp", l.Dst().String(), 3*time.Second)
					if err != nil {
						return nil
					}
					defer c.Close()
					for range 5 {
						fmt.Fprintf(c, "HEAD / HTTP/1.1\r\nHost: lab\r\n\r\n")
						c.SetReadDeadline(time.Now().Add(2 * time.Second))
						if _, err := c.Read(make([]byte, 512)); err != nil {
							break
						}
					}
					return nil
				})
			})
		}
		wg.Wait()
		visits(l)
	})
	var want int
	fmt.Sscanf(after(nft("list", "chain", "ip", "loss", "f"), "counter packets "), "%d", &want)
	lines := compareFiles(t, program, append([]string{"--complete"}, files...)...)
	sum := lines[len(lines)-1]
	if got := sum.Directions[0].Lost; want == 0 || got != want {
		t.Errorf("%d packets lost, the router dropped %d", got, want)
	}
	if sum.Directions[1].Lost+sum.Directions[0].MadeUp+sum.Directions[1].MadeUp > 0 {
		t.Errorf("nothing else was lost or made up: %+v", sum.Directions)
	}
}

// TestCompareFinalACK drops all that follows the SYN on the way: a few ACKs may
// be lost by chance, with the data that is sent again and again they are too many.
func TestCompareFinalACK(t *testing.T) {
	nettest.NeedRoot(t)
	nettest.NeedProgram(t, "nft")
	program := nettest.Build(t, "../cmd/tcpwhy")
	s, _ := lab.Find("none")
	l := open(t, s, lab.V4)
	rule := `add table ip acks; add chain ip acks f { type filter hook forward priority 0; }; ` +
		`add rule ip acks f ip daddr ` + l.Dst().Addr().String() + ` tcp dport 8080 tcp flags & syn == 0 drop`
	if out, err := l.Command(lab.R1, false, "nft", rule).Output(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	talk := func(says string, wait time.Duration) netip.AddrPort {
		var from netip.AddrPort
		l.Do(lab.Client, func() error {
			c, err := net.DialTimeout("tcp", l.Dst().String(), nettest.Patience)
			if err != nil {
				t.Error(err)
				return err
			}
			t.Cleanup(func() { c.Close() }) // a FIN would bring the ACK, too
			from = c.LocalAddr().(*net.TCPAddr).AddrPort()
			io.WriteString(c, says)
			c.SetReadDeadline(time.Now().Add(wait)) // while both sides send again
			c.Read(make([]byte, 1))
			return nil
		})
		return from
	}
	var silent, talks netip.AddrPort
	files := onBothSides(t, l, func() {
		var wg sync.WaitGroup
		wg.Go(func() { silent = talk("", 3500*time.Millisecond) })
		wg.Go(func() { talks = talk("GET / HTTP/1.0\r\n\r\n", 7500*time.Millisecond) })
		wg.Wait()
	})
	said := map[netip.AddrPort]string{}
	for _, c := range compareFiles(t, program, files...) {
		if c.Kind != "connection" || c.Client.Server != l.Dst() {
			continue
		}
		var left []string
		for _, x := range c.Verdict.Candidates {
			left = append(left, x.Cause)
		}
		slices.Sort(left)
		said[c.Client.Client] = fmt.Sprint(c.Verdict.Certainty, left)
		if c.Directions[0].Lost < 2 || c.Directions[1].Lost != 0 {
			t.Errorf("%+v", c)
		}
	}
	want := map[netip.AddrPort]string{silent: "narrowed[packet-loss path-firewall-drop]", talks: "certain[path-firewall-drop]"}
	if !maps.Equal(said, want) {
		t.Errorf("%v, want %v", said, want)
	}
}

func after(s, mark string) string {
	_, rest, _ := strings.Cut(s, mark)
	return rest
}
