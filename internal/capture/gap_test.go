package capture

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/pcapfile"
	"github.com/tcpwhy/tcpwhy/internal/tcpflow"
)

// filesOf makes files in the order of time, so far apart; "-" before a name says
// that there is no packet in it, "!" that it is damaged.
func filesOf(apart time.Duration, names string) (files []File) {
	begin := time.Date(2026, 1, 2, 8, 0, 0, 0, time.UTC)
	for i, name := range strings.Fields(names) {
		f := File{Name: strings.TrimLeft(name, "-!")}
		marks := strings.TrimSuffix(name, f.Name)
		if strings.Contains(marks, "!") {
			f.Damage = &pcapfile.DamageError{}
		}
		if !strings.Contains(marks, "-") {
			f.Packets = 10
			f.First = tcpflow.Time(begin.Add(time.Duration(i) * apart).UnixNano())
			f.Last = f.First + tcpflow.Time(apart/2)
		}
		files = append(files, f)
	}
	// Those without packets come last.
	slices.SortStableFunc(files, func(a, b File) int {
		return int(bit(a.Packets == 0, 1)) - int(bit(b.Packets == 0, 1))
	})
	return files
}

// TestMissing: what is missing of a set whose names follow a numbering, and nothing
// of one whose names may follow none.
func TestMissing(t *testing.T) {
	const soon = 10 * time.Millisecond
	for _, c := range []struct {
		what, names string
		apart       time.Duration
		want        string // "names after>before", in order
	}{
		{"tcpdump -C, whole", "d/a.pcap d/a.pcap1 d/a.pcap2 d/a.pcap3", soon, ""},
		{"tcpdump -C", "d/a.pcap d/a.pcap1 d/a.pcap3 d/a.pcap4", soon, "d/a.pcap2 1>2"},
		{"from two names", "a.pcap a.pcap2", soon, "a.pcap1 0>1"},
		{"several", "a a1 a5 a6 a8", soon, "a2,a3,a4 1>2; a7 3>4"},
		{"numbers grow", "a.pcap8 a.pcap9 a.pcap10 a.pcap12", soon, "a.pcap11 2>3"},
		{"the first was removed", "a3 a4 a5", soon, ""},
		{"a base that ends in digits", "cap7 cap71 cap72 cap73", soon, ""},
		{"the same, and one missing", "cap7 cap71 cap73 cap74", soon, "cap72 1>2"},
		{"such a base, itself not there", "cap71 cap72 cap78 cap79 cap710 cap711", soon, "cap73,cap74,cap75,cap76,cap77 1>2"},
		{"more than are named", "a a1 a100", soon, "a2,a3,a4,a5,a6,a7,a8,a9+90 1>2"},
		{"gzip", "a.gz a1.gz a3.gz a4", soon, "a2 1>2"},
		{"gzip of all", "a.gz a1.gz a3.gz", soon, "a2.gz 1>2"},
		{"tcpdump -C -W", "r00 r01 r03 r04 r05", soon, "r02 1>2"},
		{"a ring that has wrapped", "r3 r4 r0 r1 r2", soon, ""},
		{"and lost one before", "r4 r5 r7 r8 r0 r1", soon, "r6 1>2"},
		{"and lost one behind", "r5 r6 r7 r0 r2", soon, "r1 3>4"},
		{"and lost the first one", "r05 r06 r10 r01 r02", soon, "r07,r08,r09 1>2; r00 2>3"},
		{"and lost the next to be overwritten", "r07 r08 r09 r00 r01 r02 r03 r04", soon, ""},
		{"wrapped twice", "r3 r4 r0 r1 r0x r2", soon, ""},
		{"a ring in disorder", "r3 r5 r0 r1 r4", soon, ""},
		{"names against time", "a a2 a1 a4", soon, ""},
		{"no ring begins again without 0", "a4 a5 a1 a3", soon, ""},
		{"tcpwhy", "d/a-0001.pcapng d/a-0002.pcapng d/a-0005.pcapng", soon, "d/a-0003.pcapng,d/a-0004.pcapng 1>2"},
		{"tcpwhy, many", "a-9998.pcapng a-9999.pcapng a-10001.pcapng", soon, "a-10000.pcapng 1>2"},
		{"tcpwhy, old ones removed", "a-0007.pcapng a-0008.pcapng a-0009.pcapng", soon, ""},
		{"dumpcap", "a_00001_20260102080000.pcapng a_00002_20260102080001.pcapng a_00004_20260102080001.pcapng", soon, "a_00003_*.pcapng 1>2"},
		{"dumpcap, by time", "a_20260102080000_00001.pcapng a_20260102080001_00003.pcapng", soon, "a_*_00002.pcapng 0>1"},
		{"dumpcap, compressed", "a_00001_20260102080000.pcapng.gz a_00003_20260102080001.pcapng.gz", soon, "a_00002_*.pcapng.gz 0>1"},
		{"no packet in one", "a.pcap a.pcap1 -a.pcap2 a.pcap3", soon, ""},
		{"one that is damaged from its beginning", "a.pcap a.pcap1 !-a.pcap2 a.pcap3", soon, "a.pcap2 1>2"},
		{"damage in the middle", "a.pcap !a.pcap1 a.pcap2", soon, " 1>2"},
		{"damage at the end", "a.pcap a.pcap1 !a.pcap2", soon, ""},
		{"damage and a file missing behind it", "a.pcap !a.pcap1 a.pcap3", soon, "a.pcap2 1>2"},
		{"names of their own", "monday.pcap wednesday.pcap friday.pcap", soon, ""},
		{"numbers before the ending", "host1.pcap host2.pcap host4.pcap", soon, ""},
		{"two programs", "a.pcap a.pcap1 a.pcap3 b.pcap", soon, ""},
		{"two directories", "x/a.pcap x/a.pcap1 y/a.pcap3", soon, ""},
		{"a row and something else", "a a1 a3 ab", soon, ""},
		{"two names that may be anything", "a1 a3", soon, ""},
		{"tcpdump -G by the hour", "a.pcap08 a.pcap09 a.pcap11 a.pcap12", time.Hour, ""},
		{"by the hour, and past midnight", "a.pcap22 a.pcap23 a.pcap00 a.pcap02", time.Hour, ""},
		{"by the time of day", "a-0800.pcap a-0859.pcap a-0958.pcap", 59 * time.Minute, ""},
		{"by the date", "a-0227.pcap a-0228.pcap a-0301.pcap a-0302.pcap", 24 * time.Hour, ""},
		{"by a time stamp", "a-20260102080000 a-20260102080100 a-20260102080200", time.Minute, ""},
		{"by seconds since 1970", "a-1767340800 a-1767340860 a-1767340920", time.Minute, ""},
		{"a number that is too long", "a a1 a20260102", soon, ""},
	} {
		var got []string
		for _, g := range gaps(filesOf(c.apart, c.names)) {
			names := strings.Join(g.Missing, ",")
			if more := g.Count - len(g.Missing); more > 0 {
				names += fmt.Sprintf("+%d", more)
			}
			got = append(got, fmt.Sprintf("%s %d>%d", names, g.After, g.Before))
		}
		if s := strings.Join(got, "; "); s != c.want {
			t.Errorf("%s: %q, want %q", c.what, s, c.want)
		}
	}
}

// FuzzMissing: no name is too strange, and what is missing is never there.
func FuzzMissing(f *testing.F) {
	f.Add("a.pcap a.pcap1 a.pcap3", uint8(1))
	f.Add("r00 r02 r01", uint8(60))
	f.Add("a_00001_20260102080000.pcapng a_00004_20260102080000.pcapng", uint8(0))
	f.Add("a-0001.x -a-0002.x !a-9999.x", uint8(9))
	f.Fuzz(func(t *testing.T, names string, apart uint8) {
		if len(names) > 1000 {
			return
		}
		files := filesOf(time.Duration(apart)*time.Second, names)
		for _, g := range gaps(files) {
			if g.After >= g.Before || g.Before >= len(files) || len(g.Missing) > g.Count || g.Count > 0 && len(g.Missing) == 0 {
				t.Errorf("%+v of %q", g, names)
			}
			for _, f := range files {
				if f.Packets > 0 && slices.Contains(g.Missing, f.Name) {
					t.Errorf("%q is there: %q", f.Name, names)
				}
			}
		}
	})
}
