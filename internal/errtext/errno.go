package errtext

import (
	"slices"
	"strconv"
	"strings"
)

// The systems that number errors on their own.
const (
	Linux   = "Linux"
	MacOS   = "macOS and BSD"
	Windows = "Windows"
)

// Meaning is what a name or a number of an error stands for on a system.
type Meaning struct {
	System string
	Name   string
	Number int
	// Kind is empty for an error that does not come from a connection.
	Kind Kind
}

// code is an error with its numbers; 0 where a system has none.
type code struct {
	name                 string
	kind                 Kind
	linux, bsd, winsock  int
	windows              string // its name there
	linuxOther, bsdOther string // what the other system's number means here
}

// Numbers: Linux include/uapi/asm-generic/errno-base.h and errno.h, and
// netdb.h of glibc; macOS and FreeBSD sys/errno.h and netdb.h; Windows Sockets
// Error Codes. linuxOther is what Linux calls the number that BSD uses.
var codes = []code{
	{name: "EPERM", kind: NotPermitted, linux: 1, bsd: 1},
	{name: "EACCES", kind: AccessDenied, linux: 13, bsd: 13, winsock: 10013, windows: "WSAEACCES"},
	{name: "EINVAL", kind: InvalidArgument, linux: 22, bsd: 22, winsock: 10022, windows: "WSAEINVAL"},
	{name: "ENFILE", kind: TooManyFiles, linux: 23, bsd: 23},
	{name: "EMFILE", kind: TooManyFiles, linux: 24, bsd: 24, winsock: 10024, windows: "WSAEMFILE"},
	{name: "EPIPE", kind: Closed, linux: 32, bsd: 32},
	{name: "ENOPROTOOPT", kind: ProtocolUnreachable, linux: 92, bsd: 42, winsock: 10042, windows: "WSAENOPROTOOPT", linuxOther: "ENOMSG"},
	{name: "EAFNOSUPPORT", kind: FamilyUnsupported, linux: 97, bsd: 47, winsock: 10047, windows: "WSAEAFNOSUPPORT", linuxOther: "EL3RST", bsdOther: "ENOLINK"},
	{name: "EADDRINUSE", kind: AddressInUse, linux: 98, bsd: 48, winsock: 10048, windows: "WSAEADDRINUSE", linuxOther: "ELNRNG", bsdOther: "ENOSR"},
	{name: "EADDRNOTAVAIL", kind: AddressNotAvailable, linux: 99, bsd: 49, winsock: 10049, windows: "WSAEADDRNOTAVAIL", linuxOther: "EUNATCH", bsdOther: "ENOSTR"},
	{name: "ENETDOWN", kind: NetworkDown, linux: 100, bsd: 50, winsock: 10050, windows: "WSAENETDOWN", linuxOther: "ENOCSI", bsdOther: "EPROTO"},
	{name: "ENETUNREACH", kind: NetworkUnreachable, linux: 101, bsd: 51, winsock: 10051, windows: "WSAENETUNREACH", linuxOther: "EL2HLT", bsdOther: "ETIME"},
	{name: "ECONNABORTED", kind: Aborted, linux: 103, bsd: 53, winsock: 10053, windows: "WSAECONNABORTED", linuxOther: "EBADR", bsdOther: "ENOPOLICY"},
	{name: "ECONNRESET", kind: Reset, linux: 104, bsd: 54, winsock: 10054, windows: "WSAECONNRESET", linuxOther: "EXFULL", bsdOther: "ENOTRECOVERABLE"},
	{name: "ENOBUFS", kind: NoBuffers, linux: 105, bsd: 55, winsock: 10055, windows: "WSAENOBUFS", linuxOther: "ENOANO", bsdOther: "EOWNERDEAD"},
	{name: "ETIMEDOUT", kind: ConnectTimeout, linux: 110, bsd: 60, winsock: 10060, windows: "WSAETIMEDOUT", linuxOther: "ENOSTR"},
	{name: "ECONNREFUSED", kind: Refused, linux: 111, bsd: 61, winsock: 10061, windows: "WSAECONNREFUSED", linuxOther: "ENODATA"},
	{name: "EHOSTDOWN", kind: HostUnreachable, linux: 112, bsd: 64, winsock: 10064, windows: "WSAEHOSTDOWN", linuxOther: "ENONET"},
	{name: "EHOSTUNREACH", kind: HostUnreachable, linux: 113, bsd: 65, winsock: 10065, windows: "WSAEHOSTUNREACH", linuxOther: "ENOPKG"},

	{name: "EAI_NONAME", kind: NameNotFound, linux: -2, bsd: 8, winsock: 11001, windows: "WSAHOST_NOT_FOUND", linuxOther: "ENOEXEC"},
	{name: "EAI_AGAIN", kind: NameTemporary, linux: -3, bsd: 2, winsock: 11002, windows: "WSATRY_AGAIN", linuxOther: "ENOENT"},
	{name: "EAI_FAIL", kind: NameTemporary, linux: -4, bsd: 4, winsock: 11003, windows: "WSANO_RECOVERY", linuxOther: "EINTR"},
	{name: "EAI_NODATA", kind: NameNoAddress, linux: -5, bsd: 7, winsock: 11004, windows: "WSANO_DATA", linuxOther: "E2BIG"},
	{name: "EAI_FAMILY", kind: FamilyUnsupported, linux: -6, bsd: 5, linuxOther: "EIO"},
}

// Lookup returns what a name such as ECONNREFUSED or WSAETIMEDOUT, or a number
// such as 111 or 10061, stands for on each system. It is empty for what is no
// error of a connection anywhere.
func Lookup(s string) []Meaning {
	s = strings.ToUpper(strings.TrimSpace(s))
	if n, err := strconv.Atoi(s); err == nil {
		return byNumber(n)
	}
	if s == "" {
		return nil
	}
	for _, c := range codes {
		if s == c.name || s == c.windows || s == "ERR_"+c.name {
			return c.meanings()
		}
	}
	return nil
}

// Names lists the names of errors that Lookup knows.
func Names() []string {
	var names []string
	for _, c := range codes {
		names = append(names, c.name)
		if c.windows != "" {
			names = append(names, c.windows)
		}
	}
	return names
}

func (c *code) meanings() []Meaning {
	var ms []Meaning
	for _, m := range []Meaning{{Linux, c.name, c.linux, c.kind}, {MacOS, c.name, c.bsd, c.kind}, {Windows, c.windows, c.winsock, c.kind}} {
		if m.Number != 0 {
			ms = append(ms, m)
		}
	}
	return ms
}

func byNumber(n int) []Meaning {
	var ms []Meaning
	add := func(system, name string, kind Kind) {
		if name != "" && !slices.ContainsFunc(ms, func(m Meaning) bool { return m.System == system && m.Name == name }) {
			ms = append(ms, Meaning{system, name, n, kind})
		}
	}
	if n == 0 {
		return nil
	}
	for _, c := range codes {
		switch n {
		case c.winsock:
			add(Windows, c.windows, c.kind)
			continue
		case c.linux:
			add(Linux, c.name, c.kind)
			if n != c.bsd {
				add(MacOS, c.bsdOther, "")
			}
		}
		if n == c.bsd {
			add(MacOS, c.name, c.kind)
			if n != c.linux {
				add(Linux, c.linuxOther, "")
			}
		}
	}
	return ms
}

// errnoPhrases are the names of the errors themselves.
func errnoPhrases() []phrase {
	var ps []phrase
	for _, c := range codes {
		var n need
		switch c.name {
		case "EPERM", "EACCES", "EINVAL", "EPIPE", "EMFILE", "ENFILE":
			n = needConnect // files and pipes have them, too
		}
		ps = append(ps, phrase{text: strings.ToLower(c.name), kind: c.kind, errno: c.name, need: n, constant: true})
		if c.windows != "" {
			ps = append(ps, phrase{text: strings.ToLower(c.windows), kind: c.kind, errno: c.windows, constant: true})
		}
	}
	return append(ps,
		phrase{text: "enotfound", kind: NameNotFound, errno: "ENOTFOUND", op: OpLookup, program: "Node.js", constant: true},
	)
}

// numberPhrases are numbers in the forms in which programs print them, for
// where the words beside them are in another language or missing. Numbers that
// mean something else on another system are left out.
func numberPhrases() []phrase {
	var ps []phrase
	for _, c := range codes {
		if c.linux > 90 && c.name != "ENOPROTOOPT" {
			n := strconv.Itoa(c.linux)
			ps = append(ps,
				phrase{text: "[errno " + n + "]", kind: c.kind, errno: c.name, program: "Python"},
				phrase{text: "(os error " + n + ")", kind: c.kind, errno: c.name, program: "Rust"},
				phrase{text: "socketexception (" + n + ")", kind: c.kind, errno: c.name, program: ".NET"},
				phrase{text: "connect:errno=" + n, kind: c.kind, errno: c.name, op: OpConnect, program: "OpenSSL"},
				phrase{text: "write:errno=" + n, kind: c.kind, errno: c.name, op: OpTransfer, program: "OpenSSL"},
				phrase{text: "read:errno=" + n, kind: c.kind, errno: c.name, op: OpTransfer, program: "OpenSSL"},
				phrase{text: "system error: " + n, kind: c.kind, errno: c.name, need: needNet},
				phrase{text: "connect error: " + n, kind: c.kind, errno: c.name, op: OpConnect})
			if c.kind != AddressInUse {
				ps = append(ps, phrase{text: "' (" + n + ")", kind: c.kind, errno: c.name, need: needConnect, check: isMySQL})
			}
		}
		if c.winsock != 0 {
			n := strconv.Itoa(c.winsock)
			ps = append(ps,
				phrase{text: "[winerror " + n + "]", kind: c.kind, errno: c.windows, program: "Python"},
				phrase{text: "[errno " + n + "]", kind: c.kind, errno: c.windows, program: "Python"},
				phrase{text: "(os error " + n + ")", kind: c.kind, errno: c.windows, program: "Rust"},
				phrase{text: "socketexception (" + n + ")", kind: c.kind, errno: c.windows, program: ".NET"},
				phrase{text: "winsock error " + n, kind: c.kind, errno: c.windows},
				phrase{text: "' (" + n + ")", kind: c.kind, errno: c.windows, need: needConnect, check: isMySQL})
		}
	}
	return ps
}
