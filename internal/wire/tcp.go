package wire

import (
	"encoding/binary"
	"strconv"
)

// Flags are the control bits of TCP, RFC 9293 section 3.1 and RFC 3168.
type Flags uint8

// The control bits.
const (
	FIN Flags = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
	ECE
	CWR
)

// String names the bits that are set: "SYN,ACK", "RST", "SYN,ECE,CWR".
func (f Flags) String() string {
	switch f { // what nearly every packet has
	case SYN:
		return "SYN"
	case SYN | ACK:
		return "SYN,ACK"
	case RST | ACK:
		return "RST,ACK"
	case ACK:
		return "ACK"
	case PSH | ACK:
		return "PSH,ACK"
	case FIN | ACK:
		return "FIN,ACK"
	}
	var b []byte
	for i, name := range [8]string{"SYN", "FIN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"} {
		if f&[8]Flags{SYN, FIN, RST, PSH, ACK, URG, ECE, CWR}[i] != 0 {
			b = append(append(b, ','), name...)
		}
	}
	if b == nil {
		return ""
	}
	return string(b[1:])
}

// TCP is a decoded TCP header. Its slices are parts of the decoded packet.
type TCP struct {
	SrcPort, DstPort uint16
	Seq, Ack         uint32
	Flags            Flags
	Window           uint16 // not scaled
	Checksum         uint16
	// Header is the whole header with its options, Options only those.
	Header, Options, Payload []byte
	// What the options say; MSS is 0, WScale -1 without such an option.
	MSS          uint16
	WScale       int
	SACKOK       bool
	Timestamps   bool
	TSVal, TSEcr uint32
	MD5, AO      bool // signed: RFC 2385, RFC 5925
	// BadOptions says that the list of options does not parse to its end.
	BadOptions bool
}

// The kinds of TCP options, IANA "TCP Option Kind Numbers".
const (
	optEnd        = 0
	optNop        = 1
	optMSS        = 2
	optWScale     = 3
	optSACKOK     = 4
	optSACK       = 5
	optTimestamps = 8
	optMD5        = 19
	optAO         = 29
	optFastOpen   = 34
)

// Decode fills t from a segment. A list of options that is damaged does not
// fail it: see BadOptions.
func (t *TCP) Decode(b []byte) error {
	if len(b) < 20 {
		return ErrShort
	}
	header := int(b[12]>>4) * 4
	switch {
	case header < 20:
		return ErrHeader
	case header > len(b):
		return ErrShort
	}
	*t = TCP{
		SrcPort:  binary.BigEndian.Uint16(b),
		DstPort:  binary.BigEndian.Uint16(b[2:]),
		Seq:      binary.BigEndian.Uint32(b[4:]),
		Ack:      binary.BigEndian.Uint32(b[8:]),
		Flags:    Flags(b[13]),
		Window:   binary.BigEndian.Uint16(b[14:]),
		Checksum: binary.BigEndian.Uint16(b[16:]),
		Header:   b[:header],
		Options:  b[20:header],
		Payload:  b[header:],
		WScale:   -1,
	}
	for o := t.Options; ; {
		var kind byte
		var data []byte
		var ok bool
		if kind, data, o, ok = nextOption(o); kind == optEnd {
			t.BadOptions = !ok
			return nil
		}
		switch {
		case kind == optMSS && len(data) == 2:
			t.MSS = binary.BigEndian.Uint16(data)
		case kind == optWScale && len(data) == 1:
			t.WScale = int(data[0])
		case kind == optSACKOK:
			t.SACKOK = true
		case kind == optTimestamps && len(data) == 8:
			t.Timestamps = true
			t.TSVal, t.TSEcr = binary.BigEndian.Uint32(data), binary.BigEndian.Uint32(data[4:])
		case kind == optMD5:
			t.MD5 = true
		case kind == optAO:
			t.AO = true
		}
	}
}

// SYNOptions are those of a SYN that say what a host can do.
type SYNOptions struct {
	MSS                uint16 // 0 without
	WScale             int8   // -1 without, 127 for all above
	SACKOK, Timestamps bool
}

// Decode reads the options behind a TCP header, up to damage. It is what
// TCP.Decode does, for those who want no more.
func (s *SYNOptions) Decode(o []byte) {
	*s = SYNOptions{WScale: -1}
	for {
		var kind byte
		var data []byte
		if kind, data, o, _ = nextOption(o); kind == optEnd {
			return
		}
		switch {
		case kind == optMSS && len(data) == 2:
			s.MSS = binary.BigEndian.Uint16(data)
		case kind == optWScale && len(data) == 1:
			s.WScale = int8(min(data[0], 127))
		case kind == optSACKOK:
			s.SACKOK = true
		case kind == optTimestamps && len(data) == 8:
			s.Timestamps = true
		}
	}
}

// nextOption takes the first option off o, padding left out. kind is optEnd
// when there are no more; ok is false when that is because of damage.
func nextOption(o []byte) (kind byte, data, rest []byte, ok bool) {
	for len(o) > 0 && o[0] == optNop {
		o = o[1:]
	}
	if len(o) == 0 || o[0] == optEnd {
		return optEnd, nil, nil, true
	}
	if len(o) < 2 || o[1] < 2 || int(o[1]) > len(o) {
		return optEnd, nil, nil, false
	}
	n := int(o[1])
	return o[0], o[2:n], o[n:], true
}

// AppendOptions appends the options in their order, in the words of tcpdump:
// "mss 1460,sackOK,ts,wscale 7". What has no name there appears as "unknown
// 253"; damage ends the list with "bad".
func (t *TCP) AppendOptions(b []byte) []byte {
	start := len(b)
	for o := t.Options; ; {
		var kind byte
		var data []byte
		var ok bool
		kind, data, o, ok = nextOption(o)
		if kind == optEnd && ok {
			return b
		}
		if len(b) > start {
			b = append(b, ',')
		}
		switch {
		case !ok:
			return append(b, "bad"...)
		case kind == optMSS && len(data) == 2:
			b = strconv.AppendUint(append(b, "mss "...), uint64(binary.BigEndian.Uint16(data)), 10)
		case kind == optWScale && len(data) == 1:
			b = strconv.AppendUint(append(b, "wscale "...), uint64(data[0]), 10)
		case kind == optSACKOK:
			b = append(b, "sackOK"...)
		case kind == optSACK:
			b = append(b, "sack"...)
		case kind == optTimestamps:
			b = append(b, "ts"...)
		case kind == optMD5:
			b = append(b, "md5"...)
		case kind == optAO:
			b = append(b, "ao"...)
		case kind == optFastOpen:
			b = append(b, "tfo"...)
		default:
			b = strconv.AppendUint(append(b, "unknown "...), uint64(kind), 10)
		}
	}
}
