package lab

import (
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
			Name: "packet-loss-5", Cause: "packet-loss", Also: []string{"none"}, Connect: Opens, After: Talks, Loss: 5,
			Shows: "Now and then connecting takes a second.",
			Args:  comesAndGoes(20),
			Ideal: leaves(and(someVanishUnseen, "none"), and(someVanish, "none")),
		},
		{
			// 16 connections in a row without a loss are rare, and seen all the same.
			Name: "packet-loss-20", Cause: "packet-loss", Also: []string{"none"}, Connect: Opens, After: Talks, Loss: 20,
			Shows: "Many connections take seconds.",
			Args:  comesAndGoes(16),
			Ideal: leaves(and(someVanishUnseen, "none"), and(someVanish, "none")),
		},
		{
			Name: "packet-loss-50", Cause: "packet-loss", Connect: Opens, After: Talks, Loss: 50,
			Shows: "Connections take many seconds or fail.",
			Args:  comesAndGoes(10),
			Ideal: leaves(someVanishUnseen, someVanish),
		},
		Scenario{
			Name: "packet-loss-closed", Cause: "packet-loss", Also: []string{"no-listener"}, Connect: Refused, Loss: 30,
			Shows: "Connection refused, sometimes after seconds only: nothing listens.",
			Args:  comesAndGoes(12),
			Ideal: leaves(and(refusals, someVanishUnseen...), and(refusals, someVanish...)),
		}.closed(),
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
