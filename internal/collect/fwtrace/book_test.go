package fwtrace

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/nfttrace"
)

// fake is a book whose rules reject when their handle is 7 and cannot be asked
// for when it is 8.
func fake() *book {
	return &book{
		clock: collect.NewClock(), port: 80, names: &interfaceNames{names: map[int]string{1: "eth0", 2: "eth1"}},
		judge: &ruleBook{lookup: func(e nfttrace.Event, _ nfttrace.Chain) (nfttrace.Rule, error) {
			switch e.Handle {
			case 7:
				return nfttrace.Rule{Hook: "input", Reject: "icmp port-unreachable"}, nil
			case 8:
				return nfttrace.Rule{}, errors.New("cannot ask")
			case 9:
				return nfttrace.Rule{NAT: true}, nil
			}
			return nfttrace.Rule{Hook: "input"}, nil
		}},
	}
}

var (
	chainA = nfttrace.Chain{Family: "inet", Table: "f", Name: "a"}
	chainB = nfttrace.Chain{Family: "inet", Table: "f", Name: "b\x1b"}
)

// at is a SYN's first message in a chain.
func at(chain nfttrace.Chain, id uint32, verdict nfttrace.Verdict, handle uint64) nfttrace.Event {
	e := with(chain, id, verdict, handle)
	e.In = 1
	e.Packet = &nfttrace.Packet{
		Src: netip.MustParseAddrPort("192.0.2.1:40000"), Dst: netip.MustParseAddrPort("192.0.2.2:80"), Seq: 5, Flags: 2,
	}
	return e
}

func with(chain nfttrace.Chain, id uint32, verdict nfttrace.Verdict, handle uint64) nfttrace.Event {
	kind := nfttrace.KindRule
	if handle == 0 {
		kind = nfttrace.KindPolicy
	}
	return nfttrace.Event{Chain: chain, ID: id, Kind: kind, Verdict: verdict, Handle: handle}
}

func TestBook(t *testing.T) {
	again := at(chainA, 2, nfttrace.Drop, 3)
	natted := at(chainB, 1, nfttrace.Accept, 0)
	natted.Packet.Dst = netip.MustParseAddrPort("192.0.2.9:8080")
	other := at(chainA, 4, nfttrace.Drop, 3)
	other.Packet.Dst = netip.MustParseAddrPort("192.0.2.2:81")
	data := at(chainA, 5, nfttrace.Drop, 3)
	data.Packet.Flags = 0x18
	for _, c := range []struct {
		name   string
		events []nfttrace.Event
		want   []string // verdict, rule's chain and handle, with, depends
		lost   []string // the same where messages were lost
	}{
		{"nothing", nil, nil, nil},
		{"policy", []nfttrace.Event{at(chainA, 1, nfttrace.Accept, 0)}, []string{"accept a 0"}, nil},
		{"explicit rule", []nfttrace.Event{at(chainA, 1, nfttrace.Accept, 4), at(chainB, 1, nfttrace.Accept, 0)}, []string{"accept a 4"}, nil},
		{"drop in the second chain", []nfttrace.Event{at(chainA, 1, nfttrace.Accept, 4), at(chainB, 1, nfttrace.Continue, 2), with(chainA, 1, nfttrace.Drop, 3)}, []string{"drop a 3"}, []string{"drop a 3"}},
		{"policy drops", []nfttrace.Event{at(chainA, 1, nfttrace.Continue, 2), with(chainA, 1, nfttrace.Drop, 0)}, []string{"drop a 0"}, []string{"drop a 0"}},
		{"reject", []nfttrace.Event{at(chainA, 1, nfttrace.Drop, 7)}, []string{"reject a 7 icmp port-unreachable"}, []string{"reject a 7 icmp port-unreachable"}},
		{"reject or drop", []nfttrace.Event{at(chainB, 1, nfttrace.Drop, 8)}, []string{`depends b\x1b 8 dropped; whether the rule rejects is not known: cannot ask (inet f b\x1b handle 8)`}, []string{`depends b\x1b 8 dropped; whether the rule rejects is not known: cannot ask (inet f b\x1b handle 8)`}},
		{"sent again and dropped", []nfttrace.Event{at(chainA, 1, nfttrace.Accept, 0), again}, []string{"accept a 0", "drop a 3"}, []string{"drop a 3"}},
		{"dropped twice", []nfttrace.Event{at(chainA, 1, nfttrace.Drop, 3), again}, []string{"drop a 3"}, []string{"drop a 3"}},
		{"queue", []nfttrace.Event{at(chainA, 1, nfttrace.Queue, 3)}, []string{"depends a program decides, by queue (inet f a handle 3)"}, []string{"depends a program decides, by queue (inet f a handle 3)"}},
		{"queue that let it pass", []nfttrace.Event{at(chainA, 1, nfttrace.Queue, 3), at(chainB, 1, nfttrace.Accept, 0)}, []string{`accept b\x1b 0`}, nil},
		{"synproxy", []nfttrace.Event{at(chainA, 1, nfttrace.Stolen, 3)}, []string{"depends taken over by the rule (inet f a handle 3)"}, []string{"depends taken over by the rule (inet f a handle 3)"}},
		{"NAT", []nfttrace.Event{at(chainA, 1, nfttrace.Accept, 9), natted}, []string{`accept b\x1b 0 to 192.0.2.9:8080 by 9`}, nil},
		{"changed by others", []nfttrace.Event{at(chainA, 1, nfttrace.Accept, 4), natted}, []string{`accept a 4 to 192.0.2.9:8080`}, nil},
		{"another port, another segment, unknown packet", []nfttrace.Event{other, data, with(chainA, 9, nfttrace.Drop, 3)}, nil, nil},
		{"the ID of another packet", []nfttrace.Event{at(chainA, 1, nfttrace.Continue, 2), {Chain: chainA, ID: 1, Packet: data.Packet}, with(chainA, 1, nfttrace.Drop, 3)}, []string{"accept"}, nil},
	} {
		b := fake()
		for _, e := range c.events {
			b.add(e)
		}
		if diff := cmp.Diff(c.want, words(b.verdicts(false))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
		if diff := cmp.Diff(c.lost, words(b.verdicts(true))); diff != "" {
			t.Errorf("%s, with messages lost (-want +got):\n%s", c.name, diff)
		}
	}
}

func words(list []evidence.RuleVerdict) (out []string) {
	for _, v := range list {
		s := v.Verdict
		if v.Rule != nil {
			s += " " + v.Rule.Chain + " " + string(rune('0'+v.Rule.Handle))
		}
		if v.With != "" {
			s += " " + v.With
		}
		if v.NAT.IsValid() {
			s += " to " + v.NAT.String()
		}
		if v.NATRule != nil {
			s += " by " + string(rune('0'+v.NATRule.Handle))
		}
		for _, d := range v.Depends {
			s += " " + d
		}
		out = append(out, s)
	}
	return out
}

func TestBookIsBounded(t *testing.T) {
	b := fake()
	for i := range uint32(maxPackets + 10) {
		e := at(chainA, i, nfttrace.Drop, 3)
		e.Packet.Seq = i
		b.add(e)
	}
	if len(b.packets) != maxPackets || b.omitted != 10 || len(b.met) > maxPackets+1 {
		t.Errorf("%d packets, %d omitted, %d met", len(b.packets), b.omitted, len(b.met))
	}
	if got := gaps(b, 3, 1, errors.New("broken")); len(got) != 4 {
		t.Errorf("%v", got)
	}
}
