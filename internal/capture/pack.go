package capture

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// pack appends a recording in few bytes; unpack is its inverse. Watched is left
// out.
func pack(b []byte, r *evidence.Recording) []byte {
	var flags byte
	for i, yes := range []bool{r.Began, r.ACK, r.ZeroWindow, r.ECN} {
		if yes {
			flags |= 1 << i
		}
	}
	b = append(b, flags, packPlace(r.Place), byte(r.ServerTTL))
	num := func(v int64) { b = binary.AppendVarint(b, v) }
	bytes := func(s []byte) {
		num(int64(len(s)))
		b = append(b, s...)
	}
	num(int64(len(r.SYNs)))
	for _, t := range r.SYNs {
		num(int64(t))
	}
	for _, v := range []int64{
		int64(r.SYNCount), int64(r.SYNACK), int64(r.SYNACKCount), int64(r.FINClient), int64(r.FINServer),
		r.ClientBytes, r.ServerBytes, r.Unacked, int64(r.Resent), int64(r.Idle),
	} {
		num(v)
	}
	bytes(r.ClientData)
	bytes(r.ServerData)
	num(int64(len(r.Resets)))
	for _, x := range r.Resets {
		num(int64(x.At))
		num(int64(x.TTL))
		b = append(b, bit(x.FromServer, 1)|bit(x.Valid, 2))
	}
	num(int64(len(r.ICMP)))
	for _, x := range r.ICMP {
		for _, v := range []int64{int64(x.At), int64(x.Type), int64(x.Code), int64(x.TTL), int64(x.MTU)} {
			num(v)
		}
		bytes(x.From.AsSlice())
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

func (u *unpacker) bytes() []byte {
	n := u.num()
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
	u := unpacker{b}
	flags := u.byte()
	*r = evidence.Recording{
		SYNs: r.SYNs[:0], Resets: r.Resets[:0], ICMP: r.ICMP[:0],
		Began: flags&1 != 0, ACK: flags&2 != 0, ZeroWindow: flags&4 != 0, ECN: flags&8 != 0,
		Place: places[u.byte()], ServerTTL: int(u.byte()),
	}
	for range u.num() {
		r.SYNs = append(r.SYNs, time.Duration(u.num()))
	}
	r.SYNCount, r.SYNACK, r.SYNACKCount = int(u.num()), time.Duration(u.num()), int(u.num())
	r.FINClient, r.FINServer = time.Duration(u.num()), time.Duration(u.num())
	r.ClientBytes, r.ServerBytes, r.Unacked = u.num(), u.num(), u.num()
	r.Resent, r.Idle = int(u.num()), time.Duration(u.num())
	r.ClientData, r.ServerData = u.bytes(), u.bytes()
	for range u.num() {
		x := evidence.RecordedReset{At: time.Duration(u.num()), TTL: int(u.num())}
		f := u.byte()
		x.FromServer, x.Valid = f&1 != 0, f&2 != 0
		r.Resets = append(r.Resets, x)
	}
	for range u.num() {
		x := evidence.SocketError{At: time.Duration(u.num()), Type: int(u.num()), Code: int(u.num()), TTL: int(u.num()), MTU: int(u.num())}
		x.From, _ = netip.AddrFromSlice(u.bytes())
		switch u.byte() {
		case 1:
			x.Quote = evidence.QuoteIntact
		case 2:
			x.Quote = evidence.QuoteRewritten
		}
		r.ICMP = append(r.ICMP, x)
	}
}
