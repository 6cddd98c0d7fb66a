package lab

import (
	"context"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/nft"
	"github.com/tcpwhy/tcpwhy/internal/rtnl"
)

// paths are faults between the hosts.
func paths() []Scenario {
	prohibited := firewalled("path-prohibited", "path-prohibited", HostUnreach, R2, nft.Forward, nft.Cond.Prohibit)
	prohibited.Connect6 = Denied
	return []Scenario{
		prohibited,
		firewalled("path-firewall-reset-r1", "path-firewall-reset", Refused, R1, nft.Forward, nft.Cond.Reset).leaving([]string{"nat-dead-backend", "path-firewall-reset"}, nil),
		firewalled("path-firewall-reset-r2", "path-firewall-reset", Refused, R2, nft.Forward, nft.Cond.Reset).leaving(refusalsFromSomewhere, nil),
		firewalled("path-firewall-drop-r1", "path-firewall-drop", TimesOut, R1, nft.Forward, nft.Cond.Drop).leaving([]string{"nat-dead-backend", "path-firewall-drop"}, []string{"nat-dead-backend", "path-firewall-drop"}),
		firewalled("path-firewall-drop-r2", "path-firewall-drop", TimesOut, R2, nft.Forward, nft.Cond.Drop).leaving(silentPortUnseen, silentPort),
		firewalled("path-firewall-drop-r1-prerouting", "path-firewall-drop", TimesOut, R1, nft.Prerouting, nft.Cond.Drop).leaving([]string{"nat-dead-backend", "path-firewall-drop", "local-firewall-drop"}, []string{"nat-dead-backend", "path-firewall-drop"}),
		firewalled("path-firewall-reject", "path-firewall-reject", Refused, R2, nft.Forward, nft.Cond.Reject),
		firewalled("path-firewall-reject-host", "path-firewall-reject", HostUnreach, R2, nft.Forward, nft.Cond.RejectHost),
		{
			Name: "return-path-lost", Connect: TimesOut,
			Ideal: leaves(silentPortUnseen, silentPort),
			fault: func(l *Lab) { l.rules(R2, nft.Forward, nft.If(nft.SPort(l.dst.Port())).Drop()) },
		},
		{
			Name: "path-blackhole", Connect: TimesOut,
			Ideal: leaves(silence, silence),
			fault: func(l *Lab) {
				l.rules(R1, nft.Forward, nft.If(nft.DAddr(l.Addr(Server))).Drop())
			},
		},
		{
			Name: "path-no-route", Connect: NetUnreach,
			Ideal: leaves([]string{"path-no-route", "path-firewall-reject"}, []string{"path-no-route", "path-firewall-reject"}),
			fault: func(l *Lab) {
				l.configure(R1, func(c *rtnl.Changer) error { return c.DelRoute(rtnl.RouteSpec{Dst: behind(l)}) })
			},
		},
		{
			Name: "routing-loop", Connect: HostUnreach,
			fault: func(l *Lab) {
				back := pick(l, netip.MustParseAddr("10.77.2.1"), netip.MustParseAddr("fd77:2::1"))
				l.configure(R2, func(c *rtnl.Changer) error {
					return c.AddRoute(rtnl.RouteSpec{Dst: only(l.Addr(Server)), Via: back})
				})
			},
		},
		{
			Name: "ttl-too-small", Connect: HostUnreach,
			fault: func(l *Lab) {
				l.sysctl(Client, pick(l, "net.ipv4.ip_default_ttl", "net.ipv6.conf.eth0.hop_limit"), "2")
			},
		},
		{
			Name: "mtu-blackhole", Connect: Opens, After: Talks, prove: proveLargeStalls,
			fault: func(l *Lab) {
				for host, link := range map[string]string{R1: "eth1", R2: "eth0"} {
					l.configure(host, func(c *rtnl.Changer) error { return c.SetMTU(link, 1280) })
					l.rules(host, nft.Output, nft.If(nft.ICMP(icmpUnreachable)).Drop(), nft.If(nft.ICMPv6(icmp6TooBig)).Drop())
				}
			},
		},
		{
			Name: "packet-loss", Connect: Opens, prove: proveLoss,
			Ideal: leaves([]string{"bad-ecmp-path", "local-firewall-drop", "packet-loss", "ttl-too-small"}, []string{"bad-ecmp-path", "packet-loss"}),
			// Every second SYN rather than half of them by chance: every connection
			// that is tried by itself meets the loss, and none fails by it.
			fault: func(l *Lab) {
				l.rules(R2, nft.Forward, nft.If(nft.DAddr(l.Addr(Server)), nft.Flags(nft.SYN, nft.SYN), nft.Every(2)).Drop())
			},
		},
		{
			Name: "ecn-blocked", Connect: Opens, After: Talks,
			Ideal: leaves([]string{"ecn-blocked", "packet-loss"}, nil),
			fault: func(l *Lab) {
				l.sysctl(Client, "net.ipv4.tcp_ecn", "1")
				ecn := byte(nft.SYN | nft.ECE | nft.CWR)
				l.rules(R2, nft.Forward, nft.If(nft.Flags(ecn, ecn)).Drop())
			},
		},
		{
			Name: "syn-proxy-dead-backend", Connect: Opens, After: Reset,
			Ideal: leaves([]string{"reset-on-accept", "path-firewall-reset", "syn-proxy-dead-backend"}, nil),
			fault: func(l *Lab) {
				l.stop(Server, l.dst.Port())
				l.rules(R2, nft.Raw, nft.If(nft.DPort(l.dst.Port()), nft.Flags(nft.SYN|nft.ACK, nft.SYN)).NoTrack())
				l.rules(R2, nft.Forward, nft.If(nft.DPort(l.dst.Port()), nft.Untracked()).SYNProxy(1460, 7))
				l.sysctl(R2, "net.netfilter.nf_conntrack_tcp_loose", "0")
			},
		},
		{
			Name: "answers-for-everything", Connect: Opens, After: Silent,
			fault: func(l *Lab) {
				l.serve(R2, 9999, silent)
				l.rules(R2, nft.NAT, nft.If(nft.TCP(), nft.DAddr(l.Addr(Server))).Redirect(9999))
			},
		},
	}
}

// Types of ICMP messages, RFC 792 and RFC 4443.
const (
	icmpUnreachable  = 3
	icmpExceeded     = 11
	icmp6Unreachable = 1
	icmp6TooBig      = 2
	icmp6Exceeded    = 3
)

// behind is the server's network.
func behind(l *Lab) netip.Prefix {
	return pick(l, netip.MustParsePrefix("10.77.3.0/24"), netip.MustParsePrefix("fd77:3::/64"))
}

// proveLargeStalls checks that a large answer does not come through.
func proveLargeStalls(ctx context.Context, l *Lab) error {
	return l.Do(l.Scenario.From, func() error {
		c, err := dial(ctx, l.dst)
		if err != nil {
			return err
		}
		defer c.Close()
		if got := ending(c, "GET / HTTP/1.1\r\nHost: lab\r\n\r\n", Silent); got != Silent {
			return fmt.Errorf("a large answer: %s, want %s", got, Silent)
		}
		return nil
	})
}

// proveLoss checks that a connection needs more than one SYN.
func proveLoss(ctx context.Context, l *Lab) error {
	return l.Do(l.Scenario.From, func() error {
		c, err := dial(ctx, l.dst)
		if err != nil {
			return err
		}
		defer c.Close()
		raw, err := c.SyscallConn()
		if err != nil {
			return err
		}
		return control(raw, func(fd int) error {
			info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
			if err == nil && info.Total_retrans == 0 {
				err = fmt.Errorf("the first SYN to %v was not lost", l.dst)
			}
			return err
		})
	})
}
