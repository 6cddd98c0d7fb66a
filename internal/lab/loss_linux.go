package lab

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/nft"
)

// Losing is the scenario with this share of all packets between client and server
// lost, in percent from 1 to 99, in place of the loss that it may have by itself.
// What loses packets is router1, or on a link without routers a switch.
func (s Scenario) Losing(percent int) Scenario {
	const loss = "packet-loss"
	s.Loss = percent
	if s.Topology.Name == OwnLink().Name {
		s.Topology = ownSwitch()
	}
	switch {
	case s.Cause != loss && !slices.Contains(s.Also, loss):
		// Who happens to meet no loss is right to name the rest alone.
		with := func(left, more []string) []string {
			if left == nil {
				left = []string{s.Cause}
			}
			return and(left, but(more, left...)...)
		}
		host := with(s.HostIdeal(), someVanish)
		s.Ideal = Ideal{with(s.Ideal.Ordinary, someVanishUnseen), with(s.Ideal.Root, someVanish), host, with(s.Ideal.Captures, someVanish)}
		s.Also = and(s.Also, loss)
	case s.Cause == loss && len(but(s.Also, "none")) == 0:
		// So many connections that not one in a thousand runs escapes the loss.
		const most, seldom = 20, 1e-3
		passes := math.Pow(1-float64(percent)/100, 2) // there and back
		count := min(max(int(math.Ceil(math.Log(seldom)/math.Log(passes))), 8), most)
		s.Shows, s.fault, s.prove = "Connections take seconds, or fail.", nil, nil
		s.Args, s.Also, s.Ideal = comesAndGoes(count), nil, leaves(someVanishUnseen, someVanish)
		if math.Pow(passes, float64(count)) > seldom {
			s.Also, s.Ideal = []string{"none"}, leaves(and(someVanishUnseen, "none"), and(someVanish, "none"))
		}
	}
	return s
}

// lose makes a share of the packets between client and server vanish, in percent,
// before anything else happens to them there.
func (l *Lab) lose(percent int) {
	if _, ok := l.machines[R1]; ok {
		addrs := []netip.Addr{l.dst.Addr()}
		if m := l.machines[Server]; m != nil {
			addrs = append(addrs, m.addrs...)
		}
		slices.SortFunc(addrs, netip.Addr.Compare)
		for _, a := range slices.Compact(addrs) {
			l.rules(R1, nft.Raw, nft.If(nft.DAddr(a), nft.Percent(percent)).Drop(), nft.If(nft.SAddr(a), nft.Percent(percent)).Drop())
		}
		return
	}
	// A switch also carries what resolves addresses, which must not be lost.
	lost := []nft.Match{
		nft.TCP(), nft.ICMP(icmpEcho), nft.ICMP(icmpEchoReply), nft.ICMP(icmpUnreachable),
		nft.ICMPv6(icmp6Echo), nft.ICMPv6(icmp6EchoReply), nft.ICMPv6(icmp6Unreachable),
	}
	for _, port := range l.Scenario.Topology.Bridges[0].Ports {
		for _, m := range lost {
			l.ingress(Switch, port, nft.If(m, nft.Percent(percent)).Drop())
		}
	}
}

// verifyLoss checks that some packets are lost, and that some connections show the
// fault through it.
func (l *Lab) verifyLoss(ctx context.Context) error {
	s, want := l.Scenario, l.Scenario.Expected(l.Family)
	wait := quiet
	for _, link := range s.Topology.Links {
		wait += 2 * (link.Cable.Delay + link.Cable.LateBy)
	}
	// So many that not one that gets through, or not one that is lost, is next to
	// impossible, as far as their number allows.
	passes := (100 - s.Loss) * (100 - s.Loss) / 100 // there and back, in percent
	n := 40 + 1000/max(min(passes, s.Loss), 1)
	sweep := func(to netip.AddrPort, wait time.Duration) (map[Outcome]int, error) {
		got, err := l.sweepTo(ctx, to, n, wait)
		if s.After == Reset {
			got[Opens] += got["ECONNRESET"]
		}
		var errno syscall.Errno
		if errors.As(err, &errno) && outcome(errno) == want {
			err = l.cannot("loss", "cannot have loss: no packet leaves the %s", s.From)
		}
		return got, err
	}
	got, err := sweep(l.dst, wait)
	if err != nil {
		return err
	}
	silent := want == "" || want == TimesOut
	switch {
	case want == TimesOut && got[TimesOut] < n:
		return fmt.Errorf("connections to %v: %v, want %s only", l.dst, got, want)
	case !silent && got[want] < n/rare:
		late, err := sweep(l.dst, Patience)
		if err != nil {
			return err
		}
		if late[want] < n/rare {
			return l.cannot("loss", "is hidden by a loss of %d %%: of %d connections to %v %d ended with %s", s.Loss, n, l.dst, late[want], want)
		}
	case got[TimesOut] > 0 && got[TimesOut] < n:
		return nil
	}
	// The target's port does not show the loss. Perhaps another does, or it is seen
	// that packets get on from where others are lost.
	before, err := l.traffic()
	if err != nil {
		return err
	}
	if got, err = sweep(netip.AddrPortFrom(l.dst.Addr(), closedPort), wait); err != nil {
		return err
	}
	after, err := l.traffic()
	if err != nil {
		return err
	}
	answered, passed := n-got[TimesOut], after.passed-before.passed
	vanished := after.received - before.received - (after.kept - before.kept) - passed
	switch {
	case answered == n, vanished <= 0 && answered == 0, passed <= 0 && answered == 0 && silent:
		return l.cannot("loss", "cannot have loss: the fault leaves no path on which packets of it could be lost")
	case max(answered, passed) < n/rare:
		return l.cannot("loss", "is hidden by a loss of %d %%: next to nothing gets through", s.Loss)
	}
	return nil
}

// rare is the share of connections, one in so many, that must get through the
// loss: with less nobody sees the fault in a few attempts.
const rare = 40

// traffic is what a host's IP layer has counted, RFC 4293: packets received, and of
// those the ones that it kept for itself and the ones that it passed on.
type traffic struct{ received, kept, passed int }

// traffic counts the packets of the lab's family at router1, none without one.
func (l *Lab) traffic() (t traffic, err error) {
	if _, ok := l.machines[R1]; !ok {
		return t, nil
	}
	path := pick(l, "/proc/thread-self/net/snmp", "/proc/thread-self/net/snmp6")
	err = l.Do(R1, func() error {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		counts := make(map[string]int)
		// With IPv4 a line of names, and one of numbers; with IPv6 a name and a number
		// in each line.
		var names []string
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			switch {
			case len(f) == 2 && strings.HasPrefix(f[0], "Ip6"):
				counts[f[0][len("Ip6"):]], _ = strconv.Atoi(f[1])
			case len(f) > 2 && f[0] == "Ip:" && names == nil:
				names = f
			case len(f) > 2 && f[0] == "Ip:" && len(f) == len(names):
				for i, name := range names {
					counts[name], _ = strconv.Atoi(f[i])
				}
			}
		}
		t = traffic{counts["InReceives"], counts["InDelivers"], counts[pick(l, "ForwDatagrams", "OutForwDatagrams")]}
		return nil
	})
	return t, err
}

// closedPort is one at which no scenario has a service.
const closedPort = 9
