package tcpflow_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/pcapfile"
	"github.com/tcpwhy/tcpwhy/internal/tcpflow"
	"github.com/tcpwhy/tcpwhy/internal/tcpflow/flowtest"
)

// summary puts the main points of a connection in one line.
func summary(c *tcpflow.Conn) string {
	s := fmt.Sprintf("%s syn%d synack%d", c.Outcome, c.SYN.Count, c.SYNACK.Count)
	for _, w := range []struct {
		yes  bool
		word string
	}{{c.Established, "established"}, {c.BeganBefore, "before"}, {c.SimultaneousOpen, "simultaneous"}} {
		if w.yes {
			s += " " + w.word
		}
	}
	for _, r := range c.Resets {
		s += fmt.Sprintf(" rst:%s:%s", r.From, r.InWindow)
		if r.TTLDiffers {
			s += ":ttl"
		}
	}
	return s
}

func TestOutcomes(t *testing.T) {
	request := segment{flags: psh | ack, seq: 1, ack: 1, data: "GET"}
	for _, c := range []struct {
		name string
		talk *talk
		want string
	}{
		{"silence", newTalk().client(0, segment{flags: syn}).client(1000, segment{flags: syn}), "timed-out syn2 synack0"},
		{"refused", newTalk().client(0, segment{flags: syn}).server(1, segment{flags: rst | ack, ack: 1}), "refused syn1 synack0 rst:server:exact"},
		{"refused with a wrong number", newTalk().client(0, segment{flags: syn}).server(1, segment{flags: rst | ack, ack: 77}), "timed-out syn1 synack0 rst:server:out"},
		{"SYN again after it was refused", newTalk().client(0, segment{flags: syn}).server(1, segment{flags: rst | ack, ack: 1}).client(500, segment{flags: syn}).server(1, segment{flags: rst | ack, ack: 1}),
			"refused syn2 synack0 rst:server:exact rst:server:exact"},
		{"SYN and SYN-ACK captured twice", newTalk().client(0, segment{flags: syn}).client(1, segment{flags: syn}).client(1000, segment{flags: syn}).client(0, segment{flags: syn}).
			server(9, segment{flags: syn | ack, ack: 1}).server(1, segment{flags: syn | ack, ack: 1}), "unconfirmed syn2 synack1"},
		{"no final ACK", newTalk().client(0, segment{flags: syn}).server(1, segment{flags: syn | ack, ack: 1}).server(1000, segment{flags: syn | ack, ack: 1}), "unconfirmed syn1 synack2"},
		{"an ACK for something else", newTalk().client(0, segment{flags: syn}).server(1, segment{flags: syn | ack, ack: 1}).client(1, segment{flags: ack, seq: 1, ack: 0}), "unconfirmed syn1 synack1"},
		{"scan", newTalk().client(0, segment{flags: syn}).server(1, segment{flags: syn | ack, ack: 1}).client(1, segment{flags: rst, seq: 1}), "abandoned syn1 synack1 rst:client:exact"},
		{"server resets the handshake", newTalk().client(0, segment{flags: syn}).server(1, segment{flags: syn | ack, ack: 1}).server(1, segment{flags: rst, seq: 1}), "reset syn1 synack1 rst:server:exact"},
		{"open", newTalk().handshake().client(1, request), "open syn1 synack1 established"},
		{"half-closed", newTalk().handshake().client(1, segment{flags: fin | ack, seq: 1, ack: 1}).server(1, segment{flags: ack, seq: 1, ack: 2}), "half-closed syn1 synack1 established"},
		{"closed, RST behind it", newTalk().handshake().client(1, segment{flags: fin | ack, seq: 1, ack: 1}).server(1, segment{flags: fin | ack, seq: 1, ack: 2}).client(1, segment{flags: ack, seq: 2, ack: 2}).client(1, segment{flags: rst, seq: 2}),
			"closed syn1 synack1 established rst:client:exact"},
		{"reset by the server", newTalk().handshake().client(1, request).server(1, segment{flags: rst | ack, seq: 1, ack: 4}), "reset syn1 synack1 established rst:server:exact"},
		{"reset from elsewhere", newTalk().handshake().client(1, request).server(1, segment{flags: rst | ack, seq: 1, ack: 4, ttl: 120}), "reset syn1 synack1 established rst:server:exact:ttl"},
		{"forged and ignored", newTalk().handshake().client(1, request).server(1, segment{flags: rst, seq: 900_000_000, ttl: 99}).server(1, segment{flags: ack, seq: 1, ack: 4, data: "200"}),
			"open syn1 synack1 established rst:server:out:ttl"},
		{"forged, in the window", newTalk().handshake().client(1, request).server(1, segment{flags: rst, seq: 300}), "reset syn1 synack1 established rst:server:in"},
		{"only the client's side", newTalk().client(0, segment{flags: syn}).client(1, segment{flags: ack, seq: 1, ack: 1}).client(1, request), "open syn1 synack0 established"},
		{"only the server's side", newTalk().server(0, segment{flags: syn | ack, ack: 1}).server(9, segment{flags: ack | psh, seq: 1, ack: 1, data: "x"}), "open syn0 synack1 established before"},
		{"began before", newTalk().client(0, request).server(1, segment{flags: ack, seq: 1, ack: 4}), "open syn0 synack0 established before"},
		{"a lone RST", newTalk().server(0, segment{flags: rst, seq: 1}), "reset syn0 synack0 before rst:server:unknown"},
		{"simultaneous open", newTalk().client(0, segment{flags: syn}).server(1, segment{flags: syn}).client(1, segment{flags: syn | ack, ack: 1}).server(1, segment{flags: syn | ack, ack: 1}).client(1, segment{flags: ack, seq: 1, ack: 1}),
			"open syn1 synack1 established simultaneous"},
		{"challenge ACK from an old connection", newTalk().client(0, segment{flags: syn}).server(1, segment{flags: ack, seq: 999, ack: 55}), "timed-out syn1 synack0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := c.talk.one(t)
			if summary(got) != c.want {
				t.Errorf("%s, want %s", summary(got), c.want)
			}
			if got.Client != here || got.Server != there {
				t.Errorf("%s > %s", got.Client, got.Server)
			}
		})
	}
}

// The same ports again, with another sequence number, are another connection.
func TestReuse(t *testing.T) {
	k := newTalk().handshake().client(1, segment{flags: rst, seq: 1})
	k.client(9, segment{flags: syn, seq: 70000}).server(1, segment{flags: rst | ack, ack: 70001})
	k.client(9, segment{flags: syn, seq: 90000})
	var got []string
	for _, c := range k.conns(t) {
		got = append(got, fmt.Sprint(c.ID, " ", summary(c)))
	}
	want := "[1 reset syn1 synack1 established rst:client:exact 5 refused syn1 synack0 rst:server:exact 7 timed-out syn1 synack0]"
	if fmt.Sprint(got) != want {
		t.Errorf("%v\nwant %s", got, want)
	}
}

func TestDetails(t *testing.T) {
	k := newTalk()
	k.s = netip.MustParseAddrPort("[2001:db8::7]:22")
	k.c = netip.MustParseAddrPort("[2001:db8::1]:40000")
	k.client(0, segment{flags: syn | 0xc0}).server(20, segment{flags: syn | ack | 0x40, ack: 1, ttl: 57}).client(1, segment{flags: ack, seq: 1, ack: 1})
	k.server(5, segment{flags: ack | psh, seq: 1, ack: 1, data: "SSH-2.0-x\r\n", ttl: 55})
	k.client(2000, segment{flags: ack, seq: 1, ack: 12, window: 1}).client(500, segment{flags: ack, seq: 1, ack: 12})
	c := k.one(t)
	a, b := c.Dir[tcpflow.Client], c.Dir[tcpflow.Server]
	synACK, final := c.HandshakeTimes()
	if synACK != 20*time.Millisecond || final != time.Millisecond || c.Last.Sub(c.First) != 2526*time.Millisecond {
		t.Error(synACK, final, c.Last.Sub(c.First))
	}
	if c.Client != k.c || c.Server != k.s || c.Place != tcpflow.PlaceClient {
		t.Errorf("%s > %s, %s", c.Client, c.Server, c.Place)
	}
	if a.MSS != 1460 || a.WindowScale != 7 || !a.SACK || !a.Timestamps || !a.ECN || !b.ECN || a.ISN != 1000 || b.ISN != 5000 {
		t.Errorf("%+v\n%+v", a, b)
	}
	if b.FirstTTL != 57 || b.MinTTL != 55 || b.MaxTTL != 57 || b.Bytes != 11 || string(b.Data) != "SSH-2.0-x\r\n" || b.Packets != 2 {
		t.Errorf("%+v", b)
	}
	if a.ZeroWindows != 1 || a.ZeroWindowFor != 500*time.Millisecond || a.ZeroWindowNow || a.ZeroWindowFirst != c.Last-500e6 {
		t.Errorf("%+v", a)
	}
}

// TestMissed: what a side acknowledged and the capture does not hold.
func TestMissed(t *testing.T) {
	request := segment{flags: psh | ack, seq: 1, ack: 1, data: "GET"}
	for _, c := range []struct {
		name string
		talk *talk
		want [2]bool
	}{
		{"nothing", newTalk().handshake().client(1, request).server(1, segment{flags: ack, seq: 1, ack: 4}), [2]bool{}},
		{"a request", newTalk().handshake().server(1, segment{flags: ack, seq: 1, ack: 4}), [2]bool{true, false}},
		{"in between", newTalk().handshake().client(1, segment{flags: ack, seq: 9, ack: 1, data: "more"}).server(1, segment{flags: ack, seq: 1, ack: 13}), [2]bool{true, false}},
		{"lost, and sent again", newTalk().handshake().server(1, segment{flags: ack, seq: 4, ack: 1, data: "200"}).server(300, segment{flags: ack, seq: 1, ack: 1, data: "abc"}).client(1, segment{flags: ack, seq: 1, ack: 7}), [2]bool{}},
		{"lost, and not acknowledged", newTalk().handshake().server(1, segment{flags: ack, seq: 4, ack: 1, data: "200"}).client(1, segment{flags: ack, seq: 1, ack: 1}), [2]bool{}},
		{"a FIN", newTalk().handshake().server(1, segment{flags: fin | ack, seq: 1, ack: 2}), [2]bool{true, false}},
		{"a FIN that is sent again", newTalk().handshake().server(1, segment{flags: fin | ack, seq: 1, ack: 2}).client(200, segment{flags: fin | ack, seq: 1, ack: 1}).server(1, segment{flags: ack, seq: 2, ack: 2}), [2]bool{true, false}},
		{"a request that a RST answers", newTalk().handshake().server(1, segment{flags: rst | ack, seq: 1, ack: 4}), [2]bool{true, false}},
		{"the byte of a probe", newTalk().handshake().server(1, segment{flags: ack, seq: 1, ack: 1, window: 1}).client(200, segment{flags: ack, seq: 1, ack: 1, data: "x"}).server(1, segment{flags: ack, seq: 1, ack: 2, window: 1}), [2]bool{}},
		{"older than the capture", newTalk().client(0, request).server(1, segment{flags: ack, seq: 1, ack: 9}), [2]bool{}},
	} {
		x := c.talk.one(t)
		if got := [2]bool{x.Dir[0].Missed, x.Dir[1].Missed}; got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestICMP(t *testing.T) {
	k := newTalk().client(0, segment{flags: syn})
	quoted := append([]byte(nil), k.b.Bytes()[24+16:]...)
	send := func(ms int64, ttl byte, body []byte) {
		k.record(ms, append([]byte{0x45, 0, 0, byte(20 + len(body)), 0, 0, 0, 0, ttl, 1, 0, 0, 203, 0, 113, 9, 192, 0, 2, 1}, body...))
	}
	send(10, 250, append([]byte{3, 13, 0, 0, 0, 0, 0, 0}, quoted...))
	send(10, 250, append([]byte{3, 4, 0, 0, 0, 0, 5, 100}, quoted[:28]...))
	rewritten := append([]byte(nil), quoted...)
	rewritten[36]++
	send(10, 250, append([]byte{11, 0, 0, 0, 0, 0, 0, 0}, rewritten...))
	for range 5 {
		send(10, 250, append([]byte{3, 1, 0, 0, 0, 0, 0, 0}, quoted...))
	}
	stranger := append([]byte(nil), quoted...)
	stranger[21]++ // another port
	send(10, 250, append([]byte{3, 1, 0, 0, 0, 0, 0, 0}, stranger...))
	conns, s := analyze(t, k.b.Bytes(), pcapfile.ReadOptions{}, tcpflow.Options{})
	if len(conns) != 1 || s.ICMP != 9 || s.ICMPStray != 1 {
		t.Fatalf("%d connections, %+v", len(conns), s.Counts)
	}
	c := conns[0]
	if c.Outcome != tcpflow.Rejected || c.ICMPCount != 8 || len(c.ICMP) != tcpflow.MaxICMPErrors {
		t.Fatalf("%+v", c)
	}
	for i, want := range []tcpflow.ICMPError{
		{Type: 3, Code: 13, Quote: evidence.QuoteIntact}, {Type: 3, Code: 4, MTU: 1380}, {Type: 11, Quote: evidence.QuoteRewritten}, {Type: 3, Code: 1, Quote: evidence.QuoteIntact},
	} {
		want.At, want.Sender, want.TTL, want.SYN = c.First+tcpflow.Time(i+1)*10e6, netip.MustParseAddr("203.0.113.9"), 250, true
		if c.ICMP[i] != want {
			t.Errorf("%+v, want %+v", c.ICMP[i], want)
		}
	}
}

// A checksum that was left to the interface tells who captured.
func TestPlace(t *testing.T) {
	offloaded := func(k *talk, n int) *talk {
		b := k.b.Bytes()
		at := 24
		for range n {
			at += 16 + int(binary.LittleEndian.Uint32(b[at+8:]))
		}
		p := b[at+16:]
		sum := uint32(6 + len(p[:binary.BigEndian.Uint16(p[2:])]) - 20)
		for i := 12; i < 20; i += 2 {
			sum += uint32(binary.BigEndian.Uint16(p[i:]))
		}
		binary.BigEndian.PutUint16(p[36:], uint16(sum>>16+sum&0xffff))
		return k
	}
	for _, c := range []struct {
		want tcpflow.Place
		talk *talk
	}{
		{tcpflow.PlaceUnknown, newTalk().handshake()},
		{tcpflow.PlaceClient, offloaded(newTalk().handshake(), 0)},
		{tcpflow.PlaceServer, offloaded(newTalk().handshake(), 1)},
		{tcpflow.PlaceBoth, offloaded(offloaded(newTalk().handshake(), 0), 1)},
		{tcpflow.PlaceServer, newTalk().client(0, segment{flags: syn, ttl: 60}).server(1, segment{flags: syn | ack, ack: 1})},
		{tcpflow.PlaceBetween, newTalk().client(0, segment{flags: syn, ttl: 60}).server(1, segment{flags: syn | ack, ack: 1, ttl: 62})},
	} {
		if got := c.talk.one(t).Place; got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
}

func TestLookups(t *testing.T) {
	k := newTalk()
	udp := func(ms int64, src, dst netip.AddrPort, m *dns.Msg) {
		b, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		h := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0}
		h = append(append(h, src.Addr().AsSlice()...), dst.Addr().AsSlice()...)
		binary.BigEndian.PutUint16(h[2:], uint16(28+len(b)))
		for _, v := range []uint16{src.Port(), dst.Port(), uint16(8 + len(b)), 0} {
			h = binary.BigEndian.AppendUint16(h, v)
		}
		k.record(ms, append(h, b...))
	}
	me, server := netip.MustParseAddrPort("192.0.2.1:5555"), netip.MustParseAddrPort("192.0.2.53:53")
	ask := new(dns.Msg).SetQuestion("db.example.", dns.TypeA)
	udp(0, me, server, ask)
	udp(1000, me, server, ask)
	answer := new(dns.Msg).SetReply(ask)
	answer.Answer = []dns.RR{
		&dns.CNAME{Hdr: dns.RR_Header{Name: "db.example.", Rrtype: dns.TypeCNAME, Class: 1}, Target: "x.example."},
		&dns.A{Hdr: dns.RR_Header{Name: "x.example.", Rrtype: dns.TypeA, Class: 1}, A: there.Addr().AsSlice()},
	}
	udp(5, server, me, answer)
	no := new(dns.Msg).SetRcode(new(dns.Msg).SetQuestion("a\x01b.example.", dns.TypeAAAA), dns.RcodeNameError)
	udp(5, server, me, no)
	k.handshake()
	conns, s := analyze(t, k.b.Bytes(), pcapfile.ReadOptions{}, tcpflow.Options{})
	if len(s.Lookups) != 2 || s.DNS != 4 {
		t.Fatalf("%+v", s)
	}
	l := s.Lookups[0]
	if l.Name != "db.example" || l.Tries != 2 || l.Answered.Sub(l.Asked) != 1005*time.Millisecond || fmt.Sprint(l.Addrs) != "[198.51.100.7]" || l.Client != me {
		t.Errorf("%+v", l)
	}
	if l := s.Lookups[1]; l.RCode != 3 || l.Asked != 0 || strings.ContainsRune(l.Name, 1) {
		t.Errorf("%+v", l)
	}
	if got := s.Name(here.Addr(), there.Addr(), conns[0].First); got != "db.example" {
		t.Errorf("name %q", got)
	}
	if got := s.Name(here.Addr(), there.Addr(), l.Asked); got != "" {
		t.Errorf("name %q before the answer", got)
	}
}

// FuzzAnalyze: no panic, no packet in two connections or in none, whatever the
// capture.
func FuzzAnalyze(f *testing.F) {
	for _, k := range sessions() {
		f.Add(k.b.Bytes())
	}
	capture, _ := generate(f, flowtest.Config{Connections: 20, Seconds: 1, Seed: 20, Snaplen: 90})
	f.Add(capture)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			return
		}
		for _, most := range []int{0, 16} {
			r, err := pcapfile.NewReader(bytes.NewReader(data), pcapfile.ReadOptions{BatchBytes: 1000})
			if err != nil {
				return
			}
			var packets uint64
			s, _ := tcpflow.Analyze(t.Context(), r, tcpflow.Options{Parallelism: 1, MaxConnections: most, Linger: time.Duration(most) * time.Second, Conn: func(c *tcpflow.Conn) error {
				packets += c.Dir[0].Packets + c.Dir[1].Packets
				return nil
			}})
			r.Close()
			if packets != s.TCP || s.TCP+s.ICMP+s.NotTCP+s.Malformed+s.Fragments+s.Snapped+s.UnknownLink+s.DNS != s.Packets {
				t.Fatalf("%d packets in connections; %+v", packets, s.Counts)
			}
		}
	})
}
