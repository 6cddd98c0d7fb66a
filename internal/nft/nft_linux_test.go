package nft_test

import (
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/netns"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
	"github.com/tcpwhy/tcpwhy/internal/nft"
)

// Every match and verdict is read back by nft(8), which knows the kernel's
// encoding better than we do.
func TestApply(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		program := nettest.NeedProgram(t, "nft")
		nettest.LeakCheck(t)
		a4, a6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
		for _, tt := range []struct {
			name  string
			chain nft.Chain
			want  string
		}{
			{"drop", nft.Chain{Hook: nft.Input, Rules: []nft.Rule{nft.If(nft.DPort(8080)).Drop()}},
				"type filter hook input priority filter; policy accept; tcp dport 8080 drop"},
			{"drop all but", nft.Chain{Hook: nft.Input, DropRest: true, Rules: []nft.Rule{nft.If(nft.ICMPv6(135)).Accept()}},
				"type filter hook input priority filter; policy drop; icmpv6 type nd-neighbor-solicit accept"},
			{"reset", nft.Chain{Hook: nft.Forward, Rules: []nft.Rule{nft.If(nft.DPort(8080), nft.Flags(nft.SYN|nft.ACK, nft.SYN)).Reset()}},
				"type filter hook forward priority filter; policy accept; tcp dport 8080 tcp flags syn / syn,ack reject with tcp reset"},
			{"reject", nft.Chain{Hook: nft.Output, Rules: []nft.Rule{nft.If(nft.DAddr(a4)).Reject(), nft.If(nft.DAddr(a6)).RejectHost(), nft.If(nft.SAddr(a6)).Prohibit(), nft.If(nft.SAddr(a4), nft.ICMP(8)).Prohibit()}},
				"type filter hook output priority filter; policy accept; ip daddr 192.0.2.1 reject ip6 daddr 2001:db8::1 reject with icmpx host-unreachable ip6 saddr 2001:db8::1 reject with icmpx admin-prohibited ip saddr 192.0.2.1 icmp type echo-request reject with icmpx admin-prohibited"},
			{"families", nft.Chain{Hook: nft.Prerouting, Rules: []nft.Rule{nft.If(nft.V4(), nft.SPort(53)).Drop(), nft.If(nft.V6(), nft.TCP()).Drop(), nft.If().Accept()}},
				"type filter hook prerouting priority filter; policy accept; meta nfproto ipv4 tcp sport 53 drop meta nfproto ipv6 meta l4proto tcp drop accept"},
			{"loss", nft.Chain{Hook: nft.Forward, Rules: []nft.Rule{nft.If(nft.Every(2)).Drop()}},
				"type filter hook forward priority filter; policy accept; numgen inc mod 2 0 drop"},
			{"nat", nft.Chain{Hook: nft.NAT, Rules: []nft.Rule{nft.If(nft.DPort(80)).DNAT(netip.AddrPortFrom(a4, 8081)), nft.If(nft.DPort(80)).DNAT(netip.AddrPortFrom(a6, 8081)), nft.If(nft.TCP()).Redirect(9)}},
				"type nat hook prerouting priority dstnat; policy accept; tcp dport 80 dnat ip to 192.0.2.1:8081 tcp dport 80 dnat ip6 to [2001:db8::1]:8081 meta l4proto tcp redirect to :9"},
			{"balance", nft.Chain{Hook: nft.NAT, Rules: []nft.Rule{nft.If(nft.Share(3, 1)).DNAT(netip.AddrPortFrom(a4, 80))}},
				"type nat hook prerouting priority dstnat; policy accept; jhash tcp sport mod 3 seed 0x1 1 dnat ip to 192.0.2.1:80"},
			{"chance", nft.Chain{Hook: nft.Forward, Rules: []nft.Rule{nft.If(nft.Percent(20)).Drop()}},
				"type filter hook forward priority filter; policy accept; numgen random mod 100 < 20 drop"},
			{"codes", nft.Chain{Hook: nft.Forward, Rules: []nft.Rule{nft.If(nft.V4()).RejectCode(10), nft.If(nft.SPort(1)).RejectNet()}},
				"type filter hook forward priority filter; policy accept; reject with icmp host-prohibited tcp sport 1 reject with icmpx no-route"},
			{"output nat", nft.Chain{Hook: nft.OutputNAT, Rules: []nft.Rule{nft.If(nft.DPort(80)).DNAT(netip.AddrPortFrom(a4, 8081))}},
				"type nat hook output priority -100; policy accept; tcp dport 80 dnat ip to 192.0.2.1:8081"},
			{"clamp", nft.Chain{Hook: nft.Forward, Rules: []nft.Rule{nft.If(nft.DPort(80)).ClampMSS(1220)}},
				"type filter hook forward priority filter; policy accept; tcp dport 80 tcp option maxseg size set 1220"},
			{"masquerade", nft.Chain{Hook: nft.SourceNAT, Rules: []nft.Rule{nft.If(nft.Out("eth0")).Masquerade()}},
				"type nat hook postrouting priority srcnat; policy accept; oifname \"eth0\" masquerade"},
			{"ingress", nft.Chain{Hook: nft.Ingress, Device: "lo", Rules: []nft.Rule{nft.If(nft.DPort(80)).Drop(), nft.If(nft.DPort(81)).Reset(), nft.If(nft.DPort(82)).Reject()}},
				"type filter hook ingress device \"lo\" priority filter; policy accept; tcp dport 80 drop tcp dport 81 reject with tcp reset tcp dport 82 reject"},
			{"notrack", nft.Chain{Hook: nft.Raw, Rules: []nft.Rule{nft.If(nft.DPort(80)).NoTrack()}},
				"type filter hook prerouting priority raw; policy accept; tcp dport 80 notrack"},
			{"synproxy", nft.Chain{Hook: nft.Forward, Rules: []nft.Rule{nft.If(nft.DPort(80), nft.Untracked()).SYNProxy(1460, 7)}},
				"type filter hook forward priority filter; policy accept; tcp dport 80 ct state invalid,untracked synproxy mss 1460 wscale 7 timestamp sack-perm"},
		} {
			t.Run(tt.name, func(t *testing.T) {
				ns, err := netns.New()
				if err != nil {
					t.Fatal(err)
				}
				defer ns.Close()
				if err := nft.Apply(ns.Fd(), tt.chain); err != nil {
					t.Fatal(err)
				}
				var out strings.Builder
				cmd := exec.Command(program, "list", "ruleset")
				cmd.Stdout = &out
				if err := ns.Start(cmd, nil); err != nil {
					t.Fatal(err)
				}
				if err := cmd.Wait(); err != nil {
					t.Fatal(err)
				}
				got := strings.Join(strings.Fields(out.String()), " ")
				got = strings.ReplaceAll(got, "flags & (syn | ack) == syn", "flags syn / syn,ack") // before nft 1.0
				if !strings.Contains(got, "{ "+tt.want+" }") {
					t.Errorf("nft lists\n%s\nwant\n%s", got, tt.want)
				}
			})
		}
	})
}

// Chains for the same hook add up.
func TestApplyTwice(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		ns, err := netns.New()
		if err != nil {
			t.Fatal(err)
		}
		defer ns.Close()
		for _, port := range []uint16{80, 81} {
			if err := nft.Apply(ns.Fd(), nft.Chain{Hook: nft.Input, Rules: []nft.Rule{nft.If(nft.DPort(port)).Drop()}}); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestApplyErrors(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		ns, err := netns.New()
		if err != nil {
			t.Fatal(err)
		}
		defer ns.Close()
		// The kernel refuses dnat outside a NAT chain.
		to := netip.MustParseAddrPort("192.0.2.1:80")
		err = nft.Apply(ns.Fd(), nft.Chain{Hook: nft.Input, Rules: []nft.Rule{nft.If(nft.DPort(80)).DNAT(to)}})
		if err == nil {
			t.Error("dnat in an input chain was accepted")
		}
	})
}
