package verdict

import "github.com/tcpwhy/tcpwhy/internal/evidence"

// HostDiagnosis is what a host's own evidence shows: whether a client would be
// served at its port, and if not why.
type HostDiagnosis struct {
	Host    evidence.Host // the raw evidence it rests on
	Facts   []evidence.Fact
	Outcome Outcome // what a client would experience
	Verdict Verdict
	// Addresses are those of the host that were judged.
	Addresses  []AddressVerdict
	NotChecked []evidence.NotChecked
}
