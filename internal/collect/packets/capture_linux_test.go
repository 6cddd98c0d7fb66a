package packets

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gopacket/gopacket/pcapgo"
	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/afpacket"
	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
	"github.com/tcpwhy/tcpwhy/internal/tcpsock/routertest"
)

var families = []int{4, 6}

// internet is a net that has been seen to work in both families.
func internet(t *testing.T) *routertest.Net {
	t.Helper()
	n := routertest.New(t)
	for _, f := range families {
		nettest.Eventually(t, fmt.Sprintf("IPv%d does not work", f), func() bool {
			return dial(t, n.Client, netip.AddrPortFrom(routertest.Addr(f, 3, 2), 9)) == unix.ECONNREFUSED
		})
	}
	return n
}

func eachFamily(t *testing.T, test func(t *testing.T, n *routertest.Net, f int, server netip.Addr)) {
	nettest.InUserNS(t, func(t *testing.T) {
		n := internet(t)
		for _, f := range families {
			t.Run(fmt.Sprintf("IPv%d", f), func(t *testing.T) { test(t, n, f, routertest.Addr(f, 3, 2)) })
		}
	})
}

func TestHandshake(t *testing.T) {
	eachFamily(t, func(t *testing.T, n *routertest.Net, f int, server netip.Addr) {
		l := n.Server.Listen(netip.AddrPortFrom(server, 0))
		to := l.Addr().(interface{ AddrPort() netip.AddrPort }).AddrPort()
		c := capture(t, n.Client, server, routertest.Addr(f, 1, 1), Options{})
		if err := dial(t, n.Client, to); err != nil {
			t.Fatal(err)
		}
		// What connect() has seen must be there without waiting.
		got := c.Snapshot()
		if len(got) < 3 {
			t.Fatalf("%d packets right after the handshake", len(got))
		}
		syn, answer := got[0], got[1]
		if !syn.Outgoing || syn.Kind != "tcp" || syn.Flags != "SYN" || syn.Dst != to || syn.Src.Addr() != routertest.Addr(f, 1, 2) ||
			syn.Interface != "e0" || syn.TTL != 64 || syn.MSS == 0 || syn.Options == "" || syn.Window == 0 || syn.PayloadLen != 0 {
			t.Errorf("SYN: %+v", syn)
		}
		if answer.Outgoing || answer.Flags != "SYN,ACK" || answer.Src != to || answer.Dst != syn.Src || answer.TTL != 62 || answer.Ack != syn.Seq+1 {
			t.Errorf("SYN-ACK: %+v", answer)
		}
		if f == 4 && !syn.DF || !slices.IsSortedFunc(got, func(a, b evidence.Packet) int { return int(a.At - b.At) }) || syn.At <= 0 {
			t.Errorf("order, times or DF: %+v", got)
		}
		for _, option := range []string{"mss", "sackOK", "ts", "wscale"} {
			if !strings.Contains(syn.Options, option) {
				t.Errorf("options %q", syn.Options)
			}
		}
		all, stats := c.Stop()
		if len(all) < len(got) || stats.Received != len(all) || stats.Dropped != 0 || stats.Malformed != 0 || !slices.Equal(stats.Interfaces, []string{"e0"}) {
			t.Errorf("%d packets, then %d; %+v", len(got), len(all), stats)
		}
		if err := c.Err(); err != nil {
			t.Error(err)
		}
		if again := c.Snapshot(); len(again) != len(all) {
			t.Errorf("%d packets after Stop, want %d", len(again), len(all))
		}
	})
}

func TestRefused(t *testing.T) {
	eachFamily(t, func(t *testing.T, n *routertest.Net, f int, server netip.Addr) {
		c := capture(t, n.Client, server, netip.Addr{}, Options{})
		if err := dial(t, n.Client, netip.AddrPortFrom(server, 81)); err != unix.ECONNREFUSED {
			t.Fatal(err)
		}
		got := c.Snapshot()
		if len(got) != 2 || got[1].Flags != "RST,ACK" || got[1].TTL != 62 || got[1].Window != 0 || got[1].IPID != 0 {
			t.Errorf("%+v", got)
		}
	})
}

// The quote of an error: as it should be with and without checksum offload,
// and rewritten where a router translates. That shows where the checksum is
// left to the interface; where it is complete, Linux leaves no trace of NAT.
func TestQuote(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		for _, f := range families {
			server, dead, family := routertest.Addr(f, 3, 2), routertest.Addr(f, 9, 9), map[int]string{4: "ip", 6: "ip6"}[f]
			dnat := fmt.Sprintf("table %s n {\nchain c {\ntype nat hook prerouting priority -100\n%[1]s daddr %s tcp dport 80 dnat to %s\n}\n}\n", family, server, dead)
			for _, c := range []struct {
				name    string
				router  func(n *routertest.Net) *routertest.Node // that translates
				offload uint32
				want    evidence.Quote
				from    netip.Addr
			}{
				{"untouched, offload", nil, 1, evidence.QuoteIntact, routertest.Addr(f, 2, 2)},
				{"untouched, no offload", nil, 0, evidence.QuoteIntact, routertest.Addr(f, 2, 2)},
				{"DNAT on r1, offload", func(n *routertest.Net) *routertest.Node { return n.R1 }, 1, evidence.QuoteRewritten, server},
				{"DNAT on r2, offload", func(n *routertest.Net) *routertest.Node { return n.R2 }, 1, evidence.QuoteRewritten, server},
				{"DNAT on r2, no offload", func(n *routertest.Net) *routertest.Node { return n.R2 }, 0, evidence.QuoteIntact, server},
			} {
				t.Run(fmt.Sprintf("IPv%d %s", f, c.name), func(t *testing.T) {
					n := internet(t)
					for _, i := range []struct {
						node *routertest.Node
						name string
					}{{n.Client, "e0"}, {n.R1, "e0"}, {n.R1, "e1"}, {n.R2, "e0"}, {n.R2, "e1"}} {
						offload(t, i.node, i.name, c.offload)
					}
					if c.router == nil {
						n.R2.Filter("forward", "tcp dport 80 reject with icmpx host-unreachable")
					} else {
						n.R2.RouteType(f, netip.PrefixFrom(dead, 32).Masked().String(), unix.RTN_UNREACHABLE)
						nft(t, c.router(n), dnat)
					}
					capture := capture(t, n.Client, server, netip.Addr{}, Options{})
					_ = dial(t, n.Client, netip.AddrPortFrom(server, 80))
					p := until(t, capture, "ICMP error", func(p evidence.Packet) bool { return p.Kind == "icmp" })
					syn := capture.Snapshot()[0]
					if p.Quote != c.want || p.Src.Addr() != c.from || p.Outgoing || p.TTL < 62 {
						t.Errorf("%+v, want %q from %v", p, c.want, c.from)
					}
					if p.Inner.Local != syn.Src || p.Inner.Remote != syn.Dst {
						t.Errorf("quotes %v, SYN was %v to %v", p.Inner, syn.Src, syn.Dst)
					}
				})
			}
		}
	})
}

func TestLocalReject(t *testing.T) {
	eachFamily(t, func(t *testing.T, n *routertest.Net, f int, server netip.Addr) {
		n.Client.Filter("output", fmt.Sprintf("tcp dport %d reject", 100+f))
		c := capture(t, n.Client, server, netip.Addr{}, Options{})
		_ = dial(t, n.Client, netip.AddrPortFrom(server, uint16(100+f)))
		p := until(t, c, "ICMP error", func(p evidence.Packet) bool { return p.Kind == "icmp" && !p.Outgoing })
		if p.Interface != "lo" || p.Src.Addr() != routertest.Addr(f, 1, 2) || p.Quote != evidence.QuoteIntact {
			t.Errorf("%+v", p)
		}
		for _, p := range c.Snapshot() {
			if p.Kind == "tcp" {
				t.Errorf("a SYN left: %+v", p)
			}
		}
	})
}

// On the own link: the neighbour that answers, and the one that does not.
func TestNeighbour(t *testing.T) {
	eachFamily(t, func(t *testing.T, n *routertest.Net, f int, _ netip.Addr) {
		ask, tell := "who-has", "is-at"
		kind := "arp"
		if f == 6 {
			ask, tell, kind = "solicitation", "advertisement", "nd"
		}
		gateway, missing := routertest.Addr(f, 1, 1), routertest.Addr(f, 1, 77)
		c := capture(t, n.Client, missing, gateway, Options{})
		_ = dial(t, n.Client, netip.AddrPortFrom(missing, 80))
		q := until(t, c, "question for the missing neighbour", func(p evidence.Packet) bool { return p.Outgoing && p.About == missing })
		if q.Kind != kind || q.Op != ask || len(q.MAC) != 17 {
			t.Errorf("%+v", q)
		}

		// The router asks for the client and the other way round, so this one
		// asks anew.
		n.Client.Do(func() {
			out, err := exec.Command("ip", "neigh", "flush", "all").CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
		_ = dial(t, n.Client, netip.AddrPortFrom(routertest.Addr(f, 3, 2), 9))
		a := until(t, c, "answer of the gateway", func(p evidence.Packet) bool { return !p.Outgoing && p.Op == tell })
		if a.Kind != kind || a.About != gateway || len(a.MAC) != 17 || a.Src.Addr() != gateway {
			t.Errorf("%+v", a)
		}
	})
}

func TestLoopback(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		n := routertest.New(t)
		for _, a := range []string{"127.0.0.1", "::1"} {
			target := netip.MustParseAddr(a)
			c := capture(t, n.Client, target, netip.Addr{}, Options{})
			if err := dial(t, n.Client, netip.AddrPortFrom(target, 81)); err != unix.ECONNREFUSED {
				t.Fatal(err)
			}
			var got []string
			for _, p := range c.Snapshot() {
				got = append(got, fmt.Sprintf("%v %s %s", p.Outgoing, p.Interface, p.Flags))
			}
			if want := []string{"true lo SYN", "false lo SYN", "true lo RST,ACK", "false lo RST,ACK"}; !slices.Equal(got, want) {
				t.Errorf("%s: %q, want %q", a, got, want)
			}
		}
	})
}

func TestFile(t *testing.T) {
	eachFamily(t, func(t *testing.T, n *routertest.Net, f int, server netip.Addr) {
		var file bytes.Buffer
		c := capture(t, n.Client, server, netip.Addr{}, Options{Write: &file, Application: "tcpwhy test"})
		_ = dial(t, n.Client, netip.AddrPortFrom(server, 81))
		if err := c.Conclude("narrowed: no-listener"); err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(file.Bytes(), []byte("narrowed: no-listener")) {
			t.Error("the file has no conclusion")
		}
		r, err := pcapgo.NewNgReader(&file, pcapgo.NgReaderOptions{WantMixedLinkType: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, outgoing := range []bool{true, false} {
			data, info, err := r.ReadPacketData()
			if err != nil {
				t.Fatal(err)
			}
			i, err := r.Interface(info.InterfaceIndex)
			if err != nil || i.Name != "e0" || (data[10] == 4) != outgoing {
				t.Errorf("%x on %+v, %v", data, i, err)
			}
		}
	})
}

func TestFileWithoutPackets(t *testing.T) {
	eachFamily(t, func(t *testing.T, n *routertest.Net, f int, server netip.Addr) {
		var file bytes.Buffer
		c := capture(t, n.Client, server, netip.Addr{}, Options{Write: &file})
		c.Stop()
		r, err := pcapgo.NewNgReader(&file, pcapgo.DefaultNgReaderOptions)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := r.SectionInfo().Comment, "no packet to or from "+server.String()+" was seen"; got != want {
			t.Errorf("comment %q, want %q", got, want)
		}
	})
}

func TestFileFails(t *testing.T) {
	eachFamily(t, func(t *testing.T, n *routertest.Net, f int, server netip.Addr) {
		file, err := os.Create(filepath.Join(t.TempDir(), "a.pcapng"))
		if err != nil {
			t.Fatal(err)
		}
		file.Close()
		c := capture(t, n.Client, server, netip.Addr{}, Options{Write: file})
		_ = dial(t, n.Client, netip.AddrPortFrom(server, 81))
		if got, _ := c.Stop(); len(got) != 2 {
			t.Errorf("%d packets, want 2 in spite of the file", len(got))
		}
		if err := c.Err(); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("error %v", err)
		}
		if err := c.Conclude("x"); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("Conclude: %v", err)
		}
	})
}

func TestCancel(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		n := internet(t)
		server := routertest.Addr(4, 3, 2)
		nettest.LeakCheck(t)
		ctx, cancel := context.WithCancel(context.Background())
		var c *Capture
		var err error
		n.Client.Do(func() { c, err = Start(ctx, collect.Env{Clock: collect.NewClock()}, server, netip.Addr{}, Options{}) })
		if err != nil {
			t.Fatal(err)
		}
		_ = dial(t, n.Client, netip.AddrPortFrom(server, 81))
		cancel()
		<-c.done
		if got, _ := c.Stop(); len(got) != 2 || c.Err() != nil {
			t.Errorf("%+v, %v", got, c.Err())
		}
	})
}

func TestPermission(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		routertest.AsUser(t, func() {
			_, err := Start(context.Background(), collect.Env{}, netip.MustParseAddr("192.0.2.1"), netip.Addr{}, Options{})
			var denied *afpacket.PermissionError
			if !errors.As(err, &denied) || !errors.Is(err, fs.ErrPermission) {
				t.Errorf("error %v", err)
			}
		})
	})
}

func TestKeepsNoMoreThanAllowed(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		n := internet(t)
		server := routertest.Addr(4, 3, 2)
		var file bytes.Buffer
		c := capture(t, n.Client, server, netip.Addr{}, Options{Write: &file})
		c.mu.Lock()
		c.packets = make([]evidence.Packet, MaxKept-1)
		c.mu.Unlock()
		_ = dial(t, n.Client, netip.AddrPortFrom(server, 81))
		got, stats := c.Stop()
		if len(got) != MaxKept || stats.Received != 2 || file.Len() < 2*60 {
			t.Errorf("kept %d; %+v; %d bytes of file", len(got), stats, file.Len())
		}
	})
}
