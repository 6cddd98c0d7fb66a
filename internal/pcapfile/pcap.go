package pcapfile

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
)

const (
	pcapHeader   = 24
	pcapRecord   = 16
	pcapModified = 24 // record header of the patched libpcap of 1999
)

// pcap reads the classic format, draft-ietf-opsawg-pcap.
type pcap struct {
	swapped bool // big-endian
	// unit is the nanoseconds of the second half of a time stamp.
	unit   int64
	link   uint16
	header int  // bytes before each packet
	told   bool // of the interface
}

func newPcap(b []byte) (*pcap, error) {
	if len(b) == 0 {
		return nil, fmt.Errorf("%w: it is empty; a capture begins with a header even without packets", ErrFormat)
	}
	if len(b) < 4 {
		return nil, fmt.Errorf("%w: it has %d bytes only", ErrFormat, len(b))
	}
	p := &pcap{unit: 1000, header: pcapRecord}
	magic := binary.LittleEndian.Uint32(b)
	for range 2 {
		switch magic {
		case 0xa1b2c3d4:
		case 0xa1b23c4d:
			p.unit = 1
		case 0xa1b2cd34:
			p.header = pcapModified
		default:
			magic = bits.ReverseBytes32(magic)
			p.swapped = !p.swapped
			continue
		}
		if len(b) < pcapHeader {
			return nil, fmt.Errorf("%w: it ends within the header, after %d of %d bytes", ErrFormat, len(b), pcapHeader)
		}
		p.link = uint16(p.u32(b[20:])) // above it: about the frame check sequence
		return p, nil
	}
	return nil, fmt.Errorf("%w: it begins with the bytes % x; pcap and pcapng are read, also in gzip, zstd or lz4", ErrFormat, b[:4])
}

func (p *pcap) u32(b []byte) uint32 {
	v := binary.LittleEndian.Uint32(b)
	if p.swapped {
		v = bits.ReverseBytes32(v)
	}
	return v
}

func (p *pcap) parse(data []byte, recs []Record) (out []Record, n, want int, damage string) {
	header, swapped, unit, link := p.header, p.swapped, p.unit, p.link
	for {
		b := data[n:]
		if len(b) < header {
			return recs, n, header - len(b), ""
		}
		h := b[:pcapRecord]
		sec, frac := binary.LittleEndian.Uint32(h), binary.LittleEndian.Uint32(h[4:])
		have, orig := binary.LittleEndian.Uint32(h[8:]), binary.LittleEndian.Uint32(h[12:])
		if swapped {
			sec, frac = bits.ReverseBytes32(sec), bits.ReverseBytes32(frac)
			have, orig = bits.ReverseBytes32(have), bits.ReverseBytes32(orig)
		}
		if have > maxPacket {
			return recs, n, 0, fmt.Sprintf("a packet of %d bytes", have)
		}
		end := header + int(have)
		if len(b) < end {
			return recs, n, end - len(b), ""
		}
		if len(recs) == cap(recs) {
			recs = slices.Grow(recs, max(len(recs), 64))
		}
		recs = recs[:len(recs)+1]
		// Field by field, which is faster than a copy of a literal.
		r := &recs[len(recs)-1]
		r.Time = int64(sec)*1e9 + int64(frac)*unit
		r.Off, r.CapLen, r.OrigLen = uint32(n+header), have, max(orig, have)
		r.Link, r.Dir, r.Iface = link, DirUnknown, 0
		n += end
	}
}

// described gives the only interface, which has no name.
func (p *pcap) described(to []Interface) []Interface {
	if p.told {
		return to
	}
	p.told = true
	res := Microseconds
	if p.unit == 1 {
		res = Nanoseconds
	}
	return append(to, Interface{Resolution: res})
}

func (p *pcap) rest(b []byte) string {
	if len(b) < p.header {
		return fmt.Sprintf("the header of a packet, after %d of %d bytes", len(b), p.header)
	}
	return fmt.Sprintf("a packet, after %d of %d bytes", len(b)-p.header, p.u32(b[8:]))
}
