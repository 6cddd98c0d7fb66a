package pcapfile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
)

// Block types of draft-ietf-opsawg-pcapng, section 11.1. All others are
// skipped.
const (
	blockSection   = 0x0a0d0d0a
	blockInterface = 1
	blockPacket    = 2 // obsolete
	blockSimple    = 3
	blockEnhanced  = 6
)

// Options of blocks.
const (
	optionEnd      = 0
	optionEPBFlags = 2
	optionIfName   = 2
	optionTSResol  = 9
	optionTSOffset = 14
)

// maxInterfaces bounds the descriptions of a section.
const maxInterfaces = 1 << 16

// pcapng reads draft-ietf-opsawg-pcapng.
type pcapng struct {
	order      binary.ByteOrder // nil before the first section
	interfaces []iface
	told       []Interface // since whoever reads last took them
	last       int64       // time of the last packet: simple packets have none
}

type iface struct {
	link    uint16
	snaplen uint32
	clock   clock
}

func (p *pcapng) parse(data []byte, recs []Record) (out []Record, n, want int, damage string) {
	for {
		b := data[n:]
		if len(b) < 12 {
			return recs, n, 12 - len(b), ""
		}
		if damage = p.byteOrder(b); damage != "" {
			return recs, n, 0, damage
		}
		kind, length := p.order.Uint32(b), p.order.Uint32(b[4:])
		limit := uint32(maxBlock)
		if isPacket(kind) {
			limit = maxPacket
		}
		switch {
		case length < 12 || length%4 != 0:
			return recs, n, 0, fmt.Sprintf("a block of %d bytes; a length is a multiple of 4 and at least 12", length)
		case length > limit:
			return recs, n, 0, fmt.Sprintf("a block of %d bytes, type %#x", length, kind)
		case int(length) > len(b):
			return recs, n, int(length) - len(b), ""
		case p.order.Uint32(b[length-4:]) != length:
			return recs, n, 0, fmt.Sprintf("a block whose length is %d at its beginning and %d at its end", length, p.order.Uint32(b[length-4:]))
		}
		var rec Record
		var ok bool
		rec, ok, damage = p.block(kind, b[8:length-4])
		if damage != "" {
			return recs, n, 0, damage
		}
		if ok {
			rec.Off += uint32(n + 8)
			recs = append(recs, rec)
		} else if kind == blockInterface {
			p.told[len(p.told)-1].From = len(recs)
		}
		n += int(length)
	}
}

// byteOrder looks for the beginning of a section, which may have another.
func (p *pcapng) byteOrder(b []byte) (damage string) {
	if binary.LittleEndian.Uint32(b) == blockSection { // the same either way
		switch binary.LittleEndian.Uint32(b[8:]) {
		case 0x1a2b3c4d:
			p.order = binary.LittleEndian
		case 0x4d3c2b1a:
			p.order = binary.BigEndian
		default:
			return fmt.Sprintf("a section with the byte-order magic % x", b[8:12])
		}
	}
	if p.order == nil {
		return "no section header at the beginning"
	}
	return ""
}

func isPacket(kind uint32) bool {
	return kind == blockEnhanced || kind == blockSimple || kind == blockPacket
}

// block reads the body of a block. Off of a record is relative to it.
func (p *pcapng) block(kind uint32, b []byte) (rec Record, ok bool, damage string) {
	o := p.order
	switch kind {
	case blockSection:
		p.interfaces = p.interfaces[:0]
		if len(b) < 16 {
			return rec, false, "a section header that is too short"
		}
		if major := o.Uint16(b[4:]); major != 1 {
			return rec, false, fmt.Sprintf("a section of version %d; 1 is known", major)
		}
	case blockInterface:
		if len(b) < 8 {
			return rec, false, "an interface description that is too short"
		}
		if len(p.interfaces) == maxInterfaces {
			return rec, false, fmt.Sprintf("more than %d interfaces in a section", maxInterfaces)
		}
		c := p.clock(b[8:])
		p.told = append(p.told, Interface{Number: len(p.interfaces), Name: p.name(b[8:]), Resolution: c.resolution()})
		p.interfaces = append(p.interfaces, iface{link: o.Uint16(b), snaplen: o.Uint32(b[4:]), clock: c})
	case blockEnhanced, blockPacket:
		if len(b) < 20 {
			return rec, false, "a packet block that is too short"
		}
		number := o.Uint32(b)
		if kind == blockPacket {
			number = uint32(o.Uint16(b))
		}
		rec = Record{Off: 20, CapLen: o.Uint32(b[12:]), OrigLen: o.Uint32(b[16:])}
		if damage = p.complete(&rec, number, len(b)); damage != "" {
			return rec, false, damage
		}
		rec.Time = p.interfaces[number].clock.ns(o.Uint32(b[4:]), o.Uint32(b[8:]))
		if rest := b[20+min(int(rec.CapLen+3)&^3, len(b)-20):]; len(rest) > 0 {
			rec.Dir = p.direction(rest)
		}
		p.last = rec.Time
		return rec, true, ""
	case blockSimple:
		if len(b) < 4 {
			return rec, false, "a packet block that is too short"
		}
		orig := o.Uint32(b)
		rec = Record{Off: 4, CapLen: min(orig, uint32(len(b)-4)), OrigLen: orig, Time: p.last}
		if len(p.interfaces) > 0 && p.interfaces[0].snaplen > 0 {
			rec.CapLen = min(rec.CapLen, p.interfaces[0].snaplen)
		}
		damage = p.complete(&rec, 0, len(b))
		return rec, damage == "", damage
	}
	return rec, false, ""
}

// complete fills in what the interface says, and checks the length against
// that of the body.
func (p *pcapng) complete(rec *Record, number uint32, body int) (damage string) {
	if uint64(number) >= uint64(len(p.interfaces)) {
		return fmt.Sprintf("a packet of interface %d, of which there is no description", number)
	}
	if uint64(rec.Off)+uint64(rec.CapLen) > uint64(body) {
		return fmt.Sprintf("a packet of %d bytes in a block that has %d", rec.CapLen, body-int(rec.Off))
	}
	rec.Link = p.interfaces[number].link
	rec.Iface = uint8(min(number, manyInterfaces))
	rec.OrigLen = max(rec.OrigLen, rec.CapLen)
	return ""
}

// packetInterface reads the number of the interface out of the packet block whose
// data comes next. Its type tells the byte order.
func packetInterface(b []byte) int {
	block := b[len(b)-28:] // type and length, then 20 bytes up to the data
	var order binary.ByteOrder = binary.LittleEndian
	if block[0] == 0 {
		order = binary.BigEndian
	}
	if order.Uint32(block) == blockPacket {
		return int(order.Uint16(block[8:]))
	}
	return int(order.Uint32(block[8:]))
}

// described gives those read since the last call.
func (p *pcapng) described(to []Interface) []Interface {
	to = append(to, p.told...)
	p.told = p.told[:0]
	return to
}

// option takes the first option off b; ok is false at the end of the list, or
// where it is damaged.
func (p *pcapng) option(b []byte) (code uint16, value, rest []byte, ok bool) {
	if len(b) < 4 {
		return 0, nil, nil, false
	}
	code, n := p.order.Uint16(b), int(p.order.Uint16(b[2:]))
	b = b[4:]
	if code == optionEnd || n > len(b) {
		return 0, nil, nil, false
	}
	return code, b[:n], b[min((n+3)&^3, len(b)):], true
}

func (p *pcapng) clock(options []byte) clock {
	c := clock{res: uint8(Microseconds)} // unless it is told
	for {
		code, v, rest, ok := p.option(options)
		if !ok {
			return c
		}
		switch {
		case code == optionTSResol && len(v) == 1:
			c = clock{v[0] &^ byte(binarySeconds), Resolution(v[0])&binarySeconds != 0, c.offset}
		case code == optionTSOffset && len(v) == 8:
			c.offset = int64(p.order.Uint64(v))
		}
		options = rest
	}
}

// maxName bounds the name of an interface; those of Linux have 15 bytes.
const maxName = 1024

func (p *pcapng) name(options []byte) string {
	for {
		code, v, rest, ok := p.option(options)
		if !ok {
			return ""
		}
		if code == optionIfName {
			v = bytes.TrimRight(v[:min(len(v), maxName)], "\x00") // some writers end it
			return strings.ToValidUTF8(string(v), "")
		}
		options = rest
	}
}

func (p *pcapng) direction(options []byte) Direction {
	for {
		code, v, rest, ok := p.option(options)
		if !ok {
			return DirUnknown
		}
		if code == optionEPBFlags && len(v) == 4 {
			if d := Direction(p.order.Uint32(v) & 3); d <= DirOut {
				return d
			}
			return DirUnknown
		}
		options = rest
	}
}

func (p *pcapng) rest(b []byte) string {
	if len(b) < 12 || p.order == nil {
		return fmt.Sprintf("the header of a block, after %d bytes", len(b))
	}
	return fmt.Sprintf("a block, after %d of %d bytes", len(b), p.order.Uint32(b[4:]))
}
