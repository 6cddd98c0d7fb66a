package bpf

import (
	"bufio"
	"bytes"
	"cmp"
	"io"
	"slices"
	"strconv"
	"strings"
)

// symbols are the functions of the kernel, by address.
type symbols struct {
	addrs []uint64
	names []string
}

// far is more than the size of a function: an address so far behind the last one
// known belongs to what was loaded since.
const far = 1 << 20

// readSymbols reads /proc/kallsyms. Addresses that the kernel hides
// (kernel.kptr_restrict, or no CAP_SYSLOG) are left out.
func readSymbols(r io.Reader) (*symbols, error) {
	type symbol struct {
		addr uint64
		name string
	}
	var all []symbol
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		// "ffffffff81a2b3c0 t tcp_v4_rcv\t[module]"
		f := bytes.Fields(lines.Bytes())
		if len(f) < 3 || len(f[1]) != 1 || !strings.ContainsRune("tTwW", rune(f[1][0])) {
			continue
		}
		addr, err := strconv.ParseUint(string(f[0]), 16, 64)
		if err != nil || addr == 0 {
			continue
		}
		// The compiler's suffixes, ".isra.0" and ".cold", are no part of the name.
		name, _, _ := bytes.Cut(f[2], []byte{'.'})
		all = append(all, symbol{addr, string(name)})
	}
	slices.SortStableFunc(all, func(a, b symbol) int { return cmp.Compare(a.addr, b.addr) })
	s := &symbols{addrs: make([]uint64, len(all)), names: make([]string, len(all))}
	for i, v := range all {
		s.addrs[i], s.names[i] = v.addr, v.name
	}
	return s, lines.Err()
}

// find names the function that an address is in, "" where none is known.
func (s *symbols) find(addr uint64) string {
	// An address of return may be the one behind the last instruction.
	i, _ := slices.BinarySearch(s.addrs, addr)
	if i == 0 || addr-s.addrs[i-1] > far {
		return ""
	}
	q := strconv.QuoteToASCII(s.names[i-1])
	return q[1 : len(q)-1]
}
