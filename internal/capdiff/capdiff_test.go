package capdiff_test

import (
	"bytes"
	"cmp"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/tcpwhy/tcpwhy/internal/capdiff"
	"github.com/tcpwhy/tcpwhy/internal/pcapfile"
	"github.com/tcpwhy/tcpwhy/internal/tcpflow"
)

const ms = time.Millisecond

// path is two captures in the making: what is sent at one side and, if it is
// not lost, got at the other.
type path struct {
	t      testing.TB
	sides  [2][]sent
	offset time.Duration // of the second clock
	drift  float64
	// change is made to what arrives.
	change func(from tcpflow.Side, p *segment)
}

type sent struct {
	at   time.Duration
	data []byte
}

// segment is a TCP packet of the test.
type segment struct {
	client, server netip.AddrPort
	ip             layers.IPv4
	tcp            layers.TCP
	payload        []byte
	badSum         bool
}

var (
	client = netip.MustParseAddrPort("192.0.2.1:40000")
	server = netip.MustParseAddrPort("198.51.100.7:5432")
)

func newSegment(from tcpflow.Side, flags string, seq, ack uint32, payload string) segment {
	s := segment{client: client, server: server, payload: []byte(payload)}
	s.ip = layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, Flags: layers.IPv4DontFragment}
	s.tcp = layers.TCP{Seq: seq, Ack: ack, Window: 1000}
	for _, f := range flags {
		switch f {
		case 'S':
			s.tcp.SYN = true
			s.tcp.Options = []layers.TCPOption{{OptionType: 2, OptionLength: 4, OptionData: []byte{5, 180}}, {OptionType: 4, OptionLength: 2}}
		case 'A':
			s.tcp.ACK = true
		case 'F':
			s.tcp.FIN = true
		case 'R':
			s.tcp.RST = true
		}
	}
	return s
}

func (s *segment) bytes(t testing.TB, from tcpflow.Side) []byte {
	src, dst := s.client, s.server
	if from == tcpflow.Server {
		src, dst = dst, src
	}
	ip, tcp := s.ip, s.tcp
	ip.SrcIP, ip.DstIP = src.Addr().AsSlice(), dst.Addr().AsSlice()
	tcp.SrcPort, tcp.DstPort = layers.TCPPort(src.Port()), layers.TCPPort(dst.Port())
	if err := tcp.SetNetworkLayerForChecksum(&ip); err != nil {
		t.Fatal(err)
	}
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, &ip, &tcp, gopacket.Payload(s.payload)); err != nil {
		t.Fatal(err)
	}
	out := bytes.Clone(b.Bytes())
	if s.badSum {
		out[36] ^= 0x55
	}
	return out
}

// put adds a packet to what a side's capture sees, by the true time.
func (p *path) put(side tcpflow.Side, at time.Duration, from tcpflow.Side, s segment) {
	if side == tcpflow.Server {
		at += p.offset + time.Duration(p.drift*1e-6*float64(at))
	}
	p.sides[side] = append(p.sides[side], sent{at, s.bytes(p.t, from)})
}

// send sends a packet that takes a while, or is lost if that is 0. Two routers
// lower its TTL.
func (p *path) send(at, takes time.Duration, from tcpflow.Side, s segment) {
	p.put(from, at, from, s)
	if takes > 0 {
		p.got(at+takes, from, s)
	}
}

// got is a packet that arrives, whoever sent it.
func (p *path) got(at time.Duration, from tcpflow.Side, s segment) {
	s.ip.TTL -= 2
	if p.change != nil {
		p.change(from, &s)
	}
	p.put(from.Other(), at, from, s)
}

// handshake opens a connection at a time.
func (p *path) handshake(at time.Duration) {
	p.send(at, 10*ms, tcpflow.Client, newSegment(tcpflow.Client, "S", 1000, 0, ""))
	p.send(at+10*ms, 10*ms, tcpflow.Server, newSegment(tcpflow.Server, "SA", 5000, 1001, ""))
	p.send(at+20*ms, 10*ms, tcpflow.Client, newSegment(tcpflow.Client, "A", 1001, 5001, ""))
}

// file writes a side's capture.
func (p *path) file(side int) []byte {
	var b bytes.Buffer
	w := pcapgo.NewWriterNanos(&b)
	if err := w.WriteFileHeader(1<<18, layers.LinkTypeRaw); err != nil {
		p.t.Fatal(err)
	}
	slices.SortStableFunc(p.sides[side], func(x, y sent) int { return cmp.Compare(x.at, y.at) })
	for _, s := range p.sides[side] {
		info := gopacket.CaptureInfo{Timestamp: time.Unix(1_700_000_000, 0).Add(s.at), CaptureLength: len(s.data), Length: len(s.data)}
		if err := w.WritePacket(info, s.data); err != nil {
			p.t.Fatal(err)
		}
	}
	return b.Bytes()
}

// compare compares the two captures.
func (p *path) compare(o capdiff.Options) (*capdiff.Result, []capdiff.Pair) {
	p.t.Helper()
	r, pairs, err := compare(p.t, p.file(0), p.file(1), o)
	if err != nil {
		p.t.Fatal(err)
	}
	return r, pairs
}

func compare(t testing.TB, a, b []byte, o capdiff.Options) (*capdiff.Result, []capdiff.Pair, error) {
	var pairs []capdiff.Pair
	o.Pair = func(p *capdiff.Pair) error {
		q := *p
		q.Packets = slices.Clone(p.Packets)
		pairs = append(pairs, q)
		return nil
	}
	source := func(b []byte) capdiff.Source {
		return capdiff.Source{Open: func() (*pcapfile.Reader, error) {
			return pcapfile.NewReader(bytes.NewReader(b), pcapfile.ReadOptions{})
		}}
	}
	r, err := capdiff.Compare(t.Context(), [2]capdiff.Source{source(a), source(b)}, o)
	return r, pairs, err
}

// one gives the only pair.
func one(t *testing.T, pairs []capdiff.Pair) *capdiff.Pair {
	t.Helper()
	if len(pairs) != 1 {
		t.Fatalf("%d pairs, want 1", len(pairs))
	}
	return &pairs[0]
}

func fates(p *capdiff.Pair, from tcpflow.Side) (out []capdiff.Fate) {
	for _, x := range p.Packets {
		if x.From == from {
			out = append(out, x.Fate)
		}
	}
	return out
}

func wantFates(t *testing.T, p *capdiff.Pair, from tcpflow.Side, want ...capdiff.Fate) {
	t.Helper()
	if got := fates(p, from); !slices.Equal(got, want) {
		t.Errorf("the packets of the %v: %v, want %v", from, got, want)
	}
}

const arrived, lost, partly, madeUp, again = capdiff.Arrived, capdiff.Lost, capdiff.PartlyLost, capdiff.MadeUp, capdiff.Again

func TestLostBothWays(t *testing.T) {
	p := &path{t: t}
	p.handshake(0)
	// The same bytes, twice: the first copy was lost, and nothing but the time
	// tells the copies apart.
	data := newSegment(tcpflow.Client, "A", 1001, 5001, "hello")
	p.send(100*ms, 0, tcpflow.Client, data)
	p.send(300*ms, 10*ms, tcpflow.Client, data)
	ack := newSegment(tcpflow.Server, "A", 5001, 1006, "")
	p.send(310*ms, 0, tcpflow.Server, ack)
	p.send(500*ms, 10*ms, tcpflow.Client, data)
	p.send(510*ms, 10*ms, tcpflow.Server, ack)
	// Of these copies the second one was lost.
	more := newSegment(tcpflow.Client, "A", 1006, 5001, "world")
	p.send(600*ms, 10*ms, tcpflow.Client, more)
	p.send(700*ms, 0, tcpflow.Client, more)
	p.handshakeOf(time.Second)
	_, pairs := p.compare(capdiff.Options{})
	x := &pairs[0]
	wantFates(t, x, tcpflow.Client, arrived, arrived, lost, arrived, arrived, arrived, lost)
	wantFates(t, x, tcpflow.Server, arrived, lost, arrived)
	if d := x.Dir[tcpflow.Client]; d.Lost != 2 || d.LostBytes != 10 || d.Hops != [2]int{2, 2} || !d.Timed || d.Delay[0] < 9*ms || d.Delay[2] > 11*ms {
		t.Errorf("%+v", d)
	}
	if !x.Whole {
		t.Errorf("not whole: %s", x.Why)
	}
}

// handshakeOf opens another connection, from another port.
func (p *path) handshakeOf(at time.Duration) {
	other := netip.AddrPortFrom(client.Addr(), 41000)
	change := func(s segment) segment { s.client = other; return s }
	p.send(at, 10*ms, tcpflow.Client, change(newSegment(tcpflow.Client, "S", 77, 0, "")))
	p.send(at+10*ms, 10*ms, tcpflow.Server, change(newSegment(tcpflow.Server, "SA", 88, 78, "")))
}

func TestSegmentsCutAndJoined(t *testing.T) {
	p := &path{t: t}
	p.handshake(0)
	bytes3000 := string(make([]byte, 3000))
	// One large segment leaves, as three; the second is lost.
	p.put(tcpflow.Client, 100*ms, tcpflow.Client, newSegment(tcpflow.Client, "A", 1001, 5001, bytes3000))
	p.got(110*ms, tcpflow.Client, newSegment(tcpflow.Client, "A", 1001, 5001, bytes3000[:1000]))
	p.got(111*ms, tcpflow.Client, newSegment(tcpflow.Client, "A", 3001, 5001, bytes3000[:1000]))
	// It comes again.
	p.send(300*ms, 10*ms, tcpflow.Client, newSegment(tcpflow.Client, "A", 2001, 5001, bytes3000[:1000]))
	// Two segments leave, and are put together.
	p.put(tcpflow.Server, 400*ms, tcpflow.Server, newSegment(tcpflow.Server, "A", 5001, 4001, bytes3000[:1000]))
	p.put(tcpflow.Server, 401*ms, tcpflow.Server, newSegment(tcpflow.Server, "A", 6001, 4001, bytes3000[:500]))
	p.got(412*ms, tcpflow.Server, newSegment(tcpflow.Server, "A", 5001, 4001, bytes3000[:1500]))
	p.handshakeOf(time.Second)
	_, pairs := p.compare(capdiff.Options{})
	x := &pairs[0]
	wantFates(t, x, tcpflow.Client, arrived, arrived, partly, arrived)
	wantFates(t, x, tcpflow.Server, arrived, arrived, arrived)
	if d := x.Dir[tcpflow.Client]; d.LostBytes != 1000 {
		t.Errorf("%d bytes lost, want 1000", d.LostBytes)
	}
}

func TestMadeUpAndCopied(t *testing.T) {
	p := &path{t: t}
	p.handshake(0)
	data := newSegment(tcpflow.Client, "A", 1001, 5001, "hello")
	p.send(100*ms, 10*ms, tcpflow.Client, data)
	p.got(113*ms, tcpflow.Client, data)
	rst := newSegment(tcpflow.Server, "RA", 5001, 1006, "")
	rst.ip.TTL = 66
	p.got(105*ms, tcpflow.Server, rst)
	rst.tcp.Seq = 1006
	p.got(106*ms, tcpflow.Client, newSegment(tcpflow.Client, "R", 1006, 0, ""))
	p.handshakeOf(time.Second)
	_, pairs := p.compare(capdiff.Options{})
	x := &pairs[0]
	wantFates(t, x, tcpflow.Client, arrived, arrived, arrived, madeUp, again)
	wantFates(t, x, tcpflow.Server, arrived, madeUp)
}

func TestTranslatedAndRenumbered(t *testing.T) {
	p := &path{t: t}
	outside := netip.MustParseAddrPort("203.0.113.5:61234")
	inside := netip.MustParseAddrPort("10.0.0.9:15432")
	p.change = func(from tcpflow.Side, s *segment) {
		// The server's capture sees other addresses; the way back restores them.
		if from == tcpflow.Client {
			s.client, s.server = outside, inside
		}
	}
	p.send(0, 10*ms, tcpflow.Client, newSegment(tcpflow.Client, "S", 1000, 0, ""))
	answer := newSegment(tcpflow.Server, "SA", 5000, 1001, "")
	answer.client, answer.server = outside, inside
	p.put(tcpflow.Server, 10*ms, tcpflow.Server, answer)
	p.got(20*ms, tcpflow.Server, newSegment(tcpflow.Server, "SA", 9000, 1001, "")) // and another ISN
	p.send(20*ms, 10*ms, tcpflow.Client, newSegment(tcpflow.Client, "A", 1001, 9001, ""))
	// The numbers are translated on the way, too.
	last := p.sides[tcpflow.Server][len(p.sides[tcpflow.Server])-1]
	s := newSegment(tcpflow.Client, "A", 1001, 5001, "")
	s.client, s.server, s.ip.TTL = outside, inside, 62
	p.sides[tcpflow.Server][len(p.sides[tcpflow.Server])-1] = sent{last.at, s.bytes(t, tcpflow.Client)}
	_, pairs := p.compare(capdiff.Options{Complete: true})
	// The client's port and the server's are others: nothing but the number is
	// left, and that may be chance.
	if len(pairs) != 2 {
		t.Fatalf("%d pairs, want 2: the number alone is no proof", len(pairs))
	}
	inside = netip.AddrPortFrom(inside.Addr(), server.Port())
	p = &path{t: t, change: p.change}
	p.send(0, 10*ms, tcpflow.Client, newSegment(tcpflow.Client, "S", 1000, 0, ""))
	answer.server = inside
	p.put(tcpflow.Server, 10*ms, tcpflow.Server, answer)
	p.got(20*ms, tcpflow.Server, newSegment(tcpflow.Server, "SA", 9000, 1001, ""))
	x := one(t, second(p.compare(capdiff.Options{Complete: true})))
	if !x.Translated || !x.Renumbered || x.By != capdiff.ByISN || x.Dir[0].Lost+x.Dir[1].Lost+x.Dir[1].MadeUp > 0 {
		t.Errorf("%+v", x)
	}
}

func second[A, B any](_ A, b B) B { return b }

func TestChanges(t *testing.T) {
	p := &path{t: t}
	p.change = func(from tcpflow.Side, s *segment) {
		if s.tcp.SYN && from == tcpflow.Client {
			s.tcp.Options = []layers.TCPOption{{OptionType: 2, OptionLength: 4, OptionData: []byte{5, 100}}}
		}
		if len(s.payload) > 0 {
			s.ip.TOS = 3
			s.payload = bytes.ToUpper(s.payload)
			s.badSum = true
		}
	}
	p.handshake(0)
	data := newSegment(tcpflow.Client, "A", 1001, 5001, "hello")
	data.ip.TOS = 2
	p.send(100*ms, 10*ms, tcpflow.Client, data)
	_, pairs := p.compare(capdiff.Options{})
	var got []string
	for _, c := range pairs[0].Dir[tcpflow.Client].Changes {
		got = append(got, c.What+" "+c.From+">"+c.To)
	}
	want := []string{"mss 1460>1380", "options mss 1460,sackOK>mss 1380", "ecn ECT(0)>CE", "payload 5 bytes>other bytes", "checksum good>bad"}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
}

func TestPortsAndNumbersUsedAgain(t *testing.T) {
	p := &path{t: t, offset: time.Hour}
	// One four-tuple with the same numbers, three times; the second attempt gets
	// no answer and a third never arrives.
	p.handshake(0)
	p.send(100*ms, 10*ms, tcpflow.Client, newSegment(tcpflow.Client, "R", 1001, 0, ""))
	for i, takes := range []time.Duration{10 * ms, 0} {
		s := newSegment(tcpflow.Client, "S", 200000+uint32(i), 0, "")
		p.send(time.Duration(i+1)*time.Second, takes, tcpflow.Client, s)
	}
	p.handshakeOf(5 * time.Second)
	r, pairs := p.compare(capdiff.Options{})
	if r.Matched != 3 || r.ClientOnly != 1 || len(pairs) != 4 || pairs[2].Flow[tcpflow.Server] != nil || !pairs[2].Whole {
		t.Fatalf("%+v\n%+v", r, pairs)
	}
	wantFates(t, &pairs[2], tcpflow.Client, lost)
}

func TestClock(t *testing.T) {
	for _, drift := range []float64{0, 50, -120} {
		p := &path{t: t, offset: -3217 * ms, drift: drift}
		p.handshake(0)
		for i := range 600 {
			at := time.Duration(i+1) * 200 * ms
			queue := time.Duration(i*7919%97) * ms / 10
			p.send(at, ms+queue, tcpflow.Client, newSegment(tcpflow.Client, "A", 1001+uint32(i), 5001, "x"))
			p.send(at+50*ms, ms+queue, tcpflow.Server, newSegment(tcpflow.Server, "A", 5001, 1002+uint32(i), ""))
		}
		r, _ := p.compare(capdiff.Options{})
		k := r.Clock
		truth := p.offset + time.Duration(drift*1e-6*float64(time.Duration(k.At)-time.Duration(1_700_000_000)*time.Second))
		if !k.Known || k.Stepped || (k.Offset-truth).Abs() > k.Error || k.Error > 12*ms {
			t.Errorf("drift %v: the offset is %v within %v, the truth %v: %+v", drift, k.Offset, k.Error, truth, k)
		}
		if d := k.Drift - drift; d > k.DriftError+0.1 || d < -k.DriftError-0.1 || k.DriftError > 20 || drift == 0 && k.Drift != 0 {
			t.Errorf("the drift is %v within %v, the truth %v", k.Drift, k.DriftError, drift)
		}
	}
}

func TestWithoutCommonPackets(t *testing.T) {
	p := &path{t: t}
	for i := range 3 {
		p.send(time.Duration(i)*time.Second, 0, tcpflow.Client, newSegment(tcpflow.Client, "S", 1000, 0, ""))
	}
	_, pairs := p.compare(capdiff.Options{})
	if x := one(t, pairs); x.Whole || x.Dir[0].Lost != 0 || x.Dir[0].Unwatched != 3 {
		t.Errorf("nothing shows that the other capture ran: %+v", x)
	}
	_, pairs = p.compare(capdiff.Options{Complete: true})
	if x := one(t, pairs); !x.Whole || x.Dir[0].Lost != 3 {
		t.Errorf("it is known to be complete: %+v", x)
	}
}

// TestCaptureThatMisses: what a capture does not hold, though it was
// acknowledged, it lost itself, and perhaps more.
func TestCaptureThatMisses(t *testing.T) {
	for side := range 2 {
		p := &path{t: t}
		p.handshake(0)
		p.send(100*ms, 10*ms, tcpflow.Client, newSegment(tcpflow.Client, "A", 1001, 5001, "hello"))
		p.send(120*ms, 10*ms, tcpflow.Server, newSegment(tcpflow.Server, "A", 5001, 1006, ""))
		p.handshakeOf(time.Second)
		_, pairs := p.compare(capdiff.Options{Complete: true})
		if !pairs[0].Whole || !pairs[1].Whole {
			t.Errorf("not whole: %q, %q", pairs[0].Why, pairs[1].Why)
		}
		p.sides[side] = slices.Delete(p.sides[side], 3, 4) // the data
		_, pairs = p.compare(capdiff.Options{Complete: true})
		if pairs[0].Whole || pairs[1].Whole {
			t.Errorf("side %d misses packets, and the connections count as whole", side)
		}
	}
}

// TestNotAtTheServer: where other connections of the server have passed a router,
// one that ends there shows nothing of the server.
func TestNotAtTheServer(t *testing.T) {
	p := &path{t: t, change: func(from tcpflow.Side, s *segment) {
		if from == tcpflow.Client {
			s.ip.TTL = 62
		}
	}}
	seen := func(routers uint8) {
		p.sides = [2][]sent{}
		for i := range 4 {
			p.send(time.Duration(i)*time.Second, 10*ms, tcpflow.Client, newSegment(tcpflow.Client, "S", 1000, 0, ""))
		}
		other := netip.AddrPortFrom(server.Addr(), 22)
		for i := range 3 {
			at := time.Duration(i) * 4 * time.Second
			syn, answer := newSegment(tcpflow.Client, "S", uint32(77+i), 0, ""), newSegment(tcpflow.Server, "SA", 88, uint32(78+i), "")
			syn.server, answer.server = other, other
			syn.client = netip.AddrPortFrom(client.Addr(), uint16(41000+i))
			answer.client = syn.client
			p.send(at, 10*ms, tcpflow.Client, syn)
			answer.ip.TTL -= routers
			p.send(at+20*ms, 10*ms, tcpflow.Server, answer)
		}
	}
	for routers, whole := range map[uint8]bool{0: true, 1: false} {
		seen(routers)
		_, pairs := p.compare(capdiff.Options{Complete: true})
		i := slices.IndexFunc(pairs, func(p capdiff.Pair) bool { return p.Flow[0].Server == server })
		if pairs[i].Whole != whole {
			t.Errorf("%d routers before the server: whole %v %q", routers, pairs[i].Whole, pairs[i].Why)
		}
	}
}

func TestRoomIsBounded(t *testing.T) {
	p := &path{t: t}
	p.handshake(0)
	p.handshakeOf(time.Second)
	r, pairs := p.compare(capdiff.Options{MaxPackets: 3})
	if r.NotCompared != 1 || len(pairs) != 2 || !pairs[0].Compared || pairs[1].Compared {
		t.Errorf("%+v", r)
	}
}

func FuzzCompare(f *testing.F) {
	p := &path{t: f, offset: time.Minute}
	p.handshake(0)
	p.send(100*ms, 10*ms, tcpflow.Client, newSegment(tcpflow.Client, "A", 1001, 5001, "hello"))
	p.send(200*ms, 0, tcpflow.Server, newSegment(tcpflow.Server, "RA", 5001, 1006, ""))
	f.Add(p.file(0), p.file(1))
	f.Add(p.file(1), p.file(0))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		for _, complete := range []bool{false, true} {
			_, pairs, _ := compare(t, a, b, capdiff.Options{Complete: complete, MaxConnections: 100, Parallelism: 1})
			for i := range pairs {
				for s, d := range pairs[i].Dir {
					if d.Sent != d.Arrived+d.Lost+d.Unwatched {
						t.Fatalf("side %d: %+v", s, d)
					}
				}
			}
		}
	})
}
