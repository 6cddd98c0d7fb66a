package lab

import "time"

// healthy are scenarios in which nothing is wrong.
func healthy() []Scenario {
	return []Scenario{
		{
			Name: "none", Connect: Opens, After: Talks,
		},
		{
			Name: "none-own-link", Cause: "none", Topology: OwnLink(), Connect: Opens, After: Talks,
		},
		{
			Name: "none-local", Cause: "none", Connect: Opens, After: Talks,
			setup: func(l *Lab) { l.local() },
		},
		{
			Name: "none-dual-stack", Cause: "none", Connect: Opens, After: Talks,
			setup: func(l *Lab) {
				l.named()
			},
		},
		{
			Name: "none-tls", Cause: "none", Connect: Opens, prove: proveTLS(""),
			setup: func(l *Lab) { l.https(l.trust(), app, time.Now().AddDate(0, 1, 0)) },
		},
		{
			Name: "none-ssh", Cause: "none", Connect: Opens, After: Talks,
			setup: func(l *Lab) {
				l.service(Server)
				l.dst = l.at(Server, 22)
			},
		},
	}
}
