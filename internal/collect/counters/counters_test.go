package counters

import (
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

func TestParseTables(t *testing.T) {
	const text = "TcpExt: SyncookiesSent ListenOverflows TCPFuture\n" +
		"TcpExt: 0 7 99999999999999999999999\n" +
		"Tcp: MaxConn CurrEstab\nTcp: -1 2\nIcmpMsg:\nIcmpMsg:\n"
	got := make(map[string]int64)
	if err := parseTables(text, got); err != nil {
		t.Fatal(err)
	}
	want := map[string]int64{
		"TcpExt.SyncookiesSent": 0, "TcpExt.ListenOverflows": 7, "Tcp.MaxConn": -1, "Tcp.CurrEstab": 2,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, bad := range []string{"", "\n", "A: b\n", "A: b\nA: 1 2\n", "A: b\nB: 1\n", "A b\nA 1\n", "A: b\n\n"} {
		if err := parseTables(bad, make(map[string]int64)); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestParseLines(t *testing.T) {
	got := make(map[string]int64)
	if err := parseLines("Ip6InReceives      \t12\nUdpLite6InErrors\t0\nSomething 3\nIcmp6OutType143 x\n", got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int64{"Ip6.InReceives": 12, "UdpLite6.InErrors": 0}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, bad := range []string{"Ip6InReceives\n", "a b c\n", "\n"} {
		if err := parseLines(bad, got); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestParsePorts(t *testing.T) {
	for text, want := range map[string][]uint16{
		"7":           {7},
		"5 7":         {5, 6, 7},
		"1-2,9,65535": {1, 2, 9, 65535},
	} {
		var got []uint16
		err := parsePorts(text, func(p uint16) { got = append(got, p) })
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%q: %v (-want +got):\n%s", text, err, diff)
		}
	}
	for _, bad := range []string{"", "x", "7-5", "1-65536", "-1", "1-", "1,,2"} {
		if err := parsePorts(bad, func(uint16) {}); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestSince(t *testing.T) {
	before := Snap{map[string]int64{"a": 1, "b": 2, "c": 3}}
	after := Snap{map[string]int64{"a": 1, "b": 5, "c": 1, "d": 9}}
	if diff := cmp.Diff(map[string]int64{"b": 3, "c": -2}, after.since(before)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := after.since(Snap{}); got != nil {
		t.Errorf("without a first snapshot: %v", got)
	}
}

func FuzzParseTables(f *testing.F) {
	f.Add("TcpExt: A B\nTcpExt: 1 -2\n")
	f.Add("Ip: Forwarding\nIp: 1\nTcp: X\nTcp: 18446744073709551615\n")
	f.Add(":\n:\n")
	f.Add("A:\x00 B\nA:\x00 1")
	f.Fuzz(func(t *testing.T, text string) {
		got := make(map[string]int64)
		if err := parseTables(text, got); err == nil && len(got) > len(strings.Fields(text))/2 {
			t.Errorf("%d values in %q", len(got), text)
		}
		again := make(map[string]int64)
		if parseTables(text, again); !maps.Equal(got, again) {
			t.Errorf("%q gives %v, then %v", text, got, again)
		}
	})
}

func FuzzParseLines(f *testing.F) {
	f.Add("Ip6InReceives 1\nIcmp6InMsgs\t2\n")
	f.Add("6 6\n66 -6\n")
	f.Fuzz(func(t *testing.T, text string) {
		got := make(map[string]int64)
		_ = parseLines(text, got)
		for name := range got {
			if !strings.Contains(name, "6.") {
				t.Errorf("name %q from %q", name, text)
			}
		}
	})
}

func FuzzParsePorts(f *testing.F) {
	f.Add("32768 60999")
	f.Add("1-3,80,8000-8010")
	f.Add("65535-0")
	f.Fuzz(func(t *testing.T, text string) {
		n := 0
		if err := parsePorts(text, func(uint16) { n++ }); err == nil && n == 0 {
			t.Errorf("%q is accepted and has no port", text)
		}
	})
}

func TestParseConntrack(t *testing.T) {
	const text = "entries  searched insert_failed drop early_drop\n" +
		"0000001f  00000001 00000002 0000000a ffffffff\n0000001f  00000001 00000000 00000001 00000001\n"
	got := make(map[string]int64)
	if err := parseConntrack(text, got); err != nil {
		t.Fatal(err)
	}
	want := map[string]int64{"conntrack.searched": 2, "conntrack.insert_failed": 2, "conntrack.drop": 11, "conntrack.early_drop": 1 << 32}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, bad := range []string{"", "\n", "entries drop\n", "entries\n1\n", "drop x\n1 2\n", "entries drop\n1\n", "entries drop\n1 x\n", "entries drop\n1 100000000\n", "entries drop\n1 2\n\n"} {
		if err := parseConntrack(bad, make(map[string]int64)); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestParseSoftnet(t *testing.T) {
	got := make(map[string]int64)
	if err := parseSoftnet("00000009 00000001 00000010 0 0 0 0 0 0 0 00000003 0\n00000009 00000002 00000000\n", got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int64{"softnet.dropped": 3, "softnet.time_squeeze": 16, "softnet.flow_limit": 3}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, bad := range []string{"", "\n", "1 2\n", "1 2 x\n", "1 -2 3\n", "1 2 3\n\n"} {
		if err := parseSoftnet(bad, make(map[string]int64)); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func FuzzParseCPUs(f *testing.F) {
	f.Add("entries drop\n0 1\n1 ffffffff\n", "1 2 3 4 5 6 7 8 9 a b c\n")
	f.Add("entries entries\n0 1", "0 0 0")
	f.Fuzz(func(t *testing.T, conntrack, softnet string) {
		got := make(map[string]int64)
		if err := parseConntrack(conntrack, got); err == nil && len(got) == 0 {
			t.Errorf("nothing in %q", conntrack)
		}
		err := parseSoftnet(softnet, got)
		if _, ok := got["softnet.dropped"]; err == nil && !ok {
			t.Errorf("nothing in %q", softnet)
		}
		for name, v := range got {
			if v < 0 || !strings.HasPrefix(name, "conntrack.") && !strings.HasPrefix(name, "softnet.") {
				t.Errorf("%s is %d", name, v)
			}
		}
	})
}

func TestHostSince(t *testing.T) {
	before := evidence.HostCounters{Now: map[string]int64{"TcpExt.ListenDrops": 1, "TcpExt.Odd": 1, "Ip.Same": 5, "eth0.rx_dropped": 0, "eth1.rx_dropped": 4}}
	after := evidence.HostCounters{At: 7, Now: map[string]int64{"TcpExt.ListenDrops": 1, "TcpExt.Odd": 2, "Ip.Same": 5, "eth0.rx_dropped": 0, "eth1.rx_dropped": 4}, ConntrackCount: 3, ConntrackMax: 9}
	want := evidence.HostCounters{
		At: 7, Delta: map[string]int64{"TcpExt.Odd": 1}, ConntrackCount: 3, ConntrackMax: 9,
		Now: map[string]int64{"TcpExt.ListenDrops": 1, "TcpExt.Odd": 2, "eth1.rx_dropped": 4},
	}
	if diff := cmp.Diff(want, Since(before, after)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(after.Now) != 5 {
		t.Error("Since changes its argument")
	}
}
