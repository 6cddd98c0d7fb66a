package bpf

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// symbols are the functions of the kernel. There are some 60,000, so their names
// share one text.
type symbols struct {
	all  []symbol // by address
	text []byte
}

type symbol struct {
	addr       uint64
	start, end uint32 // of the name in the text
}

// far is more than the size of a function: an address so far behind the last one
// known belongs to what was loaded since.
const far = 1 << 20

// readSymbols reads /proc/kallsyms. Addresses that the kernel hides
// (kernel.kptr_restrict, or no CAP_SYSLOG) are left out, and so is a line that is
// too long to be one of its own.
func readSymbols(r io.Reader) (*symbols, error) {
	s := &symbols{all: make([]symbol, 0, 1<<16), text: make([]byte, 0, 1<<21)}
	in := bufio.NewReaderSize(r, 1<<14)
	for {
		line, err := in.ReadSlice('\n')
		for errors.Is(err, bufio.ErrBufferFull) {
			line = nil
			_, err = in.ReadSlice('\n')
		}
		s.add(line)
		switch {
		case errors.Is(err, io.EOF) || len(s.text) > math.MaxUint32-in.Size():
			slices.SortStableFunc(s.all, func(a, b symbol) int { return cmp.Compare(a.addr, b.addr) })
			return s, nil
		case err != nil:
			return s, err
		}
	}
}

// add takes a line such as "ffffffff81a2b3c0 t tcp_v4_rcv\t[module]" in, if it is of a
// function.
func (s *symbols) add(line []byte) {
	hex, rest, _ := bytes.Cut(line, []byte{' '})
	kind, name, _ := bytes.Cut(rest, []byte{' '})
	if len(kind) != 1 || !strings.ContainsRune("tTwW", rune(kind[0])) || len(hex) > 16 {
		return
	}
	addr := uint64(0)
	for _, c := range hex {
		switch {
		case '0' <= c && c <= '9':
			addr = addr<<4 | uint64(c-'0')
		case 'a' <= c && c <= 'f':
			addr = addr<<4 | uint64(c-'a'+10)
		default:
			return
		}
	}
	// The compiler's suffixes, ".isra.0" and ".cold", are no part of the name.
	if i := bytes.IndexAny(name, ".\t\n "); i >= 0 {
		name = name[:i]
	}
	if addr == 0 || len(name) == 0 {
		return
	}
	start := len(s.text)
	s.text = append(s.text, name...)
	s.all = append(s.all, symbol{addr, uint32(start), uint32(len(s.text))})
}

// find names the function that an address is in, "" where none is known.
func (s *symbols) find(addr uint64) string {
	// An address of return may be the one behind the last instruction.
	i, _ := slices.BinarySearchFunc(s.all, addr, func(a symbol, addr uint64) int { return cmp.Compare(a.addr, addr) })
	if i == 0 || addr-s.all[i-1].addr > far {
		return ""
	}
	q := strconv.QuoteToASCII(string(s.text[s.all[i-1].start:s.all[i-1].end]))
	return q[1 : len(q)-1]
}
