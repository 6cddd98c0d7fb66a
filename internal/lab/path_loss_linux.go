package lab

import (
	"cmp"
	"context"
	"fmt"
	"net"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/nft"
)

// pathLosses are links that lose packets.
func pathLosses() []Scenario {
	return []Scenario{
		{
			Name: "packet-loss", Connect: Opens, prove: proveRetransmitted,
			Shows: "Connecting takes a second: every second SYN is lost.",
			// A connection that opens at its second SYN may as well have found the table of
			// half-open ones full before.
			Ideal: leaves(and(someVanishUnseen, "syn-queue-full"), and(someVanish, "syn-queue-full")),
			// Every second SYN rather than half of them by chance: every connection
			// that is tried by itself meets the loss, and none fails by it.
			fault: func(l *Lab) {
				l.rules(R2, nft.Forward, nft.If(nft.DAddr(l.Addr(Server)), nft.Flags(nft.SYN, nft.SYN), nft.Every(2)).Drop())
			},
		},
		{
			// Who meets no loss in a few tries rightly says that it works.
			Name: "packet-loss-5", Cause: "packet-loss", Also: []string{"none"}, prove: proveLoss(5, Opens),
			Shows: "Now and then connecting takes a second: 5 % of all packets are lost, either way.",
			Args:  comesAndGoes(20),
			Ideal: leaves(and(someVanishUnseen, "none"), and(someVanish, "none")),
			fault: func(l *Lab) { l.lose(5) },
		},
		{
			Name: "packet-loss-20", Cause: "packet-loss", prove: proveLoss(20, Opens),
			Shows: "Many connections take seconds: 20 % of all packets are lost, either way.",
			Args:  comesAndGoes(16),
			Ideal: leaves(someVanishUnseen, someVanish),
			fault: func(l *Lab) { l.lose(20) },
		},
		{
			Name: "packet-loss-50", Cause: "packet-loss", prove: proveLoss(50, Opens),
			Shows: "Connections take many seconds or fail: 50 % of all packets are lost, either way.",
			Args:  comesAndGoes(8),
			Ideal: leaves(someVanishUnseen, someVanish),
			fault: func(l *Lab) { l.lose(50) },
		},
		Scenario{
			Name: "packet-loss-closed", Cause: "packet-loss", Also: []string{"no-listener"}, prove: proveLoss(30, Refused),
			Shows: "Connection refused, sometimes after seconds only: nothing listens, and 30 % of all packets are lost.",
			Args:  comesAndGoes(12),
			Ideal: leaves(and(refusals, someVanishUnseen...), and(refusals, someVanish...)),
			fault: func(l *Lab) { l.lose(30) },
		}.closed(),
	}
}

// lose makes r2 lose a share of the packets, in percent, of every kind.
func (l *Lab) lose(percent int) {
	l.rules(R2, nft.Forward, nft.If(nft.Percent(cmp.Or(l.Params.Loss, percent))).Drop())
}

// proveLoss checks that some connections end in a way at once and others do not,
// among so many that not one of either kind is next to impossible.
func proveLoss(percent int, want Outcome) func(context.Context, *Lab) error {
	return func(ctx context.Context, l *Lab) error {
		lost := min(max(cmp.Or(l.Params.Loss, percent), 1), 99)
		got, err := l.sweep(ctx, 40+1000/min(lost, 100-lost), quiet)
		if err == nil && (got[want] == 0 || got[TimesOut] == 0) {
			err = fmt.Errorf("connections to %v: %v, want %s and %s", l.dst, got, want, TimesOut)
		}
		return err
	}
}

// proveRetransmitted checks that a connection needs more than one SYN.
func proveRetransmitted(ctx context.Context, l *Lab) error {
	return l.Do(l.Scenario.From, func() error {
		c, err := dial(ctx, l.dst)
		if err != nil {
			return err
		}
		defer c.Close()
		info, err := tcpInfo(c)
		if err == nil && info.Total_retrans == 0 {
			err = fmt.Errorf("the first SYN to %v was not lost", l.dst)
		}
		return err
	})
}

// tcpInfo is what the kernel knows of a connection; tcp(7), TCP_INFO.
func tcpInfo(c *net.TCPConn) (info *unix.TCPInfo, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	err = control(raw, func(fd int) (err error) {
		info, err = unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		return err
	})
	return info, err
}
