package test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/lab"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// zoneScript runs firewalld with a bus of its own, and then a line of shell for each
// line of its input. It sees the machine's files read-only, with copies of those
// that it writes to, and ends with its input; nothing outlives it.
const zoneScript = `
mount -t tmpfs none /run
mount -t tmpfs none /var/log
mkdir /run/dbus
cp -a /etc/firewalld /run/settings
cat > /run/bus.conf <<'end'
<busconfig><type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/></policy></busconfig>
end
mount -o remount,bind,ro /
dbus-daemon --config-file=/run/bus.conf --nofork --nopidfile &
while ! [ -S /run/dbus/system_bus_socket ]; do sleep 0.02; done
export DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/dbus/system_bus_socket
firewalld --nofork --nopid --system-config /run/settings --log-target console &
daemon=$!
until firewall-cmd --state; do kill -0 $daemon; sleep 0.05; done
echo :0
while read -r line; do
	code=0
	sh -c "$line" || code=$?
	echo ":$code"
done
`

// firewalld starts a real firewalld on the server. The function that it returns runs
// a line of shell beside it.
func (s *site) firewalld(t *testing.T) (run func(line string)) {
	t.Helper()
	for _, p := range []string{"firewalld", "firewall-cmd", "dbus-daemon", "unshare"} {
		nettest.NeedProgram(t, p)
	}
	nettest.NeedFile(t, "/etc/firewalld")
	script := s.write(t, "firewalld.sh", zoneScript)
	// What the script starts ends with it: it is the first process of a namespace.
	cmd := s.Command(lab.Server, false, "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-e", script)
	in, input, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	output, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, out
	err = cmd.Start()
	in.Close()
	out.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		input.Close()
		cmd.Wait()
		output.Close()
	})
	lines := bufio.NewScanner(output)
	var said []string
	done := func(what string) {
		t.Helper()
		for lines.Scan() {
			if code, ok := strings.CutPrefix(lines.Text(), ":"); ok {
				if code != "0" {
					t.Fatalf("%s: exit code %s\n%s", what, code, strings.Join(said, "\n"))
				}
				said = nil
				return
			}
			said = append(said, lines.Text())
		}
		t.Fatalf("%s: %v\n%s", what, lines.Err(), strings.Join(said, "\n"))
	}
	done("firewalld")
	return func(line string) {
		t.Helper()
		if _, err := io.WriteString(input, line+"\n"); err != nil {
			t.Fatal(err)
		}
		done(line)
	}
}

// firewalld with its default zone, and rich rules before the zone's ports. What
// tcpwhy gives as the way to open a port opens it.
func hostFirewalld(t *testing.T, program string) {
	if inUserNS() {
		nettest.Unsupported(t, "root of the machine, which firewalld wants")
	}
	nft := nettest.NeedProgram(t, "nft")
	s := newSite(t)
	for _, port := range []string{"8081", "8082", "8083"} {
		serveAt(t, s.Lab, lab.Server, netip.MustParseAddrPort(siteAddr+":"+port), func(net.Conn) {})
	}
	run := s.firewalld(t)
	run("firewall-cmd --add-rich-rule='rule family=ipv4 port port=8081 protocol=tcp reject'")
	run("firewall-cmd --add-rich-rule='rule family=ipv4 source address=10.77.1.0/24 port port=8082 protocol=tcp drop'")
	run("firewall-cmd --add-port=8081-8083/tcp")

	const rich = `firewall-cmd --zone=public --add-rich-rule='rule priority="-32768" family="ipv4" source address="` + visitor + `" port port="%s" protocol="tcp" accept'`
	for _, c := range []struct{ port, outcome, cause, chain, text, allow string }{
		{"8080", "unreachable", "host-firewall-reject", "filter_IN_public", "reject with icmpx admin-prohibited", "firewall-cmd --zone=public --add-port=8080/tcp"},
		{"8081", "unreachable", "host-firewall-reject", "filter_IN_public_deny", "dport 8081 reject", fmt.Sprintf(rich, "8081")},
		{"8082", "timeout", "host-firewall-drop", "filter_IN_public_deny", "dport 8082 drop", fmt.Sprintf(rich, "8082")},
	} {
		a := s.tells(t, lab.Server, program, 1, siteAddr+":"+c.port, "--from", visitor)
		handle := handleOf(t, s.must(t, nft, "-a", "list", "chain", "inet", "firewalld", c.chain), c.text)
		a.claims(t, c.outcome, c.cause, fmt.Sprintf("rule inet firewalld %s handle %d: ", c.chain, handle), c.text)
		if !slices.Equal(a.Host.Firewall.Managers, []string{"firewalld"}) {
			t.Errorf("port %s: the rules are those of %v", c.port, a.Host.Firewall.Managers)
		}
		for _, v := range a.Host.Firewall.Verdicts {
			if r := v.Rule; v.Packet == "syn" && v.Tuple.Local.Addr().IsValid() &&
				(r == nil || r.Manager != "firewalld" || r.Hook != "input" || r.Handle != handle || r.Allow != c.allow) {
				t.Errorf("port %s: the rule is %+v, want %s", c.port, r, c.allow)
			}
		}
		run(c.allow)
		if a := s.tells(t, lab.Server, program, 0, siteAddr+":"+c.port, "--from", visitor); a.Outcome != "open" {
			t.Errorf("port %s: after %s it is %s: %s", c.port, c.allow, a.Outcome, a.Verdict.Finding)
		}
		if err := s.Do(lab.Client, func() error { return dialOnce(siteAddr+":"+c.port, hang) }); err != nil {
			t.Errorf("port %s: after %s a client sees %v", c.port, c.allow, err)
		}
	}
	if a := s.tells(t, lab.Server, program, 0, siteAddr+":8083", "--from", visitor); a.Outcome != "open" {
		t.Errorf("an open port is %s: %s", a.Outcome, a.Verdict.Finding)
	}
}
