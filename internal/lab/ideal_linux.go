package lab

import (
	"slices"
	"strings"
)

// Ideal says what the best possible verdict leaves, by vantage: the evidence
// that can be had there does not tell those causes apart. It is written from the
// catalogue of causes, where look-alikes share a letter, and not taken from what
// the program says. Nil means that the scenario's cause must come out alone.
type Ideal struct {
	Ordinary []string // an ordinary user at the client
	Root     []string // root at the client
	Host     []string // root at the client, with evidence from the server's host
	Captures []string // two captures, one from the client and one from the server
}

// leaves is an Ideal from which evidence of the host or captures leave one cause.
func leaves(ordinary, root []string) Ideal { return Ideal{Ordinary: ordinary, Root: root} }

// HostIdeal is what evidence of the host leaves at best. Faults of the host and of
// its listeners come out alone. Of what is before the host it only says whether the
// SYN came: who kept it, or sent it elsewhere, it does not see.
func (s Scenario) HostIdeal() []string {
	switch {
	case s.Ideal.Host != nil:
		return s.Ideal.Host
	case s.Stage == "host" || s.Stage == "listener":
		return nil
	case s.Cause == "path-firewall-drop":
		return []string{"path-firewall-drop", "nat-dead-backend"}
	case s.Cause == "path-firewall-reset":
		return []string{"path-firewall-reset", "nat-dead-backend"}
	case s.Cause == "path-blackhole" && s.Connect == TimesOut:
		return []string{"path-blackhole", "path-firewall-drop", "nat-dead-backend"}
	}
	return s.Ideal.Root
}

// clientOnly is an Ideal of a fault at the client's side: what the server's side
// can see says nothing about it.
func clientOnly(ordinary, root []string) Ideal { return Ideal{ordinary, root, root, root} }

// seen sets what evidence of the host and captures leave of a scenario that a
// function makes.
func (s Scenario) seen(host, captures []string) Scenario {
	s.Ideal.Host, s.Ideal.Captures = host, captures
	return s
}

// leaving sets the ideal of a scenario that a function makes.
func (s Scenario) leaving(ordinary, root []string) Scenario {
	s.Ideal = leaves(ordinary, root)
	return s
}

// showing says what the user sees of a scenario that a function makes.
func (s Scenario) showing(what string) Scenario {
	s.Shows = what
	return s
}

// over puts a scenario that a function makes into another topology.
func (s Scenario) over(t Topology) Scenario {
	s.Topology = t
	return s
}

// with6 sets what connect(2) sees with IPv6.
func (s Scenario) with6(connect Outcome) Scenario {
	s.Connect6 = connect
	return s
}

// closed is the scenario with nothing that listens at the target.
func (s Scenario) closed() Scenario {
	fault := s.fault
	s.fault = func(l *Lab) {
		l.stop(Server, l.dst.Port())
		if fault != nil {
			fault(l)
		}
	}
	return s
}

// but is the set without some causes.
func but(set []string, without ...string) []string {
	return slices.DeleteFunc(slices.Clone(set), func(c string) bool { return slices.Contains(without, c) })
}

// and is the set with more causes.
func and(set []string, more ...string) []string {
	return slices.Concat(set, more)
}

// The look-alikes. A resolver of ties, such as a hop that is nearer than the
// host, is missing where a scenario leaves all of a set.
var (
	// refusals: a RST from as far away as the host. A bridge in front of it, such
	// as a hypervisor's, is no hop and can reset in its name.
	refusals = strings.Fields("no-listener listens-on-loopback listens-elsewhere host-firewall-reset nat-dead-backend path-firewall-reset")
	// resets: the host's own RST, as a capture there shows. It may be for a backend
	// of its own.
	resets = but(refusals, "path-firewall-reset")
	// rejections: an ICMP error from the host's address, by it or in its name.
	rejections = strings.Fields("host-firewall-reject path-firewall-reject")
	// silentPort: the host answers other packets, SYNs to the port vanish at it
	// or at the router before it.
	silentPort = strings.Fields("host-firewall-drop path-firewall-drop return-path-lost host-packet-filter nat-dead-backend tcp-signature-required")
	// silentPortUnseen is silentPort without raw packets: nor does a bare ACK
	// tell a full queue, nor is it known that the host itself answers, nor that a
	// SYN-ACK does not come only to be dropped by own rules.
	silentPortUnseen = and(silentPort, "local-firewall-drop", "accept-queue-full", "syn-queue-full", "host-down", "host-no-return-route", "host-address-missing", "host-reverse-path-filter")
	// ignored: SYNs reach the host, as a capture there shows, and it answers other
	// packets to the port, but not those.
	ignored = strings.Fields("host-firewall-drop host-packet-filter nat-dead-backend accept-queue-full syn-queue-full")
	// someVanish: SYNs vanish for some source ports, or at random. Twice the same
	// from each of two ports happens by chance, too.
	someVanish = strings.Fields("bad-ecmp-path nat-dead-backend packet-loss")
	// someVanishUnseen: without the packets own rules about source ports, and SYNs
	// that die on the way, are not told from it.
	someVanishUnseen = and(someVanish, "local-firewall-drop", "ttl-too-small")
	// quietServer: our data is acknowledged, and nothing comes back.
	quietServer = strings.Fields("application-silent never-accepted wrong-protocol none")
	// silence: nothing beyond some hop answers anything.
	silence = and(silentPortUnseen, "path-blackhole")
)
