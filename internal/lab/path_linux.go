package lab

import "slices"

// paths are faults between the hosts.
func paths() []Scenario {
	return slices.Concat(pathFirewalls(), pathRoutes(), pathBalances(), pathMiddleboxes(), pathLosses())
}

// Types of ICMP messages, RFC 792 and RFC 4443, with neighbour discovery by
// RFC 4861.
const (
	icmpEchoReply          = 0
	icmpUnreachable        = 3
	icmpEcho               = 8
	icmpExceeded           = 11
	icmp6Unreachable       = 1
	icmp6TooBig            = 2
	icmp6Exceeded          = 3
	icmp6Echo              = 128
	icmp6EchoReply         = 129
	routerSolicitation     = 133
	neighbourSolicitation  = 135
	neighbourAdvertisement = 136
	redirect               = 137
)

// nearer are the causes of an answer, or of a silence, that begins at a hop
// before the host: it may also forward the port.
func nearer(cause string) []string { return []string{"nat-dead-backend", cause} }
