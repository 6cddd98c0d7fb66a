package afpacket_test

import (
	"bytes"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/afpacket"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// openRing starts a capture at the cable's far end.
func (c *cable) openRing(t *testing.T, bytes int) *afpacket.Ring {
	t.Helper()
	code, err := afpacket.Filter{Target: target4}.Program()
	if err != nil {
		t.Fatal(err)
	}
	var r *afpacket.Ring
	err = c.ns.Do(func() error {
		r, err = afpacket.OpenRing(code, afpacket.RingOptions{Interface: c.b, Bytes: bytes})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRing(t *testing.T) { nettest.InUserNS(t, testRing) }

// testRing compares what both kinds of capture see of the same packets.
func testRing(t *testing.T) {
	c := newCable(t)
	plain := c.open(t, afpacket.Filter{Target: target4}, c.b)
	r := c.openRing(t, 1<<20)
	defer r.Close()
	const n = 20
	for i := range n {
		p := syn(us4, target4)
		p[4], p[5] = 0, byte(i) // the identification counts them
		c.send(t, afpacket.EtherTypeIPv4, p)
		c.send(t, afpacket.EtherTypeIPv4, syn(us4, other4)) // not selected
	}
	for i := range n {
		want := next(t, plain)
		got := nextOfRing(t, r)
		if !bytes.Equal(got.Data, want.Data) || got.Data[5] != byte(i) || got.Interface != want.Interface || got.Direction != want.Direction ||
			got.EtherType != want.EtherType || got.HardwareType != want.HardwareType || got.HardwareAddr != want.HardwareAddr || got.Len != want.Len {
			t.Fatalf("packet %d is %+v, want %+v", i, got, want)
		}
		if d := got.Time.Sub(want.Time); d < -time.Second || d > time.Second {
			t.Errorf("captured at %v and %v", got.Time, want.Time)
		}
	}
	if name := r.InterfaceName(c.b); name != "b" {
		t.Errorf("the interface is %q", name)
	}
	if s, err := r.Stats(); err != nil || s.Received < n || s.Dropped != 0 {
		t.Errorf("%+v, %v", s, err)
	}
}

func nextOfRing(t *testing.T, r *afpacket.Ring) afpacket.Packet {
	t.Helper()
	var p afpacket.Packet
	for !r.Next(&p) {
		if err := r.SetDeadline(time.Now().Add(nettest.Patience)); err != nil {
			t.Fatal(err)
		}
		if err := r.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func TestRingGoesAround(t *testing.T) { nettest.InUserNS(t, testRingGoesAround) }

// testRingGoesAround sends several times what the ring holds.
func testRingGoesAround(t *testing.T) {
	c := newCable(t)
	r := c.openRing(t, 1<<20)
	defer r.Close()
	sent, got := 0, 0
	for range 40 {
		for range 100 {
			p := append(syn(us4, target4), make([]byte, 1300)...)
			p[2], p[3], p[4], p[5] = byte(len(p)>>8), byte(len(p)), byte(sent>>8), byte(sent)
			c.send(t, afpacket.EtherTypeIPv4, p)
			sent++
		}
		for ; got < sent; got++ {
			if p := nextOfRing(t, r); int(p.Data[4])<<8|int(p.Data[5]) != got || len(p.Data) != 1340 {
				t.Fatalf("packet %d has number %d and %d bytes", got, int(p.Data[4])<<8|int(p.Data[5]), len(p.Data))
			}
		}
	}
}

func TestRingDeadline(t *testing.T) { nettest.InUserNS(t, testRingDeadline) }

func testRingDeadline(t *testing.T) {
	c := newCable(t)
	r := c.openRing(t, 0)
	done := make(chan error)
	go func() { done <- r.Wait() }()
	r.SetDeadline(time.Unix(1, 0))
	if err := <-done; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}
