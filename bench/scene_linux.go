package main

import (
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/lab"
)

// limits of tcpwhy's time, as an ordinary user and as root.
type limits struct{ User, Root time.Duration }

// The limits that do not hang on the case.
const (
	limitPeakMB   = 40
	limitBinaryMB = 25
)

// scene is a case: what is measured in which scenario of the lab.
type scene struct {
	Name     string
	scenario string
	family   lab.Family
	limits   limits
	// outcome that tcpwhy must find, so that nothing wrong is measured; empty
	// for a call without a target.
	outcome string
	// args of tcpwhy, if not the scenario's target.
	args []string
	// waits says that the programs spend their time waiting, so that such cases
	// can be measured side by side.
	waits bool
	// settle is what the hosts need to forget the run before.
	settle time.Duration
}

// label names the case in the table.
func (s *scene) label() string {
	if s.args != nil {
		return s.Name
	}
	return s.Name + " v" + strconv.Itoa(int(s.family))
}

// scenes lists every case, in the order of the table.
func scenes() []scene {
	var (
		atOnce   = limits{60 * time.Millisecond, 120 * time.Millisecond}
		answers  = limits{1200 * time.Millisecond, 1200 * time.Millisecond}
		silence  = limits{3300 * time.Millisecond, 3300 * time.Millisecond}
		startup  = limits{15 * time.Millisecond, 15 * time.Millisecond}
		targeted []scene
	)
	for _, s := range []scene{
		{Name: "open", scenario: "none", outcome: "open", limits: atOnce},
		{Name: "open-ssh", scenario: "none-ssh", outcome: "open", limits: atOnce},
		{Name: "refused", scenario: "no-listener", outcome: "refused", limits: atOnce},
		{Name: "dropped-host", scenario: "host-firewall-drop", outcome: "timeout", limits: answers, waits: true},
		{Name: "dropped-r1", scenario: "path-firewall-drop-r1", outcome: "timeout", limits: answers, waits: true},
		{Name: "silent-host", scenario: "host-down-silent", outcome: "timeout", limits: silence, waits: true},
		// The router tries for 3 s to find the host. A run that begins meanwhile
		// would learn of the failure earlier.
		{Name: "host-down", scenario: "host-down", outcome: "unreachable", limits: silence, waits: true, settle: 3300 * time.Millisecond},
	} {
		for _, f := range []lab.Family{lab.V4, lab.V6} {
			s.family = f
			targeted = append(targeted, s)
		}
	}
	return append(targeted,
		scene{Name: "explain", scenario: "none", family: lab.V4, args: []string{"explain"}, limits: startup},
		scene{Name: "version", scenario: "none", family: lab.V4, args: []string{"--version"}, limits: startup},
	)
}

// tool is a program to measure.
type tool struct {
	Name    string
	heading [2]string // of its column
	program string    // looked up in PATH; empty for tcpwhy
	root    bool      // run as root, else as an ordinary user
	usage   string    // for the legend
	args    func(t netip.AddrPort) []string
	// fine are the exit codes of a run that did its work, whatever it found.
	fine []int
}

// worked says whether a run did what it is measured for.
func (t *tool) worked(s sample) bool { return slices.Contains(t.fine, s.Exit) }

// ours is tcpwhy for both users.
func ours() []tool {
	// Not 2 and 4: a wrong call, and a failure of its own.
	return []tool{{Name: "user", heading: [2]string{"tcpwhy", "user"}, fine: []int{0, 1, 3}}, {Name: "root", heading: [2]string{"tcpwhy", "root"}, root: true, fine: []int{0, 1, 3}}}
}

// peerTools are the tools that people use in its place.
func peerTools() []tool {
	port := func(t netip.AddrPort) string { return strconv.Itoa(int(t.Port())) }
	family := func(t netip.AddrPort) string {
		if t.Addr().Is6() {
			return "-6"
		}
		return "-4"
	}
	return []tool{
		{Name: "nc", heading: [2]string{"", "nc"}, program: "nc", fine: []int{0, 1}, usage: "nc -zv -w 5 HOST PORT", args: func(t netip.AddrPort) []string {
			return []string{"-zv", "-w", "5", t.Addr().String(), port(t)}
		}},
		{Name: "nmap", heading: [2]string{"", "nmap"}, program: "nmap", root: true, fine: []int{0}, usage: "nmap -n -Pn --reason -p PORT HOST", args: func(t netip.AddrPort) []string {
			args := []string{"-n", "-Pn", "--reason", "-p", port(t)}
			if t.Addr().Is6() {
				args = append(args, "-6")
			}
			return append(args, t.Addr().String())
		}},
		{Name: "traceroute", heading: [2]string{"trace-", "route"}, program: "traceroute", root: true, fine: []int{0}, usage: "traceroute -n -T -p PORT HOST", args: func(t netip.AddrPort) []string {
			return []string{family(t), "-n", "-T", "-p", port(t), t.Addr().String()}
		}},
		{Name: "mtr", heading: [2]string{"", "mtr"}, program: "mtr", root: true, fine: []int{0}, usage: "mtr -n --tcp -P PORT -r -c 3 HOST", args: func(t netip.AddrPort) []string {
			return []string{family(t), "-n", "--tcp", "-P", port(t), "-r", "-c", "3", t.Addr().String()}
		}},
		{Name: "tcptraceroute", heading: [2]string{"tcptra-", "ceroute"}, program: "tcptraceroute", root: true, fine: []int{0}, usage: "tcptraceroute -n HOST PORT", args: func(t netip.AddrPort) []string {
			return []string{"-n", t.Addr().String(), port(t)}
		}},
	}
}
