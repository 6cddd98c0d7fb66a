package tcpflow_test

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/pcapfile"
	"github.com/tcpwhy/tcpwhy/internal/tcpflow"
	"github.com/tcpwhy/tcpwhy/internal/tcpflow/flowtest"
)

// Connections that are over are forgotten when they have been silent for long
// enough, those that live and attempts that go on are not.
func TestLinger(t *testing.T) {
	port := func(n uint16) netip.AddrPort { return netip.AddrPortFrom(here.Addr(), n) }
	k := newTalk()
	closed, idle, attempt, clock := port(1001), port(1002), port(1003), uint16(2000)
	at := func(s int64, client netip.AddrPort) *talk {
		for k.now/1000+5 < s { // others make the clock go on
			clock++
			k.c = port(clock)
			k.client(5000, segment{flags: syn})
		}
		k.c = client
		return k
	}
	k.c = closed
	k.handshake().client(1, segment{flags: fin | ack, seq: 1, ack: 1}).server(1, segment{flags: fin | ack, seq: 1, ack: 2}).client(1, segment{flags: ack, seq: 2, ack: 2})
	k.c = idle
	k.handshake()
	k.c = attempt
	k.client(0, segment{flags: syn})
	for _, s := range []int64{7, 15, 31, 63, 90, 150} {
		if s != 90 {
			at(s, attempt).client(0, segment{flags: syn})
		}
		if s >= 31 && s <= 90 {
			at(s, closed).client(0, segment{flags: rst, seq: 2})
		}
	}
	at(600, closed).client(0, segment{flags: rst, seq: 2})
	at(600, idle).client(0, segment{flags: ack | psh, seq: 1, ack: 1, data: "x"})
	conns, _ := analyze(t, k.b.Bytes(), pcapfile.ReadOptions{}, tcpflow.Options{Linger: time.Minute})
	var got []string
	for _, c := range conns {
		if c.Client.Port() < 2000 {
			got = append(got, fmt.Sprint(c.Client.Port(), " ", summary(c)))
		}
	}
	slices.Sort(got)
	want := []string{
		"1001 closed syn1 synack1 established rst:client:exact rst:client:exact rst:client:exact",
		"1001 reset syn0 synack0 before rst:client:unknown",
		"1002 open syn1 synack1 established",
		"1003 timed-out syn6 synack0",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
}

// The parts together are all connections, and each part is the same in every
// run.
func TestParts(t *testing.T) {
	capture, _ := generate(t, flowtest.Config{Connections: 1500, Seconds: 5, Seed: 7, Snaplen: 100})
	for _, o := range []tcpflow.Options{{}, {MaxConnections: 96}, {Linger: time.Second}, {MaxConnections: 96, Linger: time.Second}} {
		whole, sum := analyze(t, capture, pcapfile.ReadOptions{}, o)
		byID := func(a, b *tcpflow.Conn) int { return cmp.Compare(a.ID, b.ID) }
		slices.SortStableFunc(whole, byID)
		want := ""
		for _, n := range []int{1, 2, 5} {
			parts, got := analyzeParts(t, capture, with(o, n))
			all := slices.Concat(parts[:]...)
			slices.SortStableFunc(all, byID)
			if len(all) < 1500 || fmt.Sprint(deref(all)) != fmt.Sprint(deref(whole)) || fmt.Sprintf("%+v", sum) != fmt.Sprintf("%+v", got) {
				t.Errorf("%+v, %d goroutines: %d connections, want %d; %+v, want %+v", o, n, len(all), len(whole), got.Counts, sum.Counts)
			}
			packets := uint64(0)
			for _, c := range all {
				packets += c.Dir[0].Packets + c.Dir[1].Packets
			}
			if packets != got.TCP {
				t.Errorf("%+v, %d goroutines: %d packets in connections, of %d", o, n, packets, got.TCP)
			}
			if want == "" {
				want = fmt.Sprint(ids(parts))
			}
			if s := fmt.Sprint(ids(parts)); s != want {
				t.Errorf("%+v, %d goroutines: another order", o, n)
			}
		}
	}
}

func deref(all []*tcpflow.Conn) (out []tcpflow.Conn) {
	for _, c := range all {
		out = append(out, *c)
	}
	return out
}

func ids(parts [tcpflow.Parts][]*tcpflow.Conn) (out [tcpflow.Parts][]uint64) {
	for i, p := range parts {
		for _, c := range p {
			out[i] = append(out[i], c.ID)
		}
	}
	return out
}

// analyzeParts gives all connections of a capture by part.
func analyzeParts(t *testing.T, capture []byte, o tcpflow.Options) (parts [tcpflow.Parts][]*tcpflow.Conn, s *tcpflow.Summary) {
	t.Helper()
	o.Part = func(part int, c *tcpflow.Conn) error { parts[part] = append(parts[part], c.Clone()); return nil }
	s, err := tcpflow.Analyze(t.Context(), reader(t, capture), o)
	if err != nil {
		t.Fatal(err)
	}
	return parts, s
}

// An error of the function for parts ends the analysis, early or at the end.
func TestPartError(t *testing.T) {
	capture, _ := generate(t, flowtest.Config{Connections: 1500, Seconds: 5, Seed: 7, Snaplen: 100})
	stop := errors.New("stop")
	for _, o := range []tcpflow.Options{{}, {MaxConnections: 96}} {
		var calls [tcpflow.Parts]int
		o.Part = func(part int, _ *tcpflow.Conn) error { calls[part]++; return stop }
		if _, err := tcpflow.Analyze(t.Context(), reader(t, capture), o); !errors.Is(err, stop) {
			t.Errorf("%+v: %v", o, err)
		}
		if most := slices.Max(calls[:]); most != 1 {
			t.Errorf("a part was called %d times after its error", most-1)
		}
	}
}

func reader(t *testing.T, capture []byte) *pcapfile.Reader {
	t.Helper()
	r, err := pcapfile.NewReader(bytes.NewReader(capture), pcapfile.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}
