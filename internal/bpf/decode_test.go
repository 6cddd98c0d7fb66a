package bpf

import (
	"encoding/binary"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

func newDecoder() *decoder {
	return &decoder{
		start: time.Now(), ns: 1000,
		drops: map[uint32]string{2: "NOT_SPECIFIED", 3: "NO_SOCKET"}, resets: map[uint32]string{1: "NO_SOCKET"},
		subsystems: map[uint32]string{0: "CORE", 2: "OPENVSWITCH"},
		location:   func(addr uint64) string { return "function" },
		names:      map[string]string{},
	}
}

// record is one as the programs write it, but for the addresses.
func record(kind byte, reason uint32, old, new byte, name string) []byte {
	b := make([]byte, eventSize)
	binary.LittleEndian.PutUint64(b, 1500)
	copy(b[16:], []byte{10: 0xff, 11: 0xff, 12: 192, 13: 0, 14: 2, 15: 1})
	copy(b[32:], []byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 15: 2})
	binary.LittleEndian.PutUint16(b[48:], 40000)
	binary.LittleEndian.PutUint16(b[50:], 80)
	binary.LittleEndian.PutUint32(b[52:], 4026531840)
	binary.LittleEndian.PutUint32(b[56:], reason)
	binary.LittleEndian.PutUint32(b[60:], 7)
	b[64], b[65], b[66], b[67], b[68] = kind, 0x12, 1, old, new
	copy(b[72:], name)
	return b
}

func TestDecode(t *testing.T) {
	d := newDecoder()
	var e Event
	if err := d.decode(record(0, 3, 0, 0, "eth0"), &e); err != nil {
		t.Fatal(err)
	}
	want := evidence.KernelEvent{
		Kind: evidence.EventDrop, Client: e.Client, Server: e.Server, Flags: "SYN,ACK", FromServer: true,
		Reason: "NO_SOCKET", Location: "function", Namespace: 4026531840, Interface: "eth0", PID: 7,
	}
	if e.KernelEvent != want || e.Client.String() != "192.0.2.1:40000" || e.Server.String() != "[2001:db8::2]:80" || e.Time.Sub(d.start) != 500 {
		t.Errorf("%+v, want %+v", e, want)
	}
	for reason, want := range map[uint32]string{2: "NOT_SPECIFIED", 99: "number 99", 2<<16 | 5: "OPENVSWITCH:5", 9<<16 | 5: "number 589829"} {
		if err := d.decode(record(0, reason, 0, 0, ""), &e); err != nil || e.Reason != want {
			t.Errorf("reason %#x is %q, want %q (%v)", reason, e.Reason, want, err)
		}
	}
	for _, c := range []struct {
		kind, old, new byte
		want           evidence.EventKind
		state          string
	}{
		{5, 3, 1, evidence.EventEstablished, "ESTABLISHED"},
		{5, 1, 8, evidence.EventState, "CLOSE_WAIT"},
		{5, 1, 77, evidence.EventState, "state 77"},
		{6, 0, 0, evidence.EventAccepted, ""},
	} {
		if err := d.decode(record(c.kind, 1, c.old, c.new, "x"), &e); err != nil || e.Kind != c.want || e.State != c.state || e.Reason != "" {
			t.Errorf("%+v: %+v, %v", c, e, err)
		}
	}
	if err := d.decode(record(7, 0, 0, 0, ""), &e); err == nil {
		t.Error("an unknown kind was taken")
	}
	if err := d.decode(make([]byte, eventSize-1), &e); err == nil {
		t.Error("a short record was taken")
	}
}

// Kernels before 5.17 and 6.10 give no reasons.
func TestNoReasons(t *testing.T) {
	d := newDecoder()
	d.drops, d.resets, d.subsystems = nil, nil, nil
	for _, kind := range []byte{0, 1} {
		var e Event
		if err := d.decode(record(kind, 0, 0, 0, ""), &e); err != nil || e.Reason != "" {
			t.Errorf("%+v, %v", e, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(record(0, 3, 0, 0, "eth0"))
	f.Add(record(6, 3, 0, 0, "evil\x1b[2J\nname\xff\xfe"))
	d := newDecoder()
	f.Fuzz(func(t *testing.T, raw []byte) {
		var e Event
		if d.decode(raw, &e) != nil {
			return
		}
		for _, s := range []string{e.Interface, e.Comm, e.Reason, e.State, e.Flags} {
			if strings.ContainsFunc(s, func(r rune) bool { return r > unicode.MaxASCII || !unicode.IsPrint(r) }) {
				t.Errorf("%q is not printable", s)
			}
		}
		if len(d.names) > maxNames {
			t.Errorf("%d names kept", len(d.names))
		}
	})
}
