package nfttrace

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/netns"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
	"github.com/tcpwhy/tcpwhy/internal/nft"
)

// open starts a Tracer in a new namespace with lo up and an input chain that
// drops what goes to port 8081 and rejects what goes to port 8082.
func open(t *testing.T, f Filter) (*netns.NS, *Tracer) {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	if err := nft.Apply(ns.Fd(), nft.Chain{Hook: nft.Input, Rules: []nft.Rule{
		nft.If(nft.DPort(8081)).Drop(), nft.If(nft.DPort(8082)).Reset(),
	}}); err != nil {
		t.Fatal(err)
	}
	var tracer *Tracer
	if err := ns.Do(func() (err error) {
		if err := loUp(); err != nil {
			return err
		}
		tracer, err = Open(f)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tracer.Close() })
	return ns, tracer
}

func loUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr)
}

// dial connects n times to a port that refuses.
func dial(t *testing.T, ns *netns.NS, addr string, n int) {
	t.Helper()
	if err := ns.Do(func() error {
		for range n {
			if c, err := net.Dial("tcp", addr); err == nil {
				c.Close()
				return errors.New(addr + " is open")
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestTracer(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		for _, f := range []Filter{{}, {Port: 8082}, {Client: netip.MustParseAddr("::ffff:127.0.0.1"), Port: 8082}} {
			ns, tracer := open(t, f)
			dial(t, ns, "127.0.0.1:8082", 1)
			if f.Port != 0 {
				dial(t, ns, "127.0.0.1:8083", 1)
			}
			if unmarked, err := tracer.Stop(); unmarked != 0 || err != nil {
				t.Errorf("%d unmarked, %v", unmarked, err)
			}
			var dropped, marked int
			var base Chain
			for {
				e, err := tracer.Next()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if e.Packet != nil {
					base = e.Chain
					if p := e.Packet; f.Port != 0 && p.Src.Port() != f.Port && p.Dst.Port() != f.Port {
						t.Errorf("another port: %+v", p)
					}
				}
				switch {
				case e.Kind == KindMarked:
					marked++
				case e.Verdict == Drop:
					dropped++
					r, err := tracer.Lookup(e, base)
					if want := (Rule{Hook: "input", Reject: "tcp reset"}); r != want || err != nil {
						t.Errorf("%+v, %v; want %+v", r, err, want)
					}
					e.Handle = 99
					if _, err := tracer.Lookup(e, base); !errors.Is(err, os.ErrNotExist) {
						t.Errorf("a rule that is not there: %v", err)
					}
					e.Generation--
					if _, err := tracer.Lookup(e, base); !errors.Is(err, ErrChanged) {
						t.Errorf("rules of before: %v", err)
					}
				}
			}
			if dropped != 1 || marked != 4 { // the SYN and its RST, each going out and coming in
				t.Errorf("%d dropped, %d marked", dropped, marked)
			}
		}
	})
}

// TestLost lets a small queue overflow.
func TestLost(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		ns, tracer := open(t, Filter{Rate: 1 << 20})
		if err := tracer.events.SetReadBuffer(1 << 14); err != nil {
			t.Fatal(err)
		}
		dial(t, ns, "127.0.0.1:8083", 200)
		if _, err := tracer.Stop(); err != nil {
			t.Fatal(err)
		}
		events := 0
		for {
			if _, err := tracer.Next(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			events++
		}
		if tracer.Lost() == 0 || events == 0 || events > 1000 {
			t.Errorf("%d events of some 1000, lost %d times", events, tracer.Lost())
		}
	})
}

// TestTwo has two at once, as two people have.
func TestTwo(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		ns, first := open(t, Filter{Port: 8082})
		var second *Tracer
		if err := ns.Do(func() (err error) {
			second, err = Open(Filter{Port: 8082})
			return err
		}); err != nil {
			t.Fatal(err)
		}
		defer second.Close()
		dial(t, ns, "127.0.0.1:8082", 1)
		for _, tracer := range []*Tracer{first, second} {
			drops := 0
			if _, err := tracer.Stop(); err != nil {
				t.Fatal(err)
			}
			for {
				e, err := tracer.Next()
				if err != nil {
					break
				}
				if e.Verdict == Drop {
					drops++
				}
			}
			if drops != 1 {
				t.Errorf("%d drops", drops)
			}
		}
	})
}
