package nft

// field is a field of a header that rules load.
type field struct {
	header, name string
	at, len      int
	kind         uint32
}

func (f field) String() string { return f.header + " " + f.name }

// Protocols that a rule can have settled on before it loads a field.
const (
	protoICMP  = 1
	protoTCP   = 6
	protoUDP   = 17
	protoICMP6 = 58
)

var (
	etherFields = []field{{"ether", "daddr", 0, 6, typeEther}, {"ether", "saddr", 6, 6, typeEther}, {"ether", "type", 12, 2, typeEtherType}}
	ipFields    = []field{
		{"ip", "dscp", 1, 1, typeDSCP}, {"ip", "length", 2, 2, typeInteger}, {"ip", "id", 4, 2, typeInteger}, {"ip", "frag-off", 6, 2, typeInteger},
		{"ip", "ttl", 8, 1, typeInteger}, {"ip", "protocol", 9, 1, typeProto}, {"ip", "checksum", 10, 2, typeInteger},
		{"ip", "saddr", 12, 4, typeIP}, {"ip", "daddr", 16, 4, typeIP},
	}
	ip6Fields = []field{
		{"ip6", "length", 4, 2, typeInteger}, {"ip6", "nexthdr", 6, 1, typeProto}, {"ip6", "hoplimit", 7, 1, typeInteger},
		{"ip6", "saddr", 8, 16, typeIP6}, {"ip6", "daddr", 24, 16, typeIP6},
	}
	tcpFields = []field{
		{"tcp", "sport", 0, 2, typeService}, {"tcp", "dport", 2, 2, typeService}, {"tcp", "sequence", 4, 4, typeInteger}, {"tcp", "ackseq", 8, 4, typeInteger},
		{"tcp", "flags", 13, 1, typeTCPFlag}, {"tcp", "window", 14, 2, typeInteger}, {"tcp", "checksum", 16, 2, typeInteger}, {"tcp", "urgptr", 18, 2, typeInteger},
	}
	udpFields   = []field{{"udp", "sport", 0, 2, typeService}, {"udp", "dport", 2, 2, typeService}, {"udp", "length", 4, 2, typeInteger}, {"udp", "checksum", 6, 2, typeInteger}}
	portFields  = []field{{"th", "sport", 0, 2, typeService}, {"th", "dport", 2, 2, typeService}}
	icmpFields  = []field{{"icmp", "type", 0, 1, typeICMP}, {"icmp", "code", 1, 1, typeInteger}}
	icmp6Fields = []field{{"icmpv6", "type", 0, 1, typeICMP6}, {"icmpv6", "code", 1, 1, typeInteger}}
)

// headerFields are those of the header that a payload expression looks at. proto
// is the transport protocol that is settled, 0 for none; v6 says which IP.
func headerFields(base, proto int, v6 bool) []field {
	switch {
	case base == PayloadLink:
		return etherFields
	case base == PayloadNetwork && v6:
		return ip6Fields
	case base == PayloadNetwork:
		return ipFields
	case base != PayloadTransport:
		return nil
	}
	switch proto {
	case protoTCP:
		return tcpFields
	case protoUDP:
		return udpFields
	case protoICMP:
		return icmpFields
	case protoICMP6:
		return icmp6Fields
	}
	return portFields
}

// metaNames and their types by key; those that nft prints without "meta" have
// none before them.
var metaNames = map[int]struct {
	name string
	kind uint32
}{
	MetaLen: {"meta length", typeHost}, MetaProtocol: {"meta protocol", typeEtherType}, MetaPriority: {"meta priority", typeHost},
	MetaMark: {"meta mark", typeMark}, MetaIif: {"iif", typeIfindex}, MetaOif: {"oif", typeIfindex},
	MetaIifname: {"iifname", typeIfname}, MetaOifname: {"oifname", typeIfname}, MetaIiftype: {"iiftype", typeArphrd}, MetaOiftype: {"oiftype", typeArphrd},
	MetaSkuid: {"meta skuid", typeUID}, MetaSkgid: {"meta skgid", typeGID}, MetaNftrace: {"meta nftrace", typeInteger}, MetaRtclassid: {"meta rtclassid", typeHost},
	MetaSecmark: {"meta secmark", typeHost}, MetaNfproto: {"meta nfproto", typeNfproto}, MetaL4proto: {"meta l4proto", typeProto},
	MetaBriIifname: {"meta ibrname", typeIfname}, MetaBriOifname: {"meta obrname", typeIfname}, MetaPkttype: {"meta pkttype", typePkttype},
	MetaCPU: {"meta cpu", typeHost}, MetaIifgroup: {"iifgroup", typeDevgroup}, MetaOifgroup: {"oifgroup", typeDevgroup}, MetaCgroup: {"meta cgroup", typeHost},
	MetaPrandom: {"meta random", typeHost}, MetaSecpath: {"meta ipsec", typeBoolean}, MetaIifkind: {"meta iifkind", typeIfname}, MetaOifkind: {"meta oifkind", typeIfname},
	MetaTime: {"meta time", typeHost}, MetaDay: {"meta day", typeInteger}, MetaHour: {"meta hour", typeHost}, MetaSdif: {"sdif", typeIfindex}, MetaSdifname: {"sdifname", typeIfname},
}

// ctNames and their types by key.
var ctNames = map[int]struct {
	name string
	kind uint32
}{
	CtState: {"state", typeCtState}, CtDirection: {"direction", typeCtDir}, CtStatus: {"status", typeCtStatus}, CtMark: {"mark", typeMark},
	CtSecmark: {"secmark", typeHost}, CtExpiration: {"expiration", typeHost}, CtHelper: {"helper", typeString}, CtL3proto: {"l3proto", typeNfproto},
	CtSrc: {"saddr", typeIP}, CtDst: {"daddr", typeIP}, CtProto: {"protocol", typeProto}, CtProtoSrc: {"proto-src", typeService}, CtProtoDst: {"proto-dst", typeService},
	CtLabels: {"label", typeHost}, CtPkts: {"packets", typeHost}, CtBytes: {"bytes", typeHost}, CtAvgpkt: {"avgpkt", typeHost}, CtZone: {"zone", typeHost},
	CtEventmask: {"event", typeHost}, CtSrcIP: {"ip saddr", typeIP}, CtDstIP: {"ip daddr", typeIP}, CtSrcIP6: {"ip6 saddr", typeIP6}, CtDstIP6: {"ip6 daddr", typeIP6}, CtID: {"id", typeHost},
}
