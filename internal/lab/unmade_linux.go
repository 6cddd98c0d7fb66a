package lab

// Unmade are the causes without a scenario, and why. One that gets a scenario
// must leave the list.
var Unmade = map[string]string{
	"dns-tcp-blocked":            "the lab's name servers do not truncate yet",
	"dns-stale-address":          "the lab has one name server",
	"dns-slow":                   "needs a name server that answers late",
	"source-address-missing":     "shown by flags of the program, not by a fault (test/faults_test.go)",
	"source-port-busy":           "shown by flags of the program, not by a fault (test/faults_test.go)",
	"too-many-open-files":        "a limit of the process, not of the network (test/faults_test.go)",
	"local-policy-denies":        "needs a BPF program on a cgroup, which only real root can attach",
	"conntrack-full":             "the limit cannot be set for one namespace",
	"self-connection":            "a race of ports that cannot be forced from outside",
	"bad-ecmp-path":              "needs parallel paths with a hash by port",
	"duplicate-address":          "needs two hosts with one address on a bridge",
	"host-packet-filter":         "needs an XDP or tc program, which only real root can attach",
	"listens-on-other-port":      "refines no-listener by evidence from the host, which is not taken yet",
	"listens-in-other-namespace": "refines no-listener by evidence from the host, which is not taken yet",
	"service-down":               "refines no-listener by evidence from the host, which is not taken yet",
	"service-restarting":         "refines no-listener by evidence from the host, which is not taken yet",
	"bind-address-in-use":        "refines no-listener by evidence from the host, which is not taken yet",
	"bind-not-permitted":         "refines no-listener by evidence from the host, which is not taken yet",
	"bind-address-missing":       "refines no-listener by evidence from the host, which is not taken yet",
	"syn-queue-full":             "needs a flood of half-open connections with cookies off",
	"idle-dropped":               "needs minutes of idle time; internal/collect/session makes one in seconds",
	"timeout-too-short":          "needs a slow link, which takes a relay of our own",
	"neighbour-unreachable":      "from the client the same as host-down-own-link, where both must be left",
}
