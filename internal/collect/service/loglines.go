package service

import (
	"bytes"
	"net/netip"
	"strconv"
	"strings"

	"github.com/tcpwhy/tcpwhy/internal/errtext"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// origin is who wrote a line: what the kernel and the service manager say is
// believed of them only.
type origin int

const (
	fromProgram origin = iota
	fromManager
	fromKernel
)

// recognise tells what a line of a log means, and the address that a bind error
// names: without port where it names none, and with the unspecified address
// (::) where it names a port only or a wildcard. Errors of UDP and unix sockets,
// and of programs that connect, are none.
func recognise(line []byte, from origin) (evidence.LogKind, netip.AddrPort) {
	switch from {
	case fromKernel:
		return kernelKind(line), netip.AddrPort{}
	case fromManager:
		if k := managerKind(line); k != "" {
			return k, netip.AddrPort{}
		}
	}
	if k, addr := bindError(line); k != "" {
		return k, addr
	}
	if from == fromProgram && isPanic(line) {
		return evidence.LogPanic, netip.AddrPort{}
	}
	return "", netip.AddrPort{}
}

// bindError recognises that bind(2) or listen(2) failed.
func bindError(line []byte) (evidence.LogKind, netip.AddrPort) {
	m, ok := errtext.Recognise(line)
	if !ok || m.Op != errtext.OpListen {
		return ownWords(line)
	}
	var kind evidence.LogKind
	switch m.Kind {
	case errtext.AddressInUse:
		kind = evidence.LogBindInUse
	case errtext.AccessDenied, errtext.NotPermitted:
		kind = evidence.LogBindDenied
	case errtext.AddressNotAvailable:
		kind = evidence.LogBindNoAddress
	default:
		return "", netip.AddrPort{}
	}
	lower := bytes.ToLower(line[:min(len(line), errtext.MaxLine)])
	for _, w := range notBind {
		if bytes.Contains(lower, w) {
			return "", netip.AddrPort{}
		}
	}
	if bytes.Count(lower, []byte(".sock")) != bytes.Count(lower, []byte(".socket")) {
		return "", netip.AddrPort{} // the path of a unix socket
	}
	if m.Target.Addr.IsValid() {
		return kind, netip.AddrPortFrom(m.Target.Addr.WithZone(""), m.Target.Port)
	}
	return kind, boundTo(string(line))
}

// notBind are words of other sockets than those of a TCP server.
var notBind = [][]byte{[]byte("udp"), []byte("unix"), []byte("dial "), []byte("connect("), []byte("connect:"), []byte("connect to"), []byte("connecting"), []byte("upstream"), []byte("dgram")}

// ownWords are those of programs that do not say it with the system's words.
func ownWords(line []byte) (evidence.LogKind, netip.AddrPort) {
	for _, w := range [][2]string{
		{"Connection in use: (", ""},       // gunicorn
		{"Port ", " was already in use"},   // Spring Boot
		{"Port ", " is already in use"},    // Spring Boot's web servers, Puma, Jekyll
		{"bind: port ", " already in use"}, // as some wrappers print it
	} {
		_, rest, ok := bytes.Cut(line, []byte(w[0]))
		if !ok || w[1] != "" && !bytes.Contains(rest[:min(len(rest), 40)], []byte(w[1])) {
			continue
		}
		if addr := boundTo(string(line)); addr.Port() != 0 {
			return evidence.LogBindInUse, addr
		}
	}
	return "", netip.AddrPort{}
}

// boundTo finds the address and the port that a bind error names, in the forms
// that errtext leaves: "*:6379", ":8080", "[0.0.0.0:80]", "('::', 80)", "port 22
// on 0.0.0.0", an address alone.
func boundTo(line string) netip.AddrPort {
	var addr netip.Addr
	var port uint16
	previous := ""
	for i, word := range strings.FieldsFunc(line, func(r rune) bool {
		return r == ' ' || r == '(' || r == ')' || r == '"' || r == '\'' || r == ',' || r == ';' || r == '='
	}) {
		if i == 256 {
			break
		}
		w := strings.TrimRight(word, ":.!?")
		if s, ok := strings.CutPrefix(w, "["); ok && strings.HasSuffix(s, "]") {
			w = s[:len(s)-1]
		}
		if ap, err := netip.ParseAddrPort(w); err == nil && ap.Port() != 0 {
			return netip.AddrPortFrom(ap.Addr().WithZone(""), ap.Port())
		}
		if s, ok := strings.CutPrefix(strings.TrimPrefix(strings.TrimPrefix(w, "::"), "*"), ":"); ok {
			if n := portNumber(s); n != 0 {
				return netip.AddrPortFrom(netip.IPv6Unspecified(), n)
			}
		}
		// "::" has lost its colons.
		if a, err := netip.ParseAddr(strings.TrimRight(word, ".!?")); err == nil && !addr.IsValid() {
			addr = a.WithZone("")
		} else if n := portNumber(w); n != 0 && port == 0 && (previous == "port" || addr.IsValid()) {
			port = n
		}
		previous = strings.ToLower(w)
	}
	if port != 0 && !addr.IsValid() {
		addr = netip.IPv6Unspecified()
	}
	return netip.AddrPortFrom(addr, port)
}

func portNumber(s string) uint16 {
	if len(s) == 0 || len(s) > 5 || s[0] < '1' || s[0] > '9' {
		return 0
	}
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0
	}
	return uint16(n)
}

// hintedPort is the port that the line behind a bind error names, where that
// has none itself.
func hintedPort(line []byte) uint16 {
	for _, w := range []string{"already running on port ", "server running on port: ", "Failed listening on port "} { // PostgreSQL, MySQL, Redis
		if _, rest, ok := bytes.Cut(line, []byte(w)); ok {
			end := bytes.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
			if end < 0 {
				end = len(rest)
			}
			return portNumber(string(rest[:end]))
		}
	}
	return 0
}

// isPanic says that a program ends by a fault of its own: the first line, or the
// last of a Python traceback, which mark finds.
func isPanic(line []byte) bool {
	for _, p := range []string{"panic: ", "fatal error: ", "Exception in thread \"main\"", "terminate called after throwing", "*** stack smashing detected ***"} { // Go, Go's runtime, Java, C++, glibc
		if bytes.HasPrefix(line, []byte(p)) {
			return true
		}
	}
	return bytes.Contains(line, []byte("java.lang.OutOfMemoryError")) || bytes.HasPrefix(line, []byte("thread '")) && bytes.Contains(line, []byte("' panicked at ")) // Rust
}

// managerKind is the meaning of what systemd says of a unit, src/core/service.c
// and unit.c.
func managerKind(line []byte) evidence.LogKind {
	has := func(words ...string) bool {
		for _, w := range words {
			if bytes.Contains(line, []byte(w)) {
				return true
			}
		}
		return false
	}
	switch {
	case has("Failed with result 'oom-kill'", "killed by the OOM killer"):
		return evidence.LogOOM
	case has(": Main process exited, code=", ": Control process exited, code=", ": Failed with result '", ": Start request repeated too quickly", ": Unit entered failed state"):
		return evidence.LogExit
	}
	return ""
}

// kernelKind is the meaning of a message of the kernel, mm/oom_kill.c and
// arch/x86/mm/fault.c.
func kernelKind(line []byte) evidence.LogKind {
	switch {
	case bytes.Contains(line, []byte("ut of memory")) && bytes.Contains(line, []byte(": Killed process ")):
		return evidence.LogOOM
	case bytes.Contains(line, []byte("]: segfault at ")), bytes.HasPrefix(line, []byte("traps: ")) && bytes.Contains(line, []byte(" ip:")):
		return evidence.LogPanic
	}
	return ""
}

// victim names the process that a message of the kernel is about.
func victim(line []byte) (name string, pid int) {
	s := string(line)
	if _, rest, ok := strings.Cut(s, ": Killed process "); ok { // "123 (java) total-vm:…"
		number, rest, _ := strings.Cut(rest, " (")
		end := strings.LastIndexByte(rest[:min(len(rest), 20)], ')')
		if end < 0 {
			return "", 0
		}
		pid, _ = strconv.Atoi(number)
		return rest[:end], pid
	}
	s = strings.TrimPrefix(s, "traps: ") // "java[123]: segfault at …"
	name, rest, _ := strings.Cut(s, "[")
	number, _, _ := strings.Cut(rest, "]")
	pid, _ = strconv.Atoi(number)
	return name, pid
}
