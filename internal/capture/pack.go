package capture

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// The numbers of a recording that pack writes; most are 0 in most of them.
const (
	packSYNs = iota // how many of them
	packSYNCount
	packSYNACK
	packSYNACKCount
	packFINClient
	packFINServer
	packClientBytes
	packServerBytes
	packUnacked
	packResent
	packIdle
	packClientData // their lengths
	packServerData
	packResets // how many
	packICMP

	packed
)

// pack appends a recording in few bytes; unpack is its inverse. Watched is left
// out.
func pack(b []byte, r *evidence.Recording) []byte {
	flags := bit(r.Began, 1) | bit(r.ACK, 2) | bit(r.ZeroWindow, 4) | bit(r.ECN, 8) | bit(r.SYNACKAgain, 16) | bit(r.Missed, 32)
	nums := [packed]int64{
		packSYNs: int64(len(r.SYNs)), packSYNCount: int64(r.SYNCount), packSYNACK: int64(r.SYNACK), packSYNACKCount: int64(r.SYNACKCount),
		packFINClient: int64(r.FINClient), packFINServer: int64(r.FINServer), packClientBytes: r.ClientBytes, packServerBytes: r.ServerBytes,
		packUnacked: r.Unacked, packResent: int64(r.Resent), packIdle: int64(r.Idle),
		packClientData: int64(len(r.ClientData)), packServerData: int64(len(r.ServerData)), packResets: int64(len(r.Resets)), packICMP: int64(len(r.ICMP)),
	}
	var some uint16 // those that are not 0
	for i, v := range nums {
		if v != 0 {
			some |= 1 << i
		}
	}
	b = binary.LittleEndian.AppendUint16(append(b, flags, packPlace(r.Place), byte(r.ServerTTL)), some)
	num := func(v int64) { b = binary.AppendVarint(b, v) }
	for _, v := range nums {
		if v != 0 {
			num(v)
		}
	}
	for _, t := range r.SYNs {
		num(int64(t))
	}
	b = append(append(b, r.ClientData...), r.ServerData...)
	for _, x := range r.Resets {
		num(int64(x.At))
		b = append(b, byte(x.TTL), bit(x.FromServer, 1)|bit(x.Valid, 2))
	}
	for _, x := range r.ICMP {
		for _, v := range []int64{int64(x.At), int64(x.Type), int64(x.Code), int64(x.TTL), int64(x.MTU), int64(x.From.BitLen() / 8)} {
			num(v)
		}
		b = append(b, x.From.AsSlice()...)
		b = append(b, bit(x.Quote == evidence.QuoteIntact, 1)|bit(x.Quote == evidence.QuoteRewritten, 2))
	}
	return b
}

func bit(yes bool, b byte) byte {
	if yes {
		return b
	}
	return 0
}

var places = []string{"", "client", "server", "both", "between"}

func packPlace(s string) byte {
	for i, p := range places {
		if p == s {
			return byte(i)
		}
	}
	return 0
}

// unpacker reads what pack wrote, which nobody else can have touched.
type unpacker struct{ b []byte }

func (u *unpacker) num() int64 {
	v, n := binary.Varint(u.b)
	u.b = u.b[n:]
	return v
}

func (u *unpacker) byte() byte {
	c := u.b[0]
	u.b = u.b[1:]
	return c
}

func (u *unpacker) bytes(n int64) []byte {
	s := u.b[:n:n]
	u.b = u.b[n:]
	if n == 0 {
		return nil
	}
	return s
}

// unpack makes the recording in memory that it uses anew. Its first data are
// those in b.
func unpack(r *evidence.Recording, b []byte) {
	flags, place, ttl := b[0], b[1], b[2]
	some := binary.LittleEndian.Uint16(b[3:])
	u := unpacker{b[5:]}
	var nums [packed]int64
	for ; some != 0; some &= some - 1 {
		nums[bits.TrailingZeros16(some)] = u.num()
	}
	*r = evidence.Recording{
		SYNs: r.SYNs[:0], Resets: r.Resets[:0], ICMP: r.ICMP[:0],
		Began: flags&1 != 0, ACK: flags&2 != 0, ZeroWindow: flags&4 != 0, ECN: flags&8 != 0,
		SYNACKAgain: flags&16 != 0, Missed: flags&32 != 0,
		Place: places[place], ServerTTL: int(ttl),
		SYNCount: int(nums[packSYNCount]), SYNACK: time.Duration(nums[packSYNACK]), SYNACKCount: int(nums[packSYNACKCount]),
		FINClient: time.Duration(nums[packFINClient]), FINServer: time.Duration(nums[packFINServer]),
		ClientBytes: nums[packClientBytes], ServerBytes: nums[packServerBytes], Unacked: nums[packUnacked],
		Resent: int(nums[packResent]), Idle: time.Duration(nums[packIdle]),
	}
	for range nums[packSYNs] {
		r.SYNs = append(r.SYNs, time.Duration(u.num()))
	}
	r.ClientData, r.ServerData = u.bytes(nums[packClientData]), u.bytes(nums[packServerData])
	for range nums[packResets] {
		x := evidence.RecordedReset{At: time.Duration(u.num()), TTL: int(u.byte())}
		f := u.byte()
		x.FromServer, x.Valid = f&1 != 0, f&2 != 0
		r.Resets = append(r.Resets, x)
	}
	for range nums[packICMP] {
		x := evidence.SocketError{At: time.Duration(u.num()), Type: int(u.num()), Code: int(u.num()), TTL: int(u.num()), MTU: int(u.num())}
		x.From, _ = netip.AddrFromSlice(u.bytes(u.num()))
		switch u.byte() {
		case 1:
			x.Quote = evidence.QuoteIntact
		case 2:
			x.Quote = evidence.QuoteRewritten
		}
		r.ICMP = append(r.ICMP, x)
	}
}
