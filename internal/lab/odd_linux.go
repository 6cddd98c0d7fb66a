package lab

import "time"

// oddRefusals are closed ports behind paths that are odd and well. Whoever takes
// the oddness for the fault names a firewall.
func oddRefusals() []Scenario {
	closed := func(name, shows string, t Topology) Scenario {
		return Scenario{
			Name: "no-listener-" + name, Cause: "no-listener", Connect: Refused, Topology: t,
			Shows: "Connection refused: nothing listens. " + shows,
			Ideal: leaves(refusals, refusals),
		}.closed()
	}
	odd := func(name, shows, ttl string) Scenario {
		s := closed(name, shows, TwoRouters())
		s.setup = func(l *Lab) {
			l.service(Server)
			l.startTTL(Server, ttl)
		}
		return s
	}
	lossy := and(refusals, "packet-loss", "bad-ecmp-path")
	return []Scenario{
		closed("slow", "The way there and back takes 600 ms.", overCable(Cable{Delay: 300 * time.Millisecond})),
		closed("very-slow", "The way there and back takes 1.2 s.", overCable(Cable{Delay: 600 * time.Millisecond})),
		closed("five-hops", "The server is five hops away.", FiveHops()),
		closed("parallel-paths", "There are two paths of equal length.", ParallelPaths()),
		closed("uneven-paths", "There are two paths of unequal length.", UnevenPaths()),
		closed("uneven-return", "There are two paths of unequal length back.", UnevenReturn()),
		closed("switch", "A switch is before the server.", BehindSwitch()),
		closed("nat-gateway", "A gateway hides the client behind its own address.", NATGateway()),
		odd("odd-ttl-100", "The server's packets start with TTL 100.", "100"),
		odd("odd-ttl-200", "The server's packets start with TTL 200.", "200"),
		Scenario{
			// Who meets no loss cannot know of it, and who does has found it.
			Name: "no-listener-lossy", Cause: "no-listener", Also: []string{"packet-loss"}, Connect: Refused, Loss: 5,
			Shows: "Connection refused: nothing listens. A packet is lost now and then.",
			// The attempt that failed may be one whose SYN the host never saw.
			Ideal: Ideal{Ordinary: and(lossy, "local-firewall-drop"), Root: lossy, Host: lossy},
		}.closed(),
	}
}

// oddEndings are connections that end early at the end of such paths.
func oddEndings() []Scenario {
	reset := func(name, shows string, t Topology) Scenario {
		return handled("reset-on-accept-"+name, Reset, resetting).caused("reset-on-accept").over(t).
			leaving([]string{"reset-on-accept", "path-firewall-reset", "syn-proxy-dead-backend"}, nil).
			showing("The connection opens and is reset at once. " + shows)
	}
	return []Scenario{
		reset("uneven-paths", "There are two paths of unequal length.", UnevenPaths()),
		reset("uneven-return", "There are two paths of unequal length back.", UnevenReturn()),
	}
}
