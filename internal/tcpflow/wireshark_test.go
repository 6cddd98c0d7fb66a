package tcpflow_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/nettest"
	"github.com/tcpwhy/tcpwhy/internal/pcapfile"
	"github.com/tcpwhy/tcpwhy/internal/tcpflow"
	"github.com/tcpwhy/tcpwhy/internal/tcpflow/flowtest"
	"github.com/tcpwhy/tcpwhy/internal/wire"
)

var (
	here  = netip.MustParseAddrPort("192.0.2.1:40000")
	there = netip.MustParseAddrPort("198.51.100.7:443")
)

// talk writes captures by hand. Sequence numbers are relative to 1000 for the
// client and 5000 for the server.
type talk struct {
	b    bytes.Buffer
	now  int64 // ms
	c, s netip.AddrPort
	ttl  uint8
}

func newTalk() *talk {
	t := &talk{c: here, s: there, ttl: 64}
	t.b.Write([]byte{0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 101, 0, 0, 0})
	return t
}

func (t *talk) record(ms int64, data []byte) {
	t.now += ms
	h := binary.LittleEndian.AppendUint32(nil, uint32(1_700_000_000+t.now/1000))
	h = binary.LittleEndian.AppendUint32(h, uint32(t.now%1000*1000))
	h = binary.LittleEndian.AppendUint32(h, uint32(len(data)))
	h = binary.LittleEndian.AppendUint32(h, uint32(len(data)))
	t.b.Write(append(h, data...))
}

// segment is a packet without what is the same in all.
type segment struct {
	flags    wire.Flags
	seq, ack uint32
	data     string
	window   uint16 // 0 stands for 500, 1 for 0
	ttl      uint8
}

func (t *talk) client(ms int64, s segment) *talk { return t.send(ms, t.c, t.s, 1000, 5000, s) }
func (t *talk) server(ms int64, s segment) *talk { return t.send(ms, t.s, t.c, 5000, 1000, s) }

func (t *talk) send(ms int64, src, dst netip.AddrPort, seq, ack uint32, s segment) *talk {
	w := wire.Segment{Src: src, Dst: dst, TTL: t.ttl, ID: 9, Seq: seq + s.seq, Flags: s.flags, Window: 500}
	switch s.window {
	case 0:
	case 1:
		w.Window = 0
	default:
		w.Window = s.window
	}
	if s.ttl != 0 {
		w.TTL = s.ttl
	}
	if s.flags&wire.ACK != 0 {
		w.Ack = ack + s.ack
	}
	if s.flags&wire.SYN != 0 {
		w.Options = wire.AppendSYNOptions(nil, 1460, 1)
	}
	b := append(w.Append(nil), s.data...)
	if src.Addr().Is4() {
		binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	} else {
		binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40))
	}
	t.record(ms, b)
	return t
}

const (
	fin, syn, rst, ack, psh = wire.FIN, wire.SYN, wire.RST, wire.ACK, wire.PSH
)

func (t *talk) handshake() *talk {
	return t.client(0, segment{flags: syn}).server(10, segment{flags: syn | ack, ack: 1}).client(1, segment{flags: ack, seq: 1, ack: 1})
}

func (t *talk) conns(tb testing.TB) []*tcpflow.Conn {
	tb.Helper()
	conns, _ := analyze(tb, t.b.Bytes(), pcapfile.ReadOptions{}, tcpflow.Options{})
	return conns
}

func (t *talk) one(tb testing.TB) *tcpflow.Conn {
	tb.Helper()
	conns := t.conns(tb)
	if len(conns) != 1 {
		tb.Fatalf("%d connections", len(conns))
	}
	return conns[0]
}

func x(n int) string { return strings.Repeat("x", n) }

// sessions are captures with troubles that Wireshark has a name for.
func sessions() map[string]*talk {
	data := func(t *talk, ms int64, seq uint32, n int) *talk {
		return t.server(ms, segment{flags: ack | psh, seq: seq, ack: 1, data: x(n)})
	}
	acks := func(t *talk, ms int64, n uint32) *talk { return t.client(ms, segment{flags: ack, seq: 1, ack: n}) }
	m := map[string]*talk{}
	t := newTalk().handshake()
	acks(data(data(t, 5, 1, 100), 300, 1, 100), 1, 101)
	m["retransmission by timer"] = t

	t = newTalk().handshake()
	acks(data(t, 5, 1, 100), 1, 101)
	acks(data(t, 5, 201, 100), 1, 101) // 101 to 200 is lost
	acks(data(t, 1, 301, 100), 1, 101)
	acks(data(t, 1, 401, 100), 1, 101)
	acks(data(t, 5, 101, 100), 1, 501)
	m["fast retransmission"] = t

	t = newTalk().handshake()
	data(t, 5, 1, 100)
	data(t, 1, 201, 100)
	acks(data(t, 1, 101, 100), 1, 301)
	m["out of order"] = t

	t = newTalk().handshake()
	acks(data(t, 5, 1, 100), 1, 101)
	acks(data(t, 400, 1, 100), 1, 101)
	m["spurious retransmission"] = t

	t = newTalk().handshake()
	data(t, 5, 1, 500)
	t.client(1, segment{flags: ack, seq: 1, ack: 501, window: 1})
	t.server(300, segment{flags: ack, seq: 501, ack: 1, data: "x"})
	t.client(1, segment{flags: ack, seq: 1, ack: 501, window: 1})
	t.server(600, segment{flags: ack, seq: 501, ack: 1, data: "x"})
	t.client(1, segment{flags: ack, seq: 1, ack: 501, window: 1})
	t.client(50, segment{flags: ack, seq: 1, ack: 501})
	acks(data(t, 5, 501, 100), 1, 601)
	m["zero window"] = t

	t = newTalk().handshake()
	acks(data(t, 5, 1, 100), 1, 101)
	t.client(9000, segment{flags: ack, seq: 0, ack: 101}).server(10, segment{flags: ack, seq: 101, ack: 1})
	t.client(9000, segment{flags: ack, seq: 0, ack: 101}).client(9000, segment{flags: ack, seq: 0, ack: 101})
	m["keepalives"] = t

	t = newTalk().client(0, segment{flags: syn}).client(1000, segment{flags: syn}).server(10, segment{flags: syn | ack, ack: 1}).
		server(1000, segment{flags: syn | ack, ack: 1}).client(1, segment{flags: ack, seq: 1, ack: 1})
	m["SYN and SYN-ACK again"] = t

	t = newTalk().handshake()
	t.client(1, segment{flags: fin | ack, seq: 1, ack: 1}).client(250, segment{flags: fin | ack, seq: 1, ack: 1}).
		server(10, segment{flags: fin | ack, seq: 1, ack: 2}).client(1, segment{flags: ack, seq: 2, ack: 2})
	m["FIN again"] = t

	t = newTalk().handshake()
	data(t, 5, 1, 100)
	t.client(1, segment{flags: rst | ack, seq: 1, ack: 101}).client(1, segment{flags: rst, seq: 1})
	m["resets"] = t

	t = newTalk().handshake()
	data(t, 5, 1, 100)
	data(t, 5, 301, 100)
	data(t, 5, 601, 100)
	data(t, 1, 401, 200)
	acks(data(t, 1, 101, 200), 1, 701)
	m["two gaps"] = t

	t = newTalk()
	acks(data(t, 0, 1, 100), 1, 101)
	acks(data(t, 300, 1, 100), 1, 101)
	m["began before"] = t
	return m
}

// tally is what both programs count, per capture.
type tally struct{ Again, OutOfOrder, DupACKs, Lost, Zero, Probes, KeepAlives, Resets int }

func ours(t testing.TB, capture []byte) (n tally) {
	conns, _ := analyze(t, capture, pcapfile.ReadOptions{}, tcpflow.Options{})
	for _, c := range conns {
		n.Resets += int(c.ResetCount)
		for _, d := range c.Dir {
			n.Again += int(d.Retransmissions)
			n.OutOfOrder += int(d.OutOfOrder)
			n.DupACKs += int(d.DupACKs)
			n.Lost += int(d.LostSegments)
			n.Zero += int(d.ZeroWindows)
			n.Probes += int(d.ZeroWindowProbes)
			n.KeepAlives += int(d.KeepAlives)
		}
	}
	return n
}

func theirs(t testing.TB, tshark, file string) (n tally) {
	t.Helper()
	args := []string{"-n", "-r", file, "-T", "fields"}
	fields := []string{"retransmission", "out_of_order", "duplicate_ack", "lost_segment", "zero_window", "zero_window_probe", "keep_alive"}
	for _, f := range fields {
		args = append(args, "-e", "tcp.analysis."+f)
	}
	args = append(args, "-e", "tcp.flags.reset")
	out, err := exec.CommandContext(t.Context(), tshark, args...).Output()
	if err != nil {
		t.Fatal(err)
	}
	to := []*int{&n.Again, &n.OutOfOrder, &n.DupACKs, &n.Lost, &n.Zero, &n.Probes, &n.KeepAlives, &n.Resets}
	for line := range strings.Lines(string(out)) {
		for i, f := range strings.Split(strings.TrimRight(line, "\n"), "\t") {
			if f != "" && f != "0" && f != "False" {
				*to[i]++
			}
		}
	}
	return n
}

// Wireshark counts the same.
func TestWireshark(t *testing.T) {
	tshark := nettest.NeedProgram(t, "tshark")
	files := map[string][]byte{}
	for name, s := range sessions() {
		files[name] = s.b.Bytes()
	}
	files["generated"], _ = generate(t, flowtest.Config{Connections: 400, Seconds: 2, Seed: 9, Snaplen: 128})
	for name, capture := range files {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "x.pcap")
			if err := os.WriteFile(path, capture, 0o644); err != nil {
				t.Fatal(err)
			}
			if got, want := ours(t, capture), theirs(t, tshark, path); got != want {
				t.Errorf("we count    %+v\ntshark says %+v", got, want)
			}
		})
	}
}

// What was seen before is a retransmission, however soon it comes. Wireshark
// 4.0 goes by the time alone, and says out of order.
func TestSentAgainAtOnce(t *testing.T) {
	k := newTalk().handshake()
	for _, seq := range []uint32{1, 101, 1} {
		k.server(1, segment{flags: ack | psh, seq: seq, ack: 1, data: x(100)})
	}
	if d := k.one(t).Dir[tcpflow.Server]; d.Retransmissions != 1 || d.OutOfOrder != 0 {
		t.Errorf("%+v", d)
	}
}

// tcptrace finds as many connections, complete ones and resets.
func TestTcptrace(t *testing.T) {
	tcptrace := nettest.NeedProgram(t, "tcptrace")
	capture, _ := generate(t, flowtest.Config{Connections: 600, Seconds: 3, Seed: 10})
	// It reads microseconds only.
	copy(capture, []byte{0xd4, 0xc3, 0xb2, 0xa1})
	for at := 24; at < len(capture); at += 16 + int(binary.LittleEndian.Uint32(capture[at+8:])) {
		ns := binary.LittleEndian.Uint32(capture[at+4:])
		binary.LittleEndian.PutUint32(capture[at+4:], ns/1000)
	}
	path := filepath.Join(t.TempDir(), "x.pcap")
	if err := os.WriteFile(path, capture, 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), tcptrace, "-n", "--csv", "-l", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	type row struct {
		packets, bytes [2]uint64
	}
	want := map[string]row{}
	var columns []string
	for line := range strings.Lines(string(out)) {
		f := strings.Split(strings.TrimSpace(line), ",")
		for i := range f {
			f[i] = strings.TrimSpace(f[i])
		}
		switch {
		case f[0] == "conn_#":
			columns = f
		case len(columns) > 0 && len(f) >= len(columns)-1:
			get := func(name string) uint64 {
				for i, c := range columns {
					if c == name && i < len(f) {
						n, _ := strconv.ParseUint(f[i], 10, 64)
						return n
					}
				}
				t.Fatalf("tcptrace has no column %s", name)
				return 0
			}
			key := fmt.Sprintf("%s:%s %s:%s", f[1], f[3], f[2], f[4])
			want[key] = row{[2]uint64{get("total_packets_a2b"), get("total_packets_b2a")}, [2]uint64{get("actual_data_bytes_a2b"), get("actual_data_bytes_b2a")}}
		}
	}
	conns, _ := analyze(t, capture, pcapfile.ReadOptions{}, tcpflow.Options{})
	if len(want) != len(conns) {
		t.Errorf("%d connections, tcptrace has %d", len(conns), len(want))
	}
	for _, c := range conns {
		// tcptrace writes IPv6 addresses in its own way.
		if c.Client.Addr().Is6() {
			continue
		}
		key := fmt.Sprintf("%s:%d %s:%d", c.Client.Addr(), c.Client.Port(), c.Server.Addr(), c.Server.Port())
		got := row{[2]uint64{c.Dir[0].Packets, c.Dir[1].Packets}, [2]uint64{c.Dir[0].Bytes, c.Dir[1].Bytes}}
		if want[key] != got {
			t.Errorf("%s: %+v, tcptrace has %+v", key, got, want[key])
		}
	}
}
