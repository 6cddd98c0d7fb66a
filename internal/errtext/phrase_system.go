package errtext

// systemPhrases are the texts of strerror(3) and gai_strerror(3) in English:
// glibc, musl, macOS, BSD, and FormatMessage of Windows. Many languages and
// most programs print them as they are.
var systemPhrases = []phrase{
	{text: "connection refused", kind: Refused, errno: "ECONNREFUSED"},
	{text: "connection timed out", kind: ConnectTimeout, errno: "ETIMEDOUT", check: notOwnLimit},
	{text: "operation timed out", kind: ConnectTimeout, errno: "ETIMEDOUT", need: needNet, weak: true},
	{text: "the operation timed out", kind: Timeout, need: needNet, weak: true},
	// What connect(2) says of a socket whose first connect failed meanwhile.
	{text: "operation already in progress", kind: ConnectFailed, errno: "EALREADY", op: OpConnect, need: needConnect, weak: true},
	{text: "no route to host", kind: HostUnreachable, errno: "EHOSTUNREACH"},
	{text: "host is unreachable", kind: HostUnreachable, errno: "EHOSTUNREACH", need: needNet},
	{text: "host unreachable", kind: HostUnreachable, errno: "EHOSTUNREACH", need: needConnect, weak: true},
	{text: "host is down", kind: HostUnreachable, errno: "EHOSTDOWN", need: needConnect, weak: true},
	{text: "network is unreachable", kind: NetworkUnreachable, errno: "ENETUNREACH"},
	{text: "network unreachable", kind: NetworkUnreachable, errno: "ENETUNREACH", need: needConnect}, // musl
	{text: "network is down", kind: NetworkDown, errno: "ENETDOWN", need: needConnect},
	{text: "connection reset by peer", kind: Reset, errno: "ECONNRESET"},
	{text: "software caused connection abort", kind: Aborted, errno: "ECONNABORTED"},
	{text: "broken pipe", kind: Closed, errno: "EPIPE", op: OpTransfer, need: needNet, weak: true},
	{text: "address already in use", kind: AddressInUse, errno: "EADDRINUSE"},
	{text: "address in use", kind: AddressInUse, errno: "EADDRINUSE", need: needConnect}, // musl
	{text: "cannot assign requested address", kind: AddressNotAvailable, errno: "EADDRNOTAVAIL"},
	{text: "can't assign requested address", kind: AddressNotAvailable, errno: "EADDRNOTAVAIL"}, // macOS, BSD
	{text: "address not available", kind: AddressNotAvailable, errno: "EADDRNOTAVAIL", need: needConnect},
	{text: "permission denied", kind: AccessDenied, errno: "EACCES", need: needConnect, check: notFile, weak: true},
	{text: "operation not permitted", kind: NotPermitted, errno: "EPERM", need: needConnect, check: notFile, weak: true},
	{text: "invalid argument", kind: InvalidArgument, errno: "EINVAL", need: needConnect, check: notFile, weak: true},
	{text: "too many open files", kind: TooManyFiles, errno: "EMFILE", need: needConnect},
	{text: "vfs: file-max limit", kind: TooManyFiles, errno: "ENFILE", program: "Linux"}, // the kernel's log
	{text: "address family not supported", kind: FamilyUnsupported, errno: "EAFNOSUPPORT"},
	{text: "no buffer space available", kind: NoBuffers, errno: "ENOBUFS"},
	{text: "protocol not available", kind: ProtocolUnreachable, errno: "ENOPROTOOPT", need: needConnect, check: notOption},

	{text: "name or service not known", kind: NameNotFound, errno: "EAI_NONAME", op: OpLookup},
	{text: "nodename nor servname provided, or not known", kind: NameNotFound, errno: "EAI_NONAME", op: OpLookup}, // macOS
	{text: "name does not resolve", kind: NameNotFound, errno: "EAI_NONAME", op: OpLookup},                        // musl
	{text: "temporary failure in name resolution", kind: NameTemporary, errno: "EAI_AGAIN", op: OpLookup},
	{text: "non-recoverable failure in name resolution", kind: NameTemporary, errno: "EAI_FAIL", op: OpLookup},
	{text: "no address associated with hostname", kind: NameNoAddress, errno: "EAI_NODATA", op: OpLookup},
	{text: "no address associated with name", kind: NameNoAddress, errno: "EAI_NODATA", op: OpLookup}, // musl
	{text: "name has no usable address", kind: NameNoAddress, op: OpLookup},                           // musl
	{text: "address family for hostname not supported", kind: NameNoAddress, errno: "EAI_ADDRFAMILY", op: OpLookup},
	{text: "unknown host", kind: NameNotFound, op: OpLookup, need: needConnect, weak: true},

	{text: "target machine actively refused it", kind: Refused, errno: "WSAECONNREFUSED", op: OpConnect},
	{text: "target computer actively refused it", kind: Refused, errno: "WSAECONNREFUSED", op: OpConnect},
	{text: "connected party did not properly respond after a period of time", kind: ConnectTimeout, errno: "WSAETIMEDOUT"},
	{text: "unreachable host", kind: HostUnreachable, errno: "WSAEHOSTUNREACH", need: needNet},
	{text: "attempted to an unreachable network", kind: NetworkUnreachable, errno: "WSAENETUNREACH"},
	{text: "forcibly closed by the remote host", kind: Reset, errno: "WSAECONNRESET"},
	{text: "aborted by the software in your host machine", kind: Aborted, errno: "WSAECONNABORTED"},
	{text: "only one usage of each socket address", kind: AddressInUse, errno: "WSAEADDRINUSE"},
	{text: "access a socket in a way forbidden by its access permissions", kind: AccessDenied, errno: "WSAEACCES"},
	{text: "requested address is not valid in its context", kind: AddressNotAvailable, errno: "WSAEADDRNOTAVAIL"},
	{text: "lacked sufficient buffer space or because a queue was full", kind: NoBuffers, errno: "WSAENOBUFS"},
	{text: "no such host is known", kind: NameNotFound, errno: "WSAHOST_NOT_FOUND", op: OpLookup},
	{text: "requested name is valid, but no data of the requested type was found", kind: NameNoAddress, errno: "WSANO_DATA", op: OpLookup},
	{text: "usually a temporary error during hostname resolution", kind: NameTemporary, errno: "WSATRY_AGAIN", op: OpLookup},
}
