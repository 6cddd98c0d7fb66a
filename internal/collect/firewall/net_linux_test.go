package firewall_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/collect/firewall"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/netns"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
	"github.com/tcpwhy/tcpwhy/internal/rtnl"
)

// pair is a client and a server in namespaces of their own with a link between
// them; the server's end is "srv0".
type pair struct {
	client, server *netns.NS
	port           uint16 // the client's next one
	// filtersOut says that there are rules at output: they may drop the RST or
	// the ICMP message that another rule answers with.
	filtersOut bool
}

var (
	client4, server4 = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	client6, server6 = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
)

// ports that both listen on, over both versions of IP.
var served = []string{"80", "443", "5432", "8080"}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{port: 20000}
	for _, ns := range []**netns.NS{&p.client, &p.server} {
		n, err := netns.New()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { n.Close() })
		// Link-local addresses are good at once: nobody else is on the link.
		must(t, n.Do(func() error {
			return os.WriteFile("/proc/sys/net/ipv6/conf/default/accept_dad", []byte("0"), 0o644)
		}))
		*ns = n
	}
	c, s := changer(t, p.client), changer(t, p.server)
	must(t, c.AddVeth("cli0", "srv0", p.server.Fd()))
	for _, x := range []struct {
		c    *rtnl.Changer
		link string
		a    []netip.Addr
	}{{c, "cli0", []netip.Addr{client4, client6}}, {s, "srv0", []netip.Addr{server4, server6}}} {
		must(t, x.c.AddAddress(x.link, netip.PrefixFrom(x.a[0], 24)))
		must(t, x.c.AddAddress(x.link, netip.PrefixFrom(x.a[1], 64)))
		must(t, x.c.SetUp(x.link))
		must(t, x.c.SetUp("lo"))
	}
	must(t, c.WaitIPv6(t.Context(), "cli0"))
	must(t, s.WaitIPv6(t.Context(), "srv0"))
	for _, port := range served {
		listen(t, p.client, port)
		listen(t, p.server, port)
	}
	return p
}

// listen accepts connections and closes them.
func listen(t *testing.T, ns *netns.NS, port string) {
	t.Helper()
	must(t, ns.Do(func() error {
		l, err := net.Listen("tcp", ":"+port)
		if err != nil {
			return err
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				c.Close()
			}
		}()
		return nil
	}))
}

func changer(t *testing.T, ns *netns.NS) *rtnl.Changer {
	t.Helper()
	c, err := rtnl.NewChanger(ns.Fd())
	must(t, err)
	t.Cleanup(c.Close)
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// read asks what the rules of the server do with packets.
func (p *pair) read(t *testing.T, in ...firewall.Query) evidence.Firewall {
	t.Helper()
	var out evidence.Firewall
	must(t, p.server.Do(func() error {
		fw, missing, err := firewall.Read(t.Context(), collect.Env{Clock: collect.NewClock()}, in)
		if len(missing) > 0 {
			t.Errorf("not checked: %v", missing)
		}
		out = fw
		return err
	}))
	return out
}

// fate is what became of an attempt: "accept", "reset", "reject" or "drop" (no
// answer).
//
// hasty says that silence is expected: then a moment of it is enough.
func fate(t *testing.T, ns *netns.NS, from, to netip.AddrPort, hasty bool) string {
	t.Helper()
	wait := nettest.Patience
	if hasty {
		wait = 40 * time.Millisecond
	}
	fate := ""
	must(t, ns.Do(func() (err error) {
		fate, err = attempt(from, to, wait)
		return err
	}))
	return fate
}

func attempt(from, to netip.AddrPort, wait time.Duration) (string, error) {
	domain, level, opt := unix.AF_INET, unix.SOL_IP, unix.IP_RECVERR
	if to.Addr().Is6() {
		domain, level, opt = unix.AF_INET6, unix.SOL_IPV6, unix.IPV6_RECVERR
	}
	fd, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	// The end must leave nothing behind.
	linger := &unix.Linger{Onoff: 1}
	if err := errors.Join(unix.SetsockoptInt(fd, level, opt, 1), unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, linger),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1), unix.Bind(fd, sockaddr(from))); err != nil {
		return "", err
	}
	switch err := unix.Connect(fd, sockaddr(to)); err {
	case nil, unix.EINPROGRESS:
	default:
		return "", err
	}
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	n, err := unix.Poll(poll, int(wait.Milliseconds()))
	if err != nil {
		return "", err
	}
	if n == 0 {
		return "drop", nil
	}
	// What comes after the handshake is no matter here.
	const synSent, closed = 2, 7
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return "", err
	}
	if info.State != synSent && info.State != closed {
		return "accept", nil
	}
	var oob [512]byte
	if _, _, _, _, err := unix.Recvmsg(fd, nil, oob[:], unix.MSG_ERRQUEUE); err == nil {
		return "reject", nil
	}
	switch e, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR); {
	case err != nil:
		return "", err
	case e == 0, unix.Errno(e) == unix.ECONNRESET:
		return "accept", nil
	case unix.Errno(e) == unix.ECONNREFUSED:
		return "reset", nil
	default:
		return "", unix.Errno(e)
	}
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// sh runs a program in the server's namespace with text on its standard input.
func (p *pair) sh(t *testing.T, input, program string, args ...string) string {
	t.Helper()
	var out strings.Builder
	cmd := exec.Command(program, args...)
	cmd.Env = []string{"XTABLES_LOCKFILE=" + t.TempDir() + "/lock", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &out
	err := p.server.Start(cmd, nil)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		t.Fatalf("%v: %v\n%s%s", cmd.Args, err, &out, input)
	}
	return out.String()
}

// clear removes all rules of the server.
func (p *pair) clear(t *testing.T) {
	t.Helper()
	p.sh(t, "flush ruleset\n", nettest.NeedProgram(t, "nft"), "-f", "-")
	for _, program := range []string{"iptables-legacy-restore", "ip6tables-legacy-restore"} {
		var rules strings.Builder
		for table, chains := range map[string]string{"filter": "INPUT FORWARD OUTPUT", "nat": "PREROUTING INPUT OUTPUT POSTROUTING", "mangle": "PREROUTING INPUT FORWARD OUTPUT POSTROUTING", "raw": "PREROUTING OUTPUT"} {
			rules.WriteString("*" + table + "\n")
			for chain := range strings.FieldsSeq(chains) {
				rules.WriteString(":" + chain + " ACCEPT\n")
			}
			rules.WriteString("COMMIT\n")
		}
		p.sh(t, rules.String(), nettest.NeedProgram(t, program))
	}
}

// compare asks about one attempt, makes it, and holds the answers together. It
// returns the verdicts on SYN and SYN-ACK, and whether they were certain.
func (p *pair) compare(t *testing.T, v6 bool, port uint16) (syn, answer evidence.RuleVerdict, sure bool) {
	t.Helper()
	p.port++
	c, s := netip.AddrPortFrom(client4, p.port), netip.AddrPortFrom(server4, port)
	if v6 {
		c, s = netip.AddrPortFrom(client6, p.port), netip.AddrPortFrom(server6, port)
	}
	q := firewall.Query{Kind: firewall.SYNIn, Client: c, Server: s, In: "srv0", Unmarked: true}
	return p.hold(t, p.client, q, firewall.SYNACKOut)
}

// hold asks about the SYN of an attempt from a host, and about the answer, makes
// it, and holds what was said against what came of it.
func (p *pair) hold(t *testing.T, from *netns.NS, q firewall.Query, answers firewall.Kind) (syn, answer evidence.RuleVerdict, sure bool) {
	t.Helper()
	back := q
	back.Kind = answers
	fw := p.read(t, q, back)
	syn, answer = fw.Verdicts[0], fw.Verdicts[1]
	want := syn.Verdict
	if want == "accept" {
		if want = answer.Verdict; want == "reset" || want == "reject" {
			want = "drop" // it goes to the server
		}
	}
	lost := p.filtersOut && (want == "reset" || want == "reject")
	got := fate(t, from, q.Client, q.Server, want == "drop" || want == "depends" || lost)
	if want == "depends" {
		return syn, answer, false
	}
	if got != want && !(lost && got == "drop") {
		t.Errorf("the client saw %s; read: SYN %s, SYN-ACK %s\n%s\n%s", got, syn.Verdict, answer.Verdict, show(syn), show(answer))
		return syn, answer, true
	}
	// The rule named must have counted the packet.
	after := p.read(t, q, back)
	p.counted(t, syn, after.Verdicts[0])
	if syn.Verdict == "accept" {
		p.counted(t, answer, after.Verdicts[1])
	}
	return syn, answer, true
}

func (p *pair) counted(t *testing.T, before, after evidence.RuleVerdict) {
	t.Helper()
	a, b := before.Rule, after.Rule
	if a == nil || a.Packets == nil || len(before.Depends) > 0 {
		return
	}
	if b == nil || a.Handle != b.Handle || a.Number != b.Number || a.Chain != b.Chain {
		t.Errorf("another rule decides now:\n%s\n%s", show(before), show(after))
		return
	}
	if *b.Packets <= *a.Packets {
		t.Errorf("the rule did not count the packet: %d, then %d\n%s", *a.Packets, *b.Packets, show(before))
	}
}

func show(v evidence.RuleVerdict) string {
	s := v.Packet + " " + v.Verdict + " " + v.With
	if v.Rule != nil {
		s += " by " + v.Rule.Table + " " + v.Rule.Chain + ": " + v.Rule.Text
	}
	if v.NATRule != nil {
		s += " NAT " + v.NAT.String()
	}
	return s + " depends: " + strings.Join(v.Depends, "; ")
}
