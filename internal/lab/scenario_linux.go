package lab

import (
	"context"
	"fmt"
	"slices"
)

// Family is an address family.
type Family int

// The families.
const (
	V4 Family = 4
	V6 Family = 6
)

func (f Family) String() string { return fmt.Sprintf("IPv%d", int(f)) }

// Scenario is one fault, made and named.
type Scenario struct {
	// Name is unique: the cause, and after it how it is made where there is
	// more than one way.
	Name string
	// Cause is the ID in the catalogue of causes.
	Cause string
	// Also are the causes that a combined scenario has beside Cause.
	Also []string
	// Shows is what the user sees of it, in one line of plain words.
	Shows string
	// Stage is that of the list the scenario stands in; "healthy" has no fault.
	Stage string
	// Topology is what the fault is made in.
	Topology Topology
	// Families are those for which the fault can be made.
	Families []Family
	// From is the host at which the user sits: Client, unless it says otherwise.
	From string
	// Connect is what connect(2) to Lab.Dst must see; empty where there is no
	// address to connect to. Connect6 is what it sees with IPv6, if different.
	Connect, Connect6 Outcome
	// After is what follows the handshake, if Connect is Opens.
	After Ending
	// Args are arguments that the program is given before the target. Args6 are
	// those with IPv6, if different.
	Args, Args6 []string

	// Loss is the share of all packets between client and server that are lost, in
	// percent, either way and by chance; 0 without loss of that kind. It comes with
	// the fault, which is proven before.
	Loss int

	// Ideal are the causes that the best possible verdict leaves.
	Ideal Ideal

	// Blunt says why the program does not reach the ideal yet, "" where it does.
	Blunt string

	// setup is the healthy state: services, names, the target. fault breaks it;
	// nil where nothing is broken, or where setup makes what was never well.
	// Errors stick to the lab.
	setup, fault func(*Lab)
	// prove checks what a plain connect cannot show, if not nil.
	prove func(context.Context, *Lab) error
}

// Outcome is what connect(2) says: Opens, TimesOut, or the name of an errno.
type Outcome string

// The outcomes.
const (
	Opens       Outcome = "open"
	TimesOut    Outcome = "timeout" // nothing within Patience
	Refused     Outcome = "ECONNREFUSED"
	HostUnreach Outcome = "EHOSTUNREACH"
	NetUnreach  Outcome = "ENETUNREACH"
	Denied      Outcome = "EACCES"
	Invalid     Outcome = "EINVAL"
	NoAddress   Outcome = "EADDRNOTAVAIL"
)

// Ending is what a client sees that connects and sends a line.
type Ending string

// The endings.
const (
	Whatever Ending = ""
	Reset    Ending = "reset"   // RST
	Closed   Ending = "closed"  // FIN without a byte
	Silent   Ending = "silent"  // nothing
	Stalled  Ending = "stalled" // nothing, and after a while no more can be sent
	Talks    Ending = "talks"   // bytes come
)

// Expected is what connect(2) must see with the family.
func (s Scenario) Expected(f Family) Outcome {
	if f == V6 && s.Connect6 != "" {
		return s.Connect6
	}
	return s.Connect
}

// Arguments are the arguments of the program with the family.
func (s Scenario) Arguments(f Family) []string {
	if f == V6 && s.Args6 != nil {
		return s.Args6
	}
	return s.Args
}

// Truth are the causes that the scenario makes.
func (s Scenario) Truth() []string { return append([]string{s.Cause}, s.Also...) }

// StartsWell says whether all is well before the fault, so that Params.Later can
// be set.
func (s Scenario) StartsWell() bool {
	return s.fault != nil || s.Loss > 0 && slices.Contains([]string{"none", "packet-loss"}, s.Cause)
}

// Scenarios lists all scenarios, by stage.
func Scenarios() []Scenario {
	var all []Scenario
	for _, stage := range []struct {
		name string
		list []Scenario
	}{
		{"healthy", healthy()}, {"healthy", oddNames()}, {"healthy", oddServers()}, {"name", names()}, {"local", locals()}, {"path", paths()},
		{"host", hosts()}, {"listener", listeners()}, {"listener", oddRefusals()}, {"session", sessions()}, {"session", oddEndings()},
	} {
		for i := range stage.list {
			stage.list[i].Stage = stage.name
		}
		all = append(all, stage.list...)
	}
	for i := range all {
		s := &all[i]
		if s.Cause == "" {
			s.Cause = s.Name
		}
		if s.From == "" {
			s.From = Client
		}
		if s.Families == nil {
			s.Families = []Family{V4, V6}
		}
		if s.Topology.Name == "" {
			s.Topology = TwoRouters()
		}
	}
	return all
}

// Find returns the scenario of that name.
func Find(name string) (Scenario, bool) {
	for _, s := range Scenarios() {
		if s.Name == name {
			return s, true
		}
	}
	return Scenario{}, false
}
