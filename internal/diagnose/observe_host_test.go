package diagnose

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/flow"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

var (
	serverAddr = netip.MustParseAddr("192.0.2.7")
	clientAddr = netip.MustParseAddr("198.51.100.2")
	clientPort = netip.AddrPortFrom(clientAddr, 40000)
	serverPort = netip.AddrPortFrom(serverAddr, 5432)
)

// quietHost is a host on which nothing is wrong and postgres listens.
func quietHost() *evidence.Host {
	return &evidence.Host{
		Name: "db1", Port: 5432, Client: clientAddr, Complete: true, RoutesRead: true, LinksRead: true, ProgramsRead: true,
		Addresses: []evidence.HostAddress{
			{Prefix: netip.MustParsePrefix("127.0.0.1/8"), Interface: "lo", Up: true},
			{Prefix: netip.PrefixFrom(serverAddr, 24), Interface: "eth0", Up: true}},
		Sockets: &evidence.HostTable{Total: 3, Namespaces: 1, Ports: []uint16{5432}, Listeners: []evidence.Listener{
			{Addr: netip.MustParseAddrPort("0.0.0.0:5432"), Backlog: 200, PID: 812, Process: "postgres"}}},
		Firewall: &evidence.Firewall{Systems: []string{"nftables"}, Verdicts: []evidence.RuleVerdict{
			{Packet: "syn", Tuple: flow.Tuple{Local: netip.AddrPortFrom(clientAddr, 0), Remote: serverPort}, Verdict: "accept"},
			{Packet: "syn-ack", Tuple: flow.Tuple{Local: serverPort, Remote: netip.AddrPortFrom(clientAddr, 0)}, Verdict: "accept"}}},
		Returns: []evidence.Return{{Local: serverAddr, Client: clientAddr, IsLocal: true, Route: evidence.Route{Type: "unicast", Interface: "eth0"}, PassesRP: new(true)}},
		Limits:  &evidence.ServiceLimits{Somaxconn: 4096, MaxSYNBacklog: 512, SYNCookies: 1},
	}
}

func TestHosted(t *testing.T) {
	rule := &evidence.Rule{System: "nftables", Family: "inet", Table: "filter", Chain: "input", Handle: 7, Text: "tcp dport 5432 drop"}
	for _, c := range []struct {
		name    string
		change  func(*evidence.Host)
		outcome verdict.Outcome
		first   verdict.CauseID
		certain bool
	}{
		// A listener may still want signatures or a TTL, which nothing shows.
		{"well", func(*evidence.Host) {}, verdict.Open, verdict.None, false},
		{"nobody listens", func(h *evidence.Host) { h.Sockets.Listeners = nil }, verdict.Refused, "no-listener", true},
		{"nobody listens, whoever asks", func(h *evidence.Host) {
			h.Sockets.Listeners, h.Client, h.Returns = nil, netip.Addr{}, nil
			h.Firewall.Verdicts[0].Tuple.Local, h.Firewall.Verdicts[1].Tuple.Remote = netip.AddrPort{}, netip.AddrPort{}
		}, verdict.Refused, "no-listener", true},
		{"loopback only", func(h *evidence.Host) { h.Sockets.Listeners[0].Addr = netip.MustParseAddrPort("127.0.0.1:5432") }, verdict.Refused, "listens-on-loopback", true},
		{"another address", func(h *evidence.Host) { h.Sockets.Listeners[0].Addr = netip.MustParseAddrPort("192.0.2.8:5432") }, verdict.Refused, "listens-elsewhere", true},
		{"IPv6 only", func(h *evidence.Host) {
			h.Sockets.Listeners[0].Addr, h.Sockets.Listeners[0].V6Only = netip.MustParseAddrPort("[::]:5432"), true
		}, verdict.Refused, "listens-elsewhere", true},
		{"both families", func(h *evidence.Host) { h.Sockets.Listeners[0].Addr = netip.MustParseAddrPort("[::]:5432") }, verdict.Open, verdict.None, false},
		{"in a container", func(h *evidence.Host) {
			h.Sockets.Listeners[0].Namespace, h.Sockets.Listeners[0].Usual = 4026532000, true
		}, verdict.Refused, "listens-in-other-namespace", true},
		{"somebody else in a container", func(h *evidence.Host) { h.Sockets.Listeners[0].Namespace = 4026532000 }, verdict.Refused, "no-listener", true},
		{"rule", func(h *evidence.Host) { h.Firewall.Verdicts[0].Verdict, h.Firewall.Verdicts[0].Rule = "drop", rule }, verdict.Timeout, "host-firewall-drop", true},
		{"rule against the answer", func(h *evidence.Host) { h.Firewall.Verdicts[1].Verdict, h.Firewall.Verdicts[1].Rule = "drop", rule }, verdict.Timeout, "host-firewall-drop", true},
		{"rule that resets", func(h *evidence.Host) { h.Firewall.Verdicts[0].Verdict, h.Firewall.Verdicts[0].Rule = "reset", rule }, verdict.Refused, "host-firewall-reset", true},
		{"queue full", func(h *evidence.Host) { h.Sockets.Listeners[0].Queue = 201 }, verdict.Timeout, "accept-queue-full", true},
		{"no way back", func(h *evidence.Host) { h.Returns[0].Route = evidence.Route{Errno: "ENETUNREACH"} }, verdict.Timeout, "host-no-return-route", true},
		{"not its address", func(h *evidence.Host) { h.Addresses[1].Prefix = netip.MustParsePrefix("192.0.2.9/24") }, verdict.Timeout, "host-address-missing", true},
		{"not its address, but a route of type local", func(h *evidence.Host) {
			h.Addresses[1].Prefix = netip.MustParsePrefix("192.0.2.9/24")
			h.LocalRoutes = []evidence.LocalRoute{{Prefix: netip.MustParsePrefix("192.0.2.0/28"), Table: 255}}
		}, verdict.Open, verdict.None, false},
		{"not its address, but policy rules may choose", func(h *evidence.Host) {
			h.Addresses[1].Prefix = netip.MustParsePrefix("192.0.2.9/24")
			h.LocalRoutes = []evidence.LocalRoute{{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Table: 100}}
		}, verdict.Open, verdict.None, false},
		{"failed unit", func(h *evidence.Host) {
			h.Sockets.Listeners = nil
			h.Service = &evidence.Service{Units: []evidence.Unit{{Name: "postgresql.service", Active: "failed", Sub: "failed", Result: "exit-code"}}}
		}, verdict.Refused, "service-down", true},
		{"bind error", func(h *evidence.Host) {
			h.Sockets.Listeners = nil
			h.Service = &evidence.Service{Units: []evidence.Unit{{Name: "postgresql.service", Active: "failed"}},
				Log: []evidence.LogLine{{Unit: "postgresql.service", Text: "could not bind", Kind: evidence.LogBindInUse}}}
		}, verdict.Refused, "bind-address-in-use", true},
		{"an error of long ago", func(h *evidence.Host) {
			h.Started = time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
			h.Sockets.Listeners = nil
			h.Service = &evidence.Service{Log: []evidence.LogLine{{Time: h.Started.AddDate(0, -1, 0), Process: "postgres", Text: "could not bind 5432", Kind: evidence.LogBindInUse}}}
		}, verdict.Refused, "no-listener", true},
		{"two explanations", func(h *evidence.Host) {
			h.Sockets.Listeners[0].Namespace, h.Sockets.Listeners[0].Usual = 4026532000, true
			h.Service = &evidence.Service{Units: []evidence.Unit{{Name: "postgresql.service", Active: "failed"}}}
		}, verdict.Refused, "no-listener", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := quietHost()
			c.change(h)
			d := Hosted(h, serverAddr)
			if d.Outcome != c.outcome || d.Verdict.Cause != c.first || (d.Verdict.Certainty == verdict.Certain) != c.certain {
				t.Errorf("%s %s %s (%v): %s\n%v", d.Outcome, d.Verdict.Certainty, d.Verdict.Cause, d.Verdict.Candidates, d.Verdict.Finding, d.Facts)
			}
		})
	}
}

// A rule that cannot be decided, and rules that could not all be read, prove
// nothing.
func TestUndecidedRulesGiveNoFact(t *testing.T) {
	for name, change := range map[string]func(*evidence.Host){
		"depends":   func(h *evidence.Host) { h.Firewall.Verdicts[0].Verdict = "depends" },
		"unread":    func(h *evidence.Host) { h.Firewall.Unread = []evidence.NotChecked{{Check: "iptables"}} },
		"other":     func(h *evidence.Host) { h.Firewall.Verdicts[0].Tuple.Local = netip.MustParseAddrPort("198.51.100.9:0") },
		"no answer": func(h *evidence.Host) { h.Firewall = nil },
	} {
		h := quietHost()
		change(h)
		if name == "other" {
			h.Firewall.Verdicts = h.Firewall.Verdicts[:1]
		}
		for _, f := range Hosted(h).Facts {
			if f.Key == evidence.HostRule {
				t.Errorf("%s: %s = %s", name, f.Key, f.Value)
			}
		}
	}
}

// silentRun is a client's attempt that got no answer, with what the host told.
func silentRun(h *evidence.Host, live bool, sent ...evidence.Packet) []evidence.Fact {
	a := evidence.Address{Addr: serverPort, Host: h, HostLive: live, Packets: sent, Attempts: []evidence.Attempt{
		{Tuple: flow.Tuple{Local: clientPort, Remote: serverPort}, Pending: true, Took: time.Second}}}
	return ObserveAddress(&evidence.Set{Addresses: []evidence.Address{a}}, &a)
}

func value(facts []evidence.Fact, k evidence.Key) evidence.Value {
	if i := slices.IndexFunc(facts, func(f evidence.Fact) bool { return f.Key == k }); i >= 0 {
		return facts[i].Value
	}
	return ""
}

// What was not seen did not happen only where all of it was watched.
func TestAbsenceNeedsAWholeWatch(t *testing.T) {
	watched := func() *evidence.Watched {
		return &evidence.Watched{Until: time.Second, Traced: true, Capture: &evidence.Capture{}}
	}
	for _, c := range []struct {
		name   string
		live   bool
		change func(*evidence.Host)
		want   evidence.Value
	}{
		{"live", true, func(*evidence.Host) {}, evidence.No},
		{"saved before", false, func(*evidence.Host) {}, ""},
		{"packets lost", true, func(h *evidence.Host) { h.Watched.Capture.Dropped = 1 }, ""},
		{"packets left out", true, func(h *evidence.Host) { h.Watched.Omitted = 1 }, ""},
		{"no capture", true, func(h *evidence.Host) { h.Watched.Capture = nil }, ""},
		{"programs not looked at", true, func(h *evidence.Host) { h.LinksRead = false }, ""},
		{"an XDP program", true, func(h *evidence.Host) { h.Programs = []evidence.Program{{Kind: "xdp"}} }, ""},
		{"somebody's SYN, perhaps ours behind NAT", true, func(h *evidence.Host) {
			h.Watched.Packets = []evidence.Packet{{Kind: "tcp", Flags: "SYN", Src: netip.MustParseAddrPort("203.0.113.1:999"), Dst: serverPort}}
		}, ""},
		{"our SYN", false, func(h *evidence.Host) {
			h.Watched.Packets = []evidence.Packet{{Kind: "tcp", Flags: "SYN", Src: clientPort, Dst: serverPort}}
		}, evidence.Yes},
		{"our SYN, dropped before the capture", false, func(h *evidence.Host) {
			h.Watched.Events = []evidence.KernelEvent{{Kind: evidence.EventDrop, Client: clientPort, Server: serverPort, Flags: "SYN", Reason: "XDP"}}
		}, evidence.Yes},
	} {
		h := quietHost()
		h.Watched = watched()
		c.change(h)
		if got := value(silentRun(h, c.live), evidence.HostSYN); got != c.want {
			t.Errorf("%s: the SYN arrives: %q, want %q", c.name, got, c.want)
		}
	}
}

// askingForECN gives the SYNs of a host's events the flags of RFC 3168.
func askingForECN(h *evidence.Host) *evidence.Host {
	for i := range h.Watched.Events {
		h.Watched.Events[i].Flags = "SYN,ECE,CWR"
	}
	return h
}

func TestDropReasons(t *testing.T) {
	drop := func(reasons ...string) *evidence.Host {
		h := quietHost()
		h.Watched = &evidence.Watched{Traced: true, Capture: &evidence.Capture{}, Until: time.Second}
		for _, r := range reasons {
			h.Watched.Events = append(h.Watched.Events, evidence.KernelEvent{Kind: evidence.EventDrop, Client: clientPort, Server: serverPort, Flags: "SYN", Reason: r})
		}
		return h
	}
	for _, c := range []struct {
		h    *evidence.Host
		want evidence.Value
	}{
		{drop("NETFILTER_DROP", "NETFILTER_DROP"), evidence.DropNetfilter},
		{drop("TCP_MD5NOTFOUND"), evidence.DropMD5},
		{askingForECN(drop("NETFILTER_DROP")), evidence.DropNetfilter},
		{drop("NETFILTER_DROP", "IP_RPFILTER"), ""},
		{drop("SOMETHING_OF_A_LATER_KERNEL"), ""},
	} {
		if got := value(silentRun(c.h, true), evidence.HostDrop); got != c.want {
			t.Errorf("%v: %q, want %q", c.h.Watched.Events, got, c.want)
		}
	}
}
