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

	// make starts services and makes the fault. Errors stick to the lab.
	make func(*Lab)
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

// Scenarios lists all scenarios, by stage.
func Scenarios() []Scenario {
	all := slices.Concat(healthy(), names(), locals(), paths(), hosts(), listeners(), sessions())
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
