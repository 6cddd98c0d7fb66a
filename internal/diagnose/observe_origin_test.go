package diagnose

import (
	"net/netip"
	"testing"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/flow"
)

// gatewayEnd is what NAT makes of clientPort.
var gatewayEnd = netip.MustParseAddrPort("203.0.113.1:61001")

const (
	clientISN = 2714690118
	serverISN = 904118273
)

// sentSYN and cameSYN are one SYN, on the client and behind NAT on the host.
func sentSYN() evidence.Packet {
	return evidence.Packet{Kind: "tcp", Flags: "SYN", Outgoing: true, Src: clientPort, Dst: serverPort,
		Seq: clientISN, Window: 64240, MSS: 1460, Options: "mss 1460,sackOK,ts,wscale 7"}
}

func cameSYN() evidence.Packet {
	p := sentSYN()
	p.Outgoing, p.Src, p.Interface = false, gatewayEnd, "eth0"
	return p
}

func synACK(outgoing bool, to netip.AddrPort, seq uint32) evidence.Packet {
	return evidence.Packet{Kind: "tcp", Flags: "SYN,ACK", Outgoing: outgoing, Src: serverPort, Dst: to, Seq: seq, Ack: clientISN + 1}
}

func TestTranslated(t *testing.T) {
	type packets = []evidence.Packet
	changed := func(p evidence.Packet, change func(*evidence.Packet)) evidence.Packet {
		change(&p)
		return p
	}
	stranger := changed(cameSYN(), func(p *evidence.Packet) { p.Src, p.Seq = netip.MustParseAddrPort("203.0.113.9:4711"), 17 })
	for _, c := range []struct {
		name       string
		sent, came packets
		found      bool
	}{
		{"source NAT", packets{sentSYN()}, packets{cameSYN()}, true},
		{"among others", packets{sentSYN()}, packets{stranger, cameSYN(), stranger}, true},
		{"sent twice", packets{sentSYN(), sentSYN()}, packets{cameSYN(), cameSYN()}, true},
		{"MSS clamped", packets{sentSYN()}, packets{changed(cameSYN(), func(p *evidence.Packet) { p.MSS, p.Options = 1360, "mss 1360,sackOK,ts,wscale 7" })}, true},
		{"the address changed, too", packets{sentSYN()}, packets{changed(cameSYN(), func(p *evidence.Packet) { p.Dst = netip.MustParseAddrPort("10.0.0.9:5432") })}, true},
		{"answered by the host", packets{sentSYN(), synACK(false, clientPort, serverISN)}, packets{cameSYN(), synACK(true, gatewayEnd, serverISN)}, true},
		{"refused", packets{sentSYN(), {Kind: "tcp", Flags: "RST,ACK", Src: serverPort, Dst: clientPort, Ack: clientISN + 1}}, packets{cameSYN()}, true},

		{"no capture of the client", nil, packets{cameSYN()}, false},
		{"nothing came", packets{sentSYN()}, nil, false},
		{"only others", packets{sentSYN()}, packets{stranger}, false},
		{"a number of its own", packets{sentSYN()}, packets{changed(cameSYN(), func(p *evidence.Packet) { p.Seq++ })}, false},
		{"other options", packets{sentSYN()}, packets{changed(cameSYN(), func(p *evidence.Packet) { p.Options = "mss 1460,sackOK,ts,wscale 9" })}, false},
		{"no MSS", packets{sentSYN()}, packets{changed(cameSYN(), func(p *evidence.Packet) { p.MSS, p.Options = 0, "sackOK,ts,wscale 7" })}, false},
		{"a larger MSS", packets{sentSYN()}, packets{changed(cameSYN(), func(p *evidence.Packet) { p.MSS, p.Options = 8960, "mss 8960,sackOK,ts,wscale 7" })}, false},
		{"another window", packets{sentSYN()}, packets{changed(cameSYN(), func(p *evidence.Packet) { p.Window = 502 })}, false},
		{"another port", packets{sentSYN()}, packets{changed(cameSYN(), func(p *evidence.Packet) { p.Dst = netip.AddrPortFrom(serverAddr, 5433) })}, false},
		{"it left the host", packets{sentSYN()}, packets{changed(cameSYN(), func(p *evidence.Packet) { p.Outgoing = true })}, false},
		{"a SYN-ACK", packets{sentSYN()}, packets{changed(cameSYN(), func(p *evidence.Packet) { p.Flags = "SYN,ACK" })}, false},
		{"copied", packets{sentSYN()}, packets{cameSYN(), changed(cameSYN(), func(p *evidence.Packet) { p.Src = netip.MustParseAddrPort("203.0.113.2:1") })}, false},
		{"the client's port used twice", packets{sentSYN(), changed(sentSYN(), func(p *evidence.Packet) { p.Seq++ })}, packets{cameSYN()}, false},
		{"another attempt of the client", packets{changed(sentSYN(), func(p *evidence.Packet) { p.Src = netip.AddrPortFrom(clientAddr, 40001) })}, packets{cameSYN()}, false},
		{"the number 0", packets{changed(sentSYN(), func(p *evidence.Packet) { p.Seq = 0 })}, packets{changed(cameSYN(), func(p *evidence.Packet) { p.Seq = 0 })}, false},
		// A SYN proxy answers with a number of its own, and then sends the client's on.
		{"SYN proxy", packets{sentSYN(), synACK(false, clientPort, serverISN)}, packets{cameSYN(), synACK(true, gatewayEnd, serverISN+1)}, false},
		{"SYN proxy before a host that drops", packets{sentSYN(), synACK(false, clientPort, serverISN)}, packets{cameSYN()}, false},
		{"SYN proxy, and the host's SYN-ACK to a stranger", packets{sentSYN(), synACK(false, clientPort, serverISN)}, packets{cameSYN(), synACK(true, stranger.Src, serverISN)}, false},
	} {
		end := translated(c.sent, c.came, flow.Tuple{Local: clientPort, Remote: serverPort}, 5432)
		if end.IsValid() != c.found || c.found && end != gatewayEnd {
			t.Errorf("%s: the client is %v", c.name, end)
		}
	}
}

// What a host says of the client's own address is not about it behind NAT.
func TestHiddenClient(t *testing.T) {
	h := quietHost()
	h.Watched = &evidence.Watched{Until: time.Second, Traced: true, Capture: &evidence.Capture{},
		Packets: []evidence.Packet{cameSYN()},
		Events:  []evidence.KernelEvent{{Kind: evidence.EventDrop, Client: gatewayEnd, Server: serverPort, Flags: "SYN", Reason: "NETFILTER_DROP"}}}
	want := func(name string, got []evidence.Fact, facts map[evidence.Key]evidence.Value) {
		t.Helper()
		for k, v := range facts {
			if g := value(got, k); g != v {
				t.Errorf("%s: %s is %q, want %q", name, k, g, v)
			}
		}
	}
	found := map[evidence.Key]evidence.Value{evidence.HostSYN: evidence.Yes, evidence.HostSYNACK: evidence.No, evidence.HostReset: evidence.No,
		evidence.HostDrop: evidence.DropNetfilter, evidence.HostRule: "", evidence.HostBack: "", evidence.HostRPFilter: "", evidence.HostSockets: evidence.SocketsServe}
	want("found", silentRun(h, true, sentSYN()), found)
	unknown := map[evidence.Key]evidence.Value{evidence.HostSYN: "", evidence.HostSYNACK: "", evidence.HostReset: "", evidence.HostDrop: "",
		evidence.HostRule: "", evidence.HostBack: "", evidence.HostRPFilter: "", evidence.HostSockets: evidence.SocketsServe}
	want("not found", silentRun(h, true), unknown)

	// What the host does with anybody's packets it does with these.
	h.Firewall.Verdicts[0].Tuple.Local, h.Firewall.Verdicts[1].Tuple.Remote = netip.AddrPort{}, netip.AddrPort{}
	unknown[evidence.HostRule], found[evidence.HostRule] = evidence.RuleNone, evidence.RuleNone
	want("rules for anybody, not found", silentRun(h, true), unknown)
	want("rules for anybody, found", silentRun(h, true, sentSYN()), found)

	// What was left out may be the host's answer.
	h.Watched.OthersOmitted = 1
	found[evidence.HostSYNACK], found[evidence.HostReset] = "", ""
	want("some left out", silentRun(h, true, sentSYN()), found)

	// A saved watch was of other attempts.
	want("saved", silentRun(h, false, sentSYN()), unknown)

	// Where no router is between, and the SYN leaves as it is, there is no NAT.
	alone := quietHost()
	for _, c := range []struct {
		name  string
		route evidence.Route
		sent  []evidence.Packet
		want  evidence.Value
	}{
		{"on the own link", evidence.Route{Type: "unicast"}, []evidence.Packet{sentSYN()}, evidence.RuleNone},
		{"on the own link, and no packets seen", evidence.Route{Type: "unicast"}, nil, ""},
		{"behind a gateway", evidence.Route{Type: "unicast", Gateway: netip.MustParseAddr("198.51.100.1")}, []evidence.Packet{sentSYN()}, ""},
	} {
		a := evidence.Address{Addr: serverPort, Host: alone, Route: &c.route, Packets: c.sent, Attempts: []evidence.Attempt{
			{Tuple: flow.Tuple{Local: clientPort, Remote: serverPort}, Pending: true, Took: time.Second}}}
		facts := ObserveAddress(&evidence.Set{Addresses: []evidence.Address{a}}, &a)
		want(c.name, facts, map[evidence.Key]evidence.Value{evidence.HostRule: c.want})
	}

	// Seen with its own end there is no NAT.
	h = quietHost()
	own := cameSYN()
	own.Src = clientPort
	h.Watched = &evidence.Watched{Until: time.Second, Packets: []evidence.Packet{own}, Capture: &evidence.Capture{}}
	want("not translated", silentRun(h, true, sentSYN()), map[evidence.Key]evidence.Value{evidence.HostSYN: evidence.Yes, evidence.HostRule: evidence.RuleNone, evidence.HostBack: evidence.Yes, evidence.HostRPFilter: evidence.Yes})
}

// NAT before the host leads the SYN to another port of it, where nobody serves it.
func TestLedToAnotherPort(t *testing.T) {
	backend := netip.AddrPortFrom(serverAddr, 8081)
	syn := cameSYN()
	syn.Src, syn.Dst = clientPort, backend
	answer := func(flags string) evidence.Packet {
		return evidence.Packet{Kind: "tcp", Flags: flags, Outgoing: true, Src: backend, Dst: clientPort, Seq: serverISN, Ack: clientISN + 1}
	}
	for _, c := range []struct {
		name   string
		change func(*evidence.Watched)
		sent   []evidence.Packet
		live   bool
		want   evidence.Value
	}{
		{"silent", func(*evidence.Watched) {}, []evidence.Packet{sentSYN()}, true, evidence.OtherPort},
		{"refused", func(w *evidence.Watched) { w.Packets = append(w.Packets, answer("RST,ACK")) }, []evidence.Packet{sentSYN()}, true, evidence.OtherPort},
		{"refused, and packets lost", func(w *evidence.Watched) {
			w.Packets, w.Capture.Dropped = append(w.Packets, answer("RST,ACK")), 1
		}, []evidence.Packet{sentSYN()}, true, evidence.OtherPort},
		{"silent, and packets lost", func(w *evidence.Watched) { w.Capture.Dropped = 1 }, []evidence.Packet{sentSYN()}, true, ""},
		{"silent, and packets left out", func(w *evidence.Watched) { w.Omitted = 1 }, []evidence.Packet{sentSYN()}, true, ""},
		{"served there", func(w *evidence.Watched) { w.Packets = append(w.Packets, answer("SYN,ACK")) }, []evidence.Packet{sentSYN()}, true, evidence.No},
		{"another connection from the same port", func(w *evidence.Watched) { w.Packets[0].Seq++ }, []evidence.Packet{sentSYN()}, true, evidence.No},
		{"another port of the client", func(w *evidence.Watched) { w.Packets[0].Src = netip.AddrPortFrom(clientAddr, 40001) }, []evidence.Packet{sentSYN()}, true, evidence.No},
		{"no capture of the client", func(*evidence.Watched) {}, nil, true, evidence.No},
		{"a saved watch", func(*evidence.Watched) {}, []evidence.Packet{sentSYN()}, false, ""},
		{"it came to the port, too", func(w *evidence.Watched) {
			own := syn
			own.Dst = serverPort
			w.Packets = append(w.Packets, own)
		}, []evidence.Packet{sentSYN()}, true, evidence.Yes},
	} {
		h := quietHost()
		h.Watched = &evidence.Watched{Until: time.Second, Traced: true, Capture: &evidence.Capture{}, Packets: []evidence.Packet{syn}}
		c.change(h.Watched)
		if got := value(silentRun(h, c.live, c.sent...), evidence.HostSYN); got != c.want {
			t.Errorf("%s: the SYN arrives: %q, want %q", c.name, got, c.want)
		}
	}
}
