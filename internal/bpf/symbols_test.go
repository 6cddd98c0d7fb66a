package bpf

import (
	"fmt"
	"strings"
	"testing"
)

func TestSymbols(t *testing.T) {
	s, err := readSymbols(strings.NewReader(`0000000000000000 A fixed_percpu_data
ffffffff81000000 T _stext
ffffffff81000300 t tcp_v4_rcv.isra.0
ffffffff81000200 W ip_rcv
ffffffff81000280 d some_data
ffffffff81000400 t nft_do_chain	[nf_tables]
ffffffff81000500 t ` + "evil\x1b[2J" + `
0000000000000000 T hidden
garbage
zz T x
`))
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[uint64]string{
		0:                  "",
		0xffffffff80ffffff: "",
		0xffffffff81000001: "_stext",
		0xffffffff81000201: "ip_rcv",
		0xffffffff81000290: "ip_rcv",
		0xffffffff81000300: "ip_rcv", // the address behind a call at the very end
		0xffffffff81000301: "tcp_v4_rcv",
		0xffffffff81000401: "nft_do_chain",
		0xffffffff81000501: `evil\x1b[2J`,
		0xffffffff82000501: "",
	} {
		if got := s.find(addr); got != want {
			t.Errorf("%#x is in %q, want %q", addr, got, want)
		}
	}
}

// An ordinary user sees no addresses.
func TestSymbolsHidden(t *testing.T) {
	s, err := readSymbols(strings.NewReader("0000000000000000 T a\n0000000000000000 T b\n"))
	if err != nil || s.find(0xffffffff81000000) != "" {
		t.Errorf("%+v, %v", s, err)
	}
}

func FuzzSymbols(f *testing.F) {
	f.Add("ffffffff81000000 T _stext\nffffffff81000200 W ip_rcv\n", uint64(0xffffffff81000210))
	f.Fuzz(func(t *testing.T, text string, addr uint64) {
		if s, err := readSymbols(strings.NewReader(text)); err == nil {
			s.find(addr)
		}
	})
}

// BenchmarkSymbols reads a list as long as the kernel's own.
func BenchmarkSymbols(b *testing.B) {
	var text strings.Builder
	for i := range 120_000 {
		fmt.Fprintf(&text, "%016x %c some_function_of_it_%d\n", uint64(0xffffffff81000000)+uint64(i)*64, "tTdD"[i%4], i)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := readSymbols(strings.NewReader(text.String())); err != nil {
			b.Fatal(err)
		}
	}
}
