package errtext

// Kind is what failed, as far as an error text tells it. The kinds follow the
// errors of connect(2), read(2) and getaddrinfo(3), with kinds of their own for
// what TLS and HTTP add.
type Kind string

// The kinds.
const (
	Refused             Kind = "refused"
	ConnectTimeout      Kind = "connect-timeout"
	ReadTimeout         Kind = "read-timeout"
	Timeout             Kind = "timeout" // of what is not told
	ConnectFailed       Kind = "connect-failed"
	HostUnreachable     Kind = "host-unreachable"
	NetworkUnreachable  Kind = "network-unreachable"
	NetworkDown         Kind = "network-down"
	ProtocolUnreachable Kind = "protocol-unreachable"
	AccessDenied        Kind = "access-denied"
	NotPermitted        Kind = "not-permitted"
	InvalidArgument     Kind = "invalid-argument"
	AddressNotAvailable Kind = "address-not-available"
	AddressInUse        Kind = "address-in-use"
	FamilyUnsupported   Kind = "family-unsupported"
	TooManyFiles        Kind = "too-many-files"
	NoBuffers           Kind = "no-buffers"
	Reset               Kind = "reset"
	Aborted             Kind = "aborted"
	Closed              Kind = "closed"
	NameNotFound        Kind = "name-not-found"
	NameNoAddress       Kind = "name-no-address"
	NameTemporary       Kind = "name-temporary"
	NameFailed          Kind = "name-failed"
	CertExpired         Kind = "tls-certificate-expired"
	CertUntrusted       Kind = "tls-certificate-untrusted"
	CertName            Kind = "tls-certificate-name"
	TLSVersion          Kind = "tls-version"
	TLSFailed           Kind = "tls-failed"
	WrongProtocol       Kind = "wrong-protocol"
	BadGateway          Kind = "bad-gateway"
	ServiceUnavailable  Kind = "service-unavailable"
	GatewayTimeout      Kind = "gateway-timeout"
	NoBackend           Kind = "no-backend"
	PoolTimeout         Kind = "pool-timeout"
)

// Info is what a kind means.
type Info struct {
	Kind  Kind
	Title string
	// Proves says in a sentence what the error is proof of, and Hides what it
	// leaves open.
	Proves, Hides string
}

// Kinds lists every kind with its meaning, in the order in which a connection
// can fail. The result is shared and must not be changed.
func Kinds() []Info { return kinds }

// Describe returns the meaning of a kind. It is false for what is none.
func Describe(k Kind) (Info, bool) {
	for _, i := range kinds {
		if i.Kind == k {
			return i, true
		}
	}
	return Info{}, false
}

var kinds = []Info{
	{NameNotFound, "the name cannot be found",
		"The resolver says that there is no such name, or none with an address. Nothing was sent to the target.",
		"Whether the name is mistyped, missing in DNS, or known to other name servers only. Some systems say the same when the name exists but has no address."},
	{NameNoAddress, "the name has no address",
		"The name exists, but has no address of the family that was asked for. Nothing was sent to the target.",
		"Which family was asked for, and whether the record is missing or was never meant to be there."},
	{NameTemporary, "no usable answer from the name server",
		"The question about the name got no usable answer: none in time, or one that says the server failed. Nothing was sent to the target.",
		"Whether the name server is down, cannot be reached, or itself gets no answer; and whether the name exists."},
	{NameFailed, "the name could not be resolved",
		"Resolving the name failed, so nothing was sent to the target.",
		"Why: the program does not say whether the name does not exist or the name server did not answer."},
	{TooManyFiles, "no file descriptor is free",
		"This process, or this whole system, has as many files and sockets open as it may. The target was not asked.",
		"Whether the limit is low or descriptors leak, and what holds them."},
	{NoBuffers, "no buffer space",
		"The kernel here had no memory, no queue or no port left for the socket. The target was not asked.",
		"Which of them ran out. On Windows it is often the ephemeral ports."},
	{FamilyUnsupported, "the address family is not supported here",
		"This system cannot make sockets of that family: mostly IPv6 that is switched off. Nothing was sent.",
		"Whether the target would answer; over the other family it may."},
	{AddressNotAvailable, "the address cannot be used here",
		"The kernel found no local address and port for it. For a connect, nothing was sent.",
		"Whether the ephemeral ports are used up, the source address is not on this host, or the target address itself is unusable."},
	{AddressInUse, "the address is in use",
		"Another socket of this host has this address and port, or it waits in TIME_WAIT. It is an error of this host, not of the network.",
		"Who holds it."},
	{AccessDenied, "access denied",
		"The kernel here returned EACCES: for bind() a privileged port, for connect() a local rule, or over IPv6 an ICMP error that says prohibited.",
		"For a connect, whether a rule of this host or a router on the way forbids it."},
	{NotPermitted, "operation not permitted",
		"The kernel here returned EPERM: a rule or a policy of this host forbids it, and nothing was sent.",
		"Which one: firewall, cgroup program, security module or seccomp."},
	{InvalidArgument, "invalid argument",
		"The kernel here rejected the call. For connect() on Linux that is mostly a route of type blackhole, or a source address that does not fit.",
		"Which argument it is; a mistake of the program is possible, too."},
	{NetworkUnreachable, "network unreachable",
		"There is no way to the address: this host has no route to it, or a router on the way said that it has none.",
		"Which of the two: an error at once and without a packet is this host."},
	{NetworkDown, "the network is down",
		"The interface that leads there is down. Nothing was sent.",
		"Why it is down."},
	{HostUnreachable, "no route to host",
		"Somebody said that the host cannot be reached: nobody answered ARP or ND for it, or an ICMP error came back.",
		"Whether the host is down or a firewall rejects with that ICMP code; and who said so, this host or a router."},
	{ProtocolUnreachable, "protocol unreachable",
		"An ICMP error came back that says the host does not speak TCP there.",
		"Whether the host or a firewall in its place sent it."},
	{Refused, "connection refused",
		"An answer came: a TCP reset, or an ICMP port unreachable, from the host or from a firewall in its place, which may be one of this host's own.",
		"Whether nothing listens on the port or a firewall refuses in the host's place: the packets look alike. A Windows host also refuses when its accept queue is full."},
	{ConnectTimeout, "the connect timed out",
		"No answer to the connection request (SYN) came in time.",
		"Whether the packets are dropped by a firewall, lost on the way or on the way back, the host is down, or its accept queue is full. A short timeout can also be too short for the path."},
	{Timeout, "timed out",
		"Something did not answer in time.",
		"What: the text does not say whether resolving, connecting or the answer took too long."},
	{ConnectFailed, "could not connect",
		"The connection could not be opened.",
		"Why: the program does not say whether it was refused, timed out or unreachable."},
	{Reset, "connection reset",
		"A TCP reset arrived on a connection that was open, or was being opened.",
		"Whether the peer's program or kernel sent it, or a firewall or balancer in its place."},
	{Aborted, "connection aborted",
		"This host's own system gave the connection up: after retransmissions without answer, or because a local program or driver ended it.",
		"Which of them."},
	{Closed, "closed by the peer",
		"The connection was opened, and the peer ended it, or was gone when this side wrote.",
		"Why: a server that stops, an access list, a balancer without backend, a limit on idle time, or another protocol than expected."},
	{ReadTimeout, "connected, then no answer in time",
		"The connection was open, and then nothing came, or nothing was acknowledged, within the time.",
		"Whether the application is slow or hangs, large packets are lost on the way, or the connection was forgotten while idle."},
	{CertExpired, "the certificate is not valid now",
		"The server was reached and showed a certificate that is expired or not yet valid by this host's clock.",
		"Whether the certificate or the clock is wrong, and whether the right server answered."},
	{CertUntrusted, "the certificate is not trusted",
		"The server was reached and showed a certificate whose issuer this program does not trust.",
		"Whether the issuer is missing here, an intermediate is missing there, or somebody else answers."},
	{CertName, "the certificate is for another name",
		"The server was reached and showed a certificate that does not cover the name used.",
		"Whether the name, the certificate or the address is the wrong one."},
	{TLSVersion, "no TLS version in common",
		"The server was reached, and the two sides have no TLS version in common.",
		"Which side is too old or too strict."},
	{TLSFailed, "the TLS handshake failed",
		"The server was reached, and the TLS handshake failed.",
		"Which step failed, unless an alert is named: certificate, version, cipher, or a client certificate that is missing."},
	{WrongProtocol, "another protocol answers",
		"The server was reached, and what it sent is not the protocol expected: mostly plain text where TLS is expected, or the reverse.",
		"Whether the port, the scheme or the server is the wrong one."},
	{BadGateway, "502: bad gateway",
		"A proxy was reached and answered that its own connection to the server behind it failed.",
		"Why that connection failed: the proxy's own log tells. The target of it is not the address that you used."},
	{ServiceUnavailable, "503: service unavailable",
		"A proxy or the server itself was reached and says that it cannot serve now.",
		"Which of them says so, and whether the server behind is down, overloaded or in maintenance."},
	{GatewayTimeout, "504: gateway timeout",
		"A proxy was reached and waited in vain for the server behind it.",
		"Whether the proxy could not connect or got no answer in time."},
	{NoBackend, "no backend is available",
		"A proxy or balancer was reached, and none of its servers is usable.",
		"Why: its health checks failed, or there is none. Its own log tells."},
	{PoolTimeout, "no connection of the pool became free",
		"The program waited for a connection of its own pool and got none in time.",
		"Whether all were busy or leaked, or new ones could not be opened. It is no proof of a fault of the network."},
}
