package evidence

// Own is what the packet filters of the host that connects do with the packets of
// its own attempt. Rules of other network namespaces, such as those of the host
// that a container runs on, are not among them.
type Own struct {
	// Firewall has the verdicts on the SYN on its way out ("syn") and on the answer
	// on its way in ("syn-ack").
	Firewall Firewall `json:"firewall"`
	// Programs are BPF programs in the way of packets, which no rule shows, and
	// ProgramsRead says that there are no others.
	Programs     []Program `json:"programs,omitempty"`
	ProgramsRead bool      `json:"programs_read,omitempty"`
	// Return is the way to the target, and whether the reverse path filter lets in
	// what comes from there, by the interface that the SYN-ACK came in by; nil where
	// none was seen to come.
	Return *Return `json:"return,omitempty"`
}
