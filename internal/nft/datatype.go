package nft

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/tcpwhy/tcpwhy/internal/xtables"
)

// Data types of nft(8), enum datatypes of its include/datatype.h; they stand in
// the key types of sets.
const (
	typeNone      = 0
	typeNfproto   = 2
	typeInteger   = 4
	typeString    = 5
	typeIP        = 7
	typeIP6       = 8
	typeEther     = 9
	typeEtherType = 10
	typeProto     = 12
	typeService   = 13
	typeICMP      = 14
	typeTCPFlag   = 15
	typeMark      = 19
	typeIfindex   = 20
	typeArphrd    = 21
	typeUID       = 24
	typeGID       = 25
	typeCtState   = 26
	typeCtDir     = 27
	typeCtStatus  = 28
	typeICMP6     = 29
	typePkttype   = 31
	typeDevgroup  = 35
	typeDSCP      = 36
	typeFibType   = 38
	typeBoolean   = 39
	typeIfname    = 41
	typeHost      = 64 // ours: an integer in the machine's order
)

// Printable makes control characters and other invisible ones visible, and cuts
// what is too long for a name.
func Printable(s string) string { return xtables.Printable(s) }

// types splits the type of a concatenation; six bits each, the first highest.
func types(key uint32) []uint32 {
	const bits, mask = 6, 0x3f
	var out []uint32
	for ; key != 0; key >>= bits {
		out = append(out, key&mask)
	}
	slices.Reverse(out)
	return out
}

// symbols are values that have names.
var symbols = map[uint32]map[uint64]string{
	typeNfproto:   {2: "ipv4", 10: "ipv6"},
	typeEtherType: {0x0800: "ip", 0x0806: "arp", 0x86dd: "ip6", 0x8100: "8021q"},
	typeProto:     {1: "icmp", 6: "tcp", 17: "udp", 33: "dccp", 41: "ipv6", 47: "gre", 50: "esp", 51: "ah", 58: "ipv6-icmp", 108: "comp", 132: "sctp", 136: "udplite"},
	typeICMP: {0: "echo-reply", 3: "destination-unreachable", 4: "source-quench", 5: "redirect", 8: "echo-request",
		9: "router-advertisement", 10: "router-solicitation", 11: "time-exceeded", 12: "parameter-problem", 13: "timestamp-request", 14: "timestamp-reply"},
	typeICMP6: {1: "destination-unreachable", 2: "packet-too-big", 3: "time-exceeded", 4: "parameter-problem", 128: "echo-request", 129: "echo-reply",
		130: "mld-listener-query", 131: "mld-listener-report", 132: "mld-listener-done", 133: "nd-router-solicit", 134: "nd-router-advert",
		135: "nd-neighbor-solicit", 136: "nd-neighbor-advert", 137: "nd-redirect", 143: "mld2-listener-report"},
	typeCtState:  {1: "invalid", 8: "new", 2: "established", 4: "related", 64: "untracked"},
	typeCtDir:    {0: "original", 1: "reply"},
	typeCtStatus: {1: "expected", 2: "seen-reply", 4: "assured", 8: "confirmed", 16: "snat", 32: "dnat", 512: "dying"},
	typeTCPFlag:  {1: "fin", 2: "syn", 4: "rst", 8: "psh", 16: "ack", 32: "urg", 64: "ecn", 128: "cwr"},
	typePkttype:  {0: "host", 1: "broadcast", 2: "multicast", 3: "other"},
	typeArphrd:   {1: "ether", 772: "loopback"},
	typeFibType:  {0: "unspec", 1: "unicast", 2: "local", 3: "broadcast", 4: "anycast", 5: "multicast", 6: "blackhole", 7: "unreachable", 8: "prohibit"},
	typeBoolean:  {0: "missing", 1: "exists"},
	typeDSCP: {0: "cs0", 8: "cs1", 16: "cs2", 24: "cs3", 32: "cs4", 40: "cs5", 48: "cs6", 56: "cs7", 44: "va", 10: "af11", 12: "af12", 14: "af13",
		18: "af21", 20: "af22", 22: "af23", 26: "af31", 28: "af32", 30: "af33", 34: "af41", 36: "af42", 38: "af43", 46: "ef"},
}

// masks are types of which each bit means something, with the order in which nft
// names the bits.
var masks = map[uint32][]uint64{
	typeCtState:  {1, 8, 2, 4, 64},
	typeCtStatus: {1, 2, 4, 8, 16, 32, 512},
	typeTCPFlag:  {1, 2, 4, 8, 16, 32, 64, 128},
}

// native says that numbers of the type are in the machine's order.
func native(t uint32) bool {
	switch t {
	case typeMark, typeIfindex, typeUID, typeGID, typeCtState, typeCtStatus, typeFibType, typeDevgroup, typeArphrd, typeBoolean, typeHost:
		return true
	}
	return false
}

// number reads the value, in the order of its type.
func number(t uint32, b []byte) uint64 {
	var w [8]byte
	if len(b) > len(w) {
		return 0
	}
	if native(t) && binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		copy(w[:], b)
		return binary.LittleEndian.Uint64(w[:])
	}
	copy(w[len(w)-len(b):], b)
	return binary.BigEndian.Uint64(w[:])
}

// literal is a value as nft prints it.
func literal(t uint32, b []byte) string {
	if t&typePrefix != 0 {
		t &^= typePrefix
		full := make([]byte, map[uint32]int{typeIP: 4, typeIP6: 16}[t])
		copy(full, b)
		return literal(t, full) + "/" + strconv.Itoa(8*len(b))
	}
	if t&typeSwapped != 0 {
		t &^= typeSwapped
		b = slices.Clone(b)
		if native(t) && binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
			slices.Reverse(b)
		}
	}
	switch t {
	case typeIP, typeIP6:
		if a, ok := netip.AddrFromSlice(b); ok {
			return a.String()
		}
	case typeEther:
		if len(b) >= 6 {
			return net.HardwareAddr(b[:6]).String()
		}
	case typeIfname, typeString:
		name := cstring(b)
		if t == typeIfname && len(b) < ifNameSize && len(name) == len(b) {
			name += "*" // only its start is compared
		}
		return quoted(name)
	case typeIfindex:
		i := int(number(t, b))
		if dev, err := net.InterfaceByIndex(i); err == nil {
			return quoted(dev.Name)
		}
		return strconv.Itoa(i)
	}
	if len(b) > 8 {
		return "0x" + hex.EncodeToString(b)
	}
	n := number(t, b)
	if name, ok := symbols[t][n]; ok {
		return name
	}
	if t == typeMark {
		return fmt.Sprintf("0x%08x", n)
	}
	if order := masks[t]; order != nil && n != 0 {
		var names []string
		for _, bit := range order {
			if n&bit != 0 {
				names = append(names, symbols[t][bit])
				n &^= bit
			}
		}
		if n == 0 {
			return strings.Join(names, ",")
		}
	}
	if t == typeEtherType || t == typeDSCP || t == typeTCPFlag || t == typeCtState || t == typeCtStatus {
		return fmt.Sprintf("%#x", number(t, b))
	}
	return strconv.FormatUint(n, 10)
}

const ifNameSize = 16

// quoted is a string in nft's quotes, harmless.
func quoted(s string) string { return `"` + Printable(s) + `"` }

// prefixLen is the length of a mask that is a prefix.
func prefixLen(mask []byte) (int, bool) {
	n, ended := 0, false
	for _, b := range mask {
		for bit := 7; bit >= 0; bit-- {
			on := b&(1<<bit) != 0
			if on && ended {
				return 0, false
			}
			if on {
				n++
			} else {
				ended = true
			}
		}
	}
	return n, true
}

// interval is a range of a type as nft prints it: a prefix where it is one of
// addresses.
func interval(t uint32, from, to []byte) string {
	if slices.Equal(from, to) {
		return literal(t, from)
	}
	if t == typeIP || t == typeIP6 {
		mask := make([]byte, len(from))
		fits := len(from) == len(to)
		for i := range mask {
			if !fits {
				break
			}
			mask[i] = ^(from[i] ^ to[i])
			fits = from[i]&^mask[i] == 0
		}
		if n, ok := prefixLen(mask); ok && fits {
			return literal(t, from) + "/" + strconv.Itoa(n)
		}
	}
	return literal(t, from) + "-" + literal(t, to)
}
