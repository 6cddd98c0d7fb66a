package report_test

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/flow"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// none is the verdict about a connection that works.
func none(finding string, because ...evidence.ID) verdict.Verdict {
	return verdict.Verdict{
		Certainty: verdict.Certain, Cause: verdict.None, Finding: finding, Because: because,
		Candidates: []verdict.Candidate{{Cause: verdict.None, Likelihood: 1}},
	}
}

func open(remote string, took time.Duration) evidence.Address {
	local := "10.77.1.2:41234"
	if addrPort(remote).Addr().Is6() {
		local = "[fd77:1::2]:41234"
	}
	att := attempt(local, remote)
	att.Connected, att.Took, att.RTT, att.State = true, took, took, "ESTABLISHED"
	return evidence.Address{Addr: addrPort(remote), Attempts: []evidence.Attempt{att}}
}

func twoAddresses() *verdict.Diagnosis {
	d := refusedNarrowed()
	d.Set.Target.Input, d.Set.Target.Host = "db.example:5432", "db.example"
	works := open("[fd77:3::2]:5432", 400*us)
	d.Set.Addresses = append(d.Set.Addresses, works)
	fact(d, evidence.Connect, evidence.ConnOpen, "connect", 5*ms, "connect() to [fd77:3::2]:5432 succeeded after 0.4 ms")
	fact(d, evidence.NameOutcomes, evidence.OutcomesFamilyFail, "connect", 20*ms, "IPv4 fails (10.77.3.2), IPv6 works (fd77:3::2)")
	d.Addresses = append(d.Addresses, verdict.AddressVerdict{Addr: works.Addr, Outcome: verdict.Open, Verdict: none("it connects", "e5")})
	d.Outcome = verdict.Degraded
	d.Verdict = verdict.Verdict{
		Certainty: verdict.Certain, Cause: "address-family-broken",
		Candidates: []verdict.Candidate{{Cause: "address-family-broken", Likelihood: 1}},
		Finding:    "IPv6 works and IPv4 does not",
		Because:    []evidence.ID{"e6"},
		RuledOut:   out("e6", "some-addresses-fail"),
		Next:       []verdict.Step{{Check: "find out why 10.77.3.2 fails", Command: "tcpwhy -4 db.example:5432"}},
	}
	return d
}

func threeAlike() *verdict.Diagnosis {
	d := timeoutNarrowed()
	for _, s := range []string{"10.77.3.3:5432", "10.77.3.4:5432"} {
		a := d.Set.Addresses[0]
		a.Addr = addrPort(s)
		d.Set.Addresses = append(d.Set.Addresses, a)
		d.Addresses = append(d.Addresses, verdict.AddressVerdict{Addr: a.Addr, Outcome: verdict.Timeout, Verdict: d.Addresses[0].Verdict})
	}
	d.Set.AddressesSkipped = 1
	return d
}

func tlsFailed() *verdict.Diagnosis {
	d := fixture("www.example", 443)
	d.Set.Target.Input, d.Set.Target.Scheme = "https://www.example/", "https"
	a := open("10.77.3.2:443", 350*us)
	a.Session = &evidence.Session{
		Expect: "tls", Got: "tls", Sent: 517, Received: 1892, ReplyAfter: 1100 * us, Hello: "tls client hello",
		TLS: &evidence.TLS{Problem: "expired", Names: []string{"www.example"}, NotAfter: time.Date(2025, 12, 31, 23, 59, 59, 0, time.UTC)},
	}
	d.Set.Addresses = []evidence.Address{a}
	fact(d, evidence.Connect, evidence.ConnOpen, "connect", 4*ms, "connect() to 10.77.3.2:443 succeeded after 0.4 ms")
	fact(d, evidence.SessionReply, evidence.ReplyTLSError, "session", 7*ms, "the certificate for www.example expired on 2025-12-31, 2 days ago")
	return single(d, verdict.Degraded, verdict.Verdict{
		Certainty: verdict.Certain, Cause: "tls-failed", Where: addr("10.77.3.2"),
		Candidates: []verdict.Candidate{{Cause: "tls-failed", Likelihood: 1}},
		Finding:    "it connects, but the server's certificate expired on 2025-12-31",
		Because:    []evidence.ID{"e1", "e2"},
		RuledOut:   out("e2", "wrong-protocol application-silent closed-on-accept reset-on-accept"),
		Next:       []verdict.Step{{Check: "see the certificate that is served", Command: "openssl s_client -connect 10.77.3.2:443 -servername www.example </dev/null | openssl x509 -noout -dates -subject"}},
		Fix:        []verdict.Fix{{OS: "linux", Text: "renew the certificate and reload the server", Command: "sudo certbot renew\nsudo systemctl reload nginx"}},
	})
}

func works() *verdict.Diagnosis {
	d := fixture("bastion.example", 22)
	a := open("10.77.3.2:22", 310*us)
	a.Session = &evidence.Session{Expect: "ssh", Got: "ssh", Received: 40, ReplyAfter: 3 * ms, Banner: "SSH-2.0-OpenSSH_9.6"}
	a.Path = &evidence.Path{Port: 22, Method: "connect", AnswerTTL: 3, Answer: "syn-ack"}
	d.Set.Addresses = []evidence.Address{a}
	d.Set.Name = &evidence.Name{Host: "bastion.example", AddrsFrom: "dns", Took: 1200 * us}
	fact(d, evidence.Connect, evidence.ConnOpen, "connect", 4*ms, "connect() to 10.77.3.2:22 succeeded after 0.3 ms")
	fact(d, evidence.SessionReply, evidence.ReplyExpected, "session", 8*ms, "the server greets as ssh: SSH-2.0-OpenSSH_9.6")
	d.NotChecked = rawNotChecked()
	return single(d, verdict.Open, none("it connects, and an SSH server answers", "e1", "e2"))
}

func worksTwoAddresses() *verdict.Diagnosis {
	d := works()
	b := open("[fd77:3::2]:22", 420*us)
	d.Set.Addresses = append(d.Set.Addresses, b)
	d.Addresses = append(d.Addresses, verdict.AddressVerdict{Addr: b.Addr, Outcome: verdict.Open, Verdict: none("it connects")})
	return d
}

func undetermined() *verdict.Diagnosis {
	d := timeoutNarrowed()
	d.Addresses = nil
	return single(d, verdict.Timeout, verdict.Verdict{
		Certainty: verdict.Unknown, Cause: verdict.Undetermined,
		Finding: "what was seen contradicts every known cause; please report it with the output of tcpwhy -o json",
		Because: []evidence.ID{"e1", "e2", "e3"},
		Next:    []verdict.Step{{Check: "report it", Command: "tcpwhy -o json db.internal:5432"}},
	})
}

func interrupted() *verdict.Diagnosis {
	d := fixture("db.internal", 5432)
	d.Set.Interrupted, d.Set.Elapsed = true, 420*ms
	d.NotChecked = []evidence.NotChecked{{Check: "connect to 10.77.3.2:5432", Reason: "stopped by the user before there was an outcome", How: "run it again and let it finish"}}
	d.Outcome = verdict.Timeout
	d.Verdict = verdict.Verdict{Certainty: verdict.Unknown, Cause: verdict.Undetermined, Finding: "nothing had answered yet"}
	return d
}

// evil is text that tries to be more than text.
const evil = "\x1b]0;owned\a\x1b[31mred\r\nfake: line\x00\x7f\u009b2J \u202egpj.exe\xff\xfe 漢字 \u0301 end"

func hostile() *verdict.Diagnosis {
	d := fixture("evil\x1b[2J.example", 443)
	d.Set.Target.Input = evil
	a := open("10.77.3.2:443", 1*ms)
	a.Session = &evidence.Session{Got: evil, Banner: evil}
	a.Packets = []evidence.Packet{{At: 4 * ms, Kind: "tcp", Outgoing: true, Src: addrPort("10.77.1.2:41234"), Flags: evil, Interface: evil}}
	a.Path = &evidence.Path{Port: 443, Method: "connect", Hops: []evidence.Hop{{TTL: 1, Kind: "error", Errno: evil}}}
	d.Set.Addresses = []evidence.Address{a}
	d.Set.Name = &evidence.Name{Queries: []evidence.Query{{Server: addrPort("10.77.1.53:53"), Net: "udp", Name: evil, Type: "A", Err: evil}}}
	fact(d, evidence.SessionReply, evidence.ReplyOther, "session", 8*ms, "it answers "+evil+" "+strings.Repeat("x", 700))
	d.NotChecked = []evidence.NotChecked{{Check: evil, Reason: evil, How: evil}, {Check: evil, Reason: "r", How: "sudo " + evil}}
	return single(d, verdict.Degraded, verdict.Verdict{
		Certainty: verdict.Certain, Cause: "wrong-protocol",
		Candidates: []verdict.Candidate{{Cause: "wrong-protocol", Likelihood: 1}},
		Finding:    "it speaks " + evil,
		Because:    []evidence.ID{"e1", "e99"},
		Next:       []verdict.Step{{Check: evil, Command: "echo " + evil}},
		Fix:        []verdict.Fix{{OS: evil, Text: evil, Command: evil}},
	})
}

// many has ten thousand of everything.
func many() *verdict.Diagnosis {
	const n = 10_000
	d := timeoutNarrowed()
	a := &d.Set.Addresses[0]
	v := d.Verdict
	v.Candidates, v.RuledOut, v.Because = nil, nil, nil
	for i := range n {
		id := verdict.CauseID(fmt.Sprintf("cause-%d", i))
		c := verdict.Candidate{Cause: id, Likelihood: 1.0 / n}
		if i%3 == 1 {
			c.Refines = verdict.CauseID(fmt.Sprintf("cause-%d", i-1))
		}
		v.Candidates = append(v.Candidates, c)
		fact(d, evidence.Connect, evidence.ConnTimeout, "connect", 4*ms, fmt.Sprintf("fact number %d", i))
		v.Because = append(v.Because, d.Facts[len(d.Facts)-1].ID)
		v.RuledOut = append(v.RuledOut, verdict.RuledOut{Cause: verdict.CauseID(fmt.Sprintf("out-%d", i)), Because: []evidence.ID{evidence.ID(fmt.Sprintf("e%d", i%7))}})
		v.Next = append(v.Next, verdict.Step{Check: fmt.Sprintf("step %d", i)})
		v.Fix = append(v.Fix, verdict.Fix{OS: "linux", Text: fmt.Sprintf("fix %d", i)})
		d.NotChecked = append(d.NotChecked, evidence.NotChecked{Check: fmt.Sprintf("check %d", i), Reason: fmt.Sprintf("reason %d", i%5)})
		a.Packets = append(a.Packets, packet(time.Duration(i)*time.Microsecond+4*ms, i%2 == 0, "10.77.1.2:41234", "10.77.3.2:5432", "PSH,ACK", 64))
	}
	v.Cause = "cause-0"
	d.Verdict = v
	d.Addresses = nil
	for i := range n {
		at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 77, byte(i >> 8), byte(i)}), 5432)
		w := verdict.Verdict{Certainty: verdict.Certain, Cause: "host-down", Finding: "nobody has the address"}
		if i == 0 {
			at, w = a.Addr, v
		}
		d.Addresses = append(d.Addresses, verdict.AddressVerdict{Addr: at, Outcome: verdict.Timeout, Verdict: w})
	}
	return d
}

// ownRules is a SYN that a rule of this host drops, and one that would drop the
// answer, too.
func ownRules() *verdict.Diagnosis {
	d := fixture("10.77.3.2", 5432)
	a := evidence.Address{Addr: addrPort("10.77.3.2:5432")}
	att := attempt("10.77.1.2:41234", "10.77.3.2:5432")
	att.Took, att.Pending, att.Retransmits = 3200*ms, true, 3
	a.Attempts = []evidence.Attempt{att}
	rule := &evidence.Rule{System: "nftables", Family: "inet", Table: "filter", Chain: "output", Hook: "output", Handle: 7, Text: "tcp dport 5432 drop", Comment: "no databases",
		Allow: "nft insert rule inet filter output handle 7 ip daddr 10.77.3.2 tcp dport 5432 accept"}
	a.Own = &evidence.Own{Firewall: evidence.Firewall{Systems: []string{"nftables", "iptables"}, Verdicts: []evidence.RuleVerdict{
		{Packet: "syn", Tuple: att.Tuple, Verdict: "drop", Rule: rule},
		{Packet: "syn-ack", Tuple: flow.Tuple{Local: att.Tuple.Remote, Remote: att.Tuple.Local}, Verdict: "depends", Depends: []string{"limit rate 1/second (iptables filter INPUT rule 2)"},
			Rule: &evidence.Rule{System: "iptables", Table: "filter", Chain: "INPUT", Hook: "input", Number: 2, Text: "-A INPUT -m limit --limit 1/s -j DROP", Manager: "ufw"}},
	}}, ProgramsRead: true}
	d.Set.Addresses = []evidence.Address{a}
	fact(d, evidence.LocalRule, evidence.RuleDrop, "rules", 104*ms, "rules of this host drop the SYN (rule inet filter output handle 7: tcp dport 5432 drop)")
	fact(d, evidence.Connect, evidence.ConnTimeout, "connect", 4*ms, "connect() to 10.77.3.2:5432 got no answer in 3.2 s")
	return single(d, verdict.Timeout, verdict.Verdict{
		Certainty: verdict.Certain, Cause: "local-firewall-drop", Where: addr("10.77.1.2"),
		Candidates: []verdict.Candidate{{Cause: "local-firewall-drop", Likelihood: 1}},
		Finding:    "a rule of this host drops the SYN to port 5432 of 10.77.3.2: rule inet filter output handle 7: tcp dport 5432 drop",
		Because:    []evidence.ID{"e1", "e2"},
		RuledOut:   out("e1", "host-down host-firewall-drop path-firewall-drop"),
		Next:       []verdict.Step{{Check: "find the drop in an output, postrouting or input chain", Command: "nft -a list ruleset", Where: "client"}},
		Fix:        []verdict.Fix{{OS: "linux", Text: "let the port pass", Command: rule.Allow}},
	})
}
