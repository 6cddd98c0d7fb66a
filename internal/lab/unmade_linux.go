package lab

// Unmade are the causes without a scenario, and why. One that gets a scenario
// must leave the list.
var Unmade = map[string]string{
	"conntrack-full": "Linux has one limit (nf_conntrack_max) for the whole machine, read-only in a namespace, and to fill it takes a quarter of a million connections",
}
