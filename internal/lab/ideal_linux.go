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
	Root     []string // a user with CAP_NET_RAW at the client
	Host     []string // root at the client, with evidence from the server's host
	Captures []string // two captures, one from the client and one from the server
}

// leaves is an Ideal from which evidence of the host or captures leave one cause.
func leaves(ordinary, root []string) Ideal { return Ideal{Ordinary: ordinary, Root: root} }

// leaving sets the ideal of a scenario that a function makes.
func (s Scenario) leaving(ordinary, root []string) Scenario {
	s.Ideal = leaves(ordinary, root)
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
	// refusalsFromSomewhere: a RST, and nothing to compare its distance with.
	refusalsFromSomewhere = refusals
	// rejections: an ICMP error from the host's address, by it or in its name.
	rejections = strings.Fields("host-firewall-reject path-firewall-reject")
	// silentPort: the host answers other packets, SYNs to the port vanish at it
	// or at the router before it.
	silentPort = strings.Fields("host-firewall-drop path-firewall-drop return-path-lost host-packet-filter nat-dead-backend tcp-signature-required")
	// silentPortUnseen is silentPort without raw packets: nor does a bare ACK
	// tell a full queue, nor is it known that the host itself answers.
	silentPortUnseen = and(silentPort, "accept-queue-full", "syn-queue-full", "host-down", "host-no-return-route", "host-address-missing", "host-reverse-path-filter")
	// quietServer: our data is acknowledged, and nothing comes back.
	quietServer = strings.Fields("application-silent never-accepted wrong-protocol none")
	// silence: nothing beyond some hop answers anything.
	silence = and(silentPortUnseen, "path-blackhole")
)
