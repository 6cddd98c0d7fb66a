package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/nft"
	"github.com/tcpwhy/tcpwhy/internal/rtnl"
)

// pathBalances are parallel paths of which one is broken, and addresses that two
// hosts own.
func pathBalances() []Scenario {
	// A port that fails always fails, which loss would not do. Behind a NAT the
	// same would be one dead backend of several.
	return []Scenario{
		{
			Name: "bad-ecmp-path", Topology: ParallelPaths(), prove: proveMixed(quiet, Opens, TimesOut),
			Shows: "About every second connection times out, the others work at once: one of two parallel routers drops.",
			Args:  comesAndGoes(20),
			Ideal: leaves(someVanishUnseen, someVanish),
			fault: func(l *Lab) { l.rules(R3, nft.Forward, nft.If(nft.DAddr(l.Addr(Server))).Drop()) },
		},
		{
			Name: "bad-ecmp-path-uneven", Cause: "bad-ecmp-path", Topology: UnevenPaths(), prove: proveMixed(quiet, Opens, TimesOut),
			Shows: "About every second connection times out: the longer of two parallel paths is broken.",
			Args:  comesAndGoes(20),
			Ideal: leaves(someVanishUnseen, someVanish),
			fault: func(l *Lab) { l.rules(R5, nft.Forward, nft.If(nft.DAddr(l.Addr(Server))).Drop()) },
		},
		{
			// The router before the dead one says so after 3 s.
			Name: "bad-ecmp-path-down", Cause: "bad-ecmp-path", Topology: ParallelPaths(), prove: proveMixed(Patience, Opens, HostUnreach),
			Shows: "About every second connection fails after 3 s with No route to host: one of two parallel routers is down.",
			Args:  comesAndGoes(20),
			Ideal: leaves(someVanishUnseen, someVanish),
			fault: func(l *Lab) { l.vanish(R3) },
		},
		{
			Name: "duplicate-address", Connect: Refused, Topology: SharedLink(), prove: proveTwoOwners,
			Shows: "Connection refused by another machine that has the server's address too.",
			Ideal: leaves(and(refusals, "duplicate-address"), nil),
			fault: func(l *Lab) { l.impostor() },
		},
		{
			Name: "duplicate-address-silent", Cause: "duplicate-address", Connect: TimesOut, Topology: SharedLink(), prove: proveTwoOwners,
			Shows: "Connecting times out: another machine, with a firewall, has the server's address too.",
			Ideal: leaves(and(silentPortUnseen, "duplicate-address", "ttl-security"), nil),
			fault: func(l *Lab) {
				l.rules(Other, nft.Input, nft.If(nft.DPort(l.dst.Port())).Drop())
				l.impostor()
			},
		},
	}
}

// comesAndGoes are the arguments for a fault that not every connection meets, and
// no single one can show: so many that all of them escape it once in 100,000 runs,
// or the scenario's causes say that it works, too.
func comesAndGoes(count int) []string {
	return []string{"--count", strconv.Itoa(count), "--connect-timeout", "400ms"}
}

// impostor gives the third host the server's address, too; the client has last
// heard from that one.
func (l *Lab) impostor() {
	addr := l.Addr(Server)
	l.configure(Other, func(c *rtnl.Changer) error {
		return c.AddAddress("eth0", netip.PrefixFrom(addr, subnet(l.Family, 1).Bits()))
	})
	l.remember(Other)
}

// remember makes the client take a host for the one that has the server's
// address.
func (l *Lab) remember(host string) {
	var eth0 *net.Interface
	err := l.Do(host, func() (err error) {
		eth0, err = net.InterfaceByName("eth0")
		return err
	})
	if err != nil {
		l.fail(err)
		return
	}
	l.configure(Client, func(c *rtnl.Changer) error { return c.SetNeighbour("eth0", l.Addr(Server), eth0.HardwareAddr) })
}

// proveTwoOwners checks that the server works for one who asks the right host.
func proveTwoOwners(ctx context.Context, l *Lab) error {
	l.remember(Server)
	err := l.expect(ctx, l.dst, Opens, Talks)
	l.remember(Other)
	return errors.Join(l.err, err)
}

// proveMixed checks that some connections end in one way and some in each other,
// and none in yet another; some may take longer.
func proveMixed(wait time.Duration, want ...Outcome) func(context.Context, *Lab) error {
	return func(ctx context.Context, l *Lab) error {
		got, err := l.sweep(ctx, 32, wait)
		if err != nil {
			return err
		}
		for _, o := range want {
			if got[o] == 0 {
				return fmt.Errorf("connections to %v: %v, want %v", l.dst, got, want)
			}
		}
		for o := range got {
			if o != TimesOut && !slices.Contains(want, o) {
				return fmt.Errorf("connections to %v: %v, want %v only", l.dst, got, want)
			}
		}
		return nil
	}
}
