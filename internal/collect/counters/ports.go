package counters

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"net/netip"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/rtnl"
	"github.com/tcpwhy/tcpwhy/internal/sockdiag"
)

// portSet is a set of port numbers.
type portSet [1 << 16 / 64]uint64

func (s *portSet) add(p uint16) { s[p/64] |= 1 << (p % 64) }

// common counts the ports that are in both sets.
func (s *portSet) common(o *portSet) (n int) {
	for i := range s {
		n += bits.OnesCount64(s[i] & o[i])
	}
	return n
}

// ports counts the ports of the ephemeral range, and those that a connect to
// the target could not be given: those reserved by the administrator, those
// that any socket was bound to by bind(), since connect() never shares these
// (__inet_hash_connect in net/ipv4/inet_hashtables.c), and those with which a
// connection to the target exists, in whatever state; with a source address
// asked for, only connections from it.
//
// It is an upper bound on one point: a port in TIME_WAIT can be taken again
// where net.ipv4.tcp_tw_reuse allows it.
func ports(env collect.Env, sysctls map[string]string, target netip.AddrPort) (used, total int, err error) {
	text, ok := sysctls["net.ipv4.ip_local_port_range"]
	if !ok {
		return 0, 0, errors.New("net.ipv4.ip_local_port_range is not readable")
	}
	var ranged, taken portSet
	if err := parsePorts(text, func(p uint16) { ranged.add(p); total++ }); err != nil {
		return 0, 0, fmt.Errorf("net.ipv4.ip_local_port_range: %w", err)
	}
	if r := sysctls["net.ipv4.ip_local_reserved_ports"]; r != "" {
		if err := parsePorts(r, taken.add); err != nil {
			return 0, 0, fmt.Errorf("net.ipv4.ip_local_reserved_ports: %w", err)
		}
	}
	conn, err := sockdiag.Dial(context.Background())
	if err != nil {
		return 0, 0, err
	}
	defer conn.Close()

	bound := sockdiag.Query{States: sockdiag.Of(sockdiag.Listen, sockdiag.BoundInactive), V4: true, V6: true}
	for s, err := range conn.Sockets(bound) {
		if err != nil {
			return 0, 0, err
		}
		taken.add(s.Local.Port())
	}
	to, from := rtnl.Destination(target.Addr()).WithZone(""), env.Source.Unmap().WithZone("")
	connected := sockdiag.Query{States: sockdiag.Connections, RemotePort: target.Port(), V4: to.Is4(), V6: true}
	for s, err := range conn.Sockets(connected) {
		if err != nil {
			return 0, 0, err
		}
		if s.Remote.Addr().Unmap() == to &&
			(!from.IsValid() || from.IsUnspecified() || s.Local.Addr().Unmap() == from) {
			taken.add(s.Local.Port())
		}
	}
	return ranged.common(&taken), total, nil
}
