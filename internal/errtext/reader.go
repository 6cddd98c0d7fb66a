package errtext

import (
	"bytes"
	"slices"
	"strings"
)

// reader is a line that holds phrases, and what is asked of it.
type reader struct {
	line    []byte
	lower   string // the line in lower case, byte for byte
	phrases []phrase
}

func newReader(line []byte) *reader {
	b := bytes.Clone(line)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return &reader{line: line, lower: string(b), phrases: phrases()}
}

func (r *reader) has(words ...string) bool { return hasAny(r.lower, words...) }

func hasAny(s string, words ...string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(s, w) })
}

func wordByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c >= 0x80
}

// netWords make a line one about the network.
var netWords = []string{"connect", "socket", "tcp", "upstream", "http", "server", "peer", "ssl", "tls", "://", "recv", "send()", "dial ", "remote", "host", "port"}

// connectWords are those for opening, binding and accepting.
var connectWords = []string{"connect", "dial", "socket", "bind", "listen", "accept", "upstream", "tcp", "lookup", "proxy"}

// fits says whether a phrase counts where it stands.
func (r *reader) fits(p *phrase, h hit) bool {
	start := h.end - len(p.text)
	if start > 0 && wordByte(p.text[0]) && wordByte(r.line[start-1]) {
		return false
	}
	if h.end < len(r.line) && wordByte(p.text[len(p.text)-1]) && wordByte(r.line[h.end]) {
		return false
	}
	before, after := r.lower[:start], r.lower[h.end:]
	switch {
	case p.need&needCase != 0 && string(r.line[start:h.end]) != p.exact,
		p.need&needStart != 0 && strings.TrimSpace(before) != "",
		p.need&needEnd != 0 && strings.Trim(after, " .)\"'\t;") != "",
		p.need&needNet != 0 && !r.has(netWords...),
		p.need&needConnect != 0 && !r.has(connectWords...),
		p.check != nil && !p.check(r, h):
		return false
	}
	return !counted(before, after) && !(p.constant && inCode(before, after))
}

// counted says that the words beside a phrase make it a figure or a rule about
// errors, and no error.
func counted(before, after string) bool {
	for _, w := range []string{" errors", " error count", " count", " counter", " total", " rate", " ratio", " policy", " handling", " handler", " threshold", "s per ", " events"} {
		if strings.HasPrefix(after, w) {
			return true
		}
	}
	if zero(after) || comment(before) {
		return true
	}
	before = strings.TrimRight(" "+before, " \"'`")
	for _, w := range []string{" no", "without", "retry on", "retry_on", "retries on", "simulate", "simulates", "simulating", "handle", "handles", "ignore", "ignoring", "instead of", "avoid", "avoids", "never", "not a", " expected", " expects", " want", " ==", " !=", " grep", " grep -c", " grep -i"} {
		if strings.HasSuffix(before, w) {
			return true
		}
	}
	return false
}

// zero says that a phrase is a counter: "connection refused: 0", or "=" with any
// number, for "=" stands before no cause.
func zero(after string) bool {
	after = strings.TrimLeft(after, " \"'")
	if after == "" || after[0] != ':' && after[0] != '=' {
		return false
	}
	value := strings.TrimLeft(after[1:], " ")
	digits := strings.TrimLeft(value, "0123456789")
	return len(digits) < len(value) && (digits == "" || strings.IndexByte(" ,;}", digits[0]) >= 0) &&
		(after[0] == '=' || value[:len(value)-len(digits)] == "0")
}

// comment says that a line is one of a script, a setting or source code.
func comment(before string) bool {
	before = strings.TrimLeft(before, " \t")
	return strings.HasPrefix(before, "# ") || strings.HasPrefix(before, "// ")
}

// inCode says that the name of an error stands in source code or a setting.
func inCode(before, after string) bool {
	if strings.HasPrefix(strings.TrimLeft(before, " \t"), "//") {
		return true
	}
	for _, w := range []string{"except ", "except (", "raise ", "catch (", "instanceof ", "syscall.", "unix.", "windows.", "errno.", "case ", "define ", "enum ", "=> ", "== ", "=== ", "!= ", "=== '", "== '", "== \"", "=== \""} {
		if strings.HasSuffix(before, w) {
			return true
		}
	}
	for _, w := range []string{" =>", " ==", "(", " is ", " means ", " are "} {
		if strings.HasPrefix(after, w) {
			return true
		}
	}
	return false
}

// isList says that the line names errors one after the other, as a setting
// does, so that none of them happened.
func (r *reader) isList(constants map[Kind]hit) bool {
	if len(constants) < 2 {
		return false
	}
	hits := make([]hit, 0, len(constants))
	for _, h := range constants {
		hits = append(hits, h)
	}
	slices.SortFunc(hits, func(a, b hit) int { return a.end - b.end })
	for i, h := range hits[1:] {
		between := r.lower[hits[i].end:max(h.end-len(r.phrases[h.phrase].text), hits[i].end)]
		if strings.Trim(between, " ,|/;'\"`&") == "" || strings.Trim(between, " ,'\"`") == "or" || strings.Trim(between, " ,'\"`") == "and" {
			return true
		}
	}
	return false
}

// nearby is how many bytes around an error tell what the program was doing: the
// rest of a long line, such as one of JSON, is about other things.
const nearby = 300

// op is what the program was doing when it met the error at h.
func (r *reader) op(p *phrase, h hit) Op {
	if p.op != OpUnknown {
		return p.op
	}
	near := r.lower[max(0, h.end-len(p.text)-nearby):min(len(r.lower), h.end+nearby)]
	for _, o := range ops {
		if hasAny(near, o.words...) {
			return o.op
		}
	}
	return OpUnknown
}

// ops are the words for each operation. The first that a line has counts.
var ops = []struct {
	op    Op
	words []string
}{
	{OpConnect, []string{"while connecting to upstream", "in state connect"}},
	{OpTransfer, []string{"communication packet'", "authorization packet'"}}, // of MySQL: the connection is open
	{OpLookup, []string{"lookup ", ";; connection to ", ";; communications error", "getaddrinfo", "resolving", "resolve ", "name resolution", "translate host name", "gethostby"}},
	{OpAccept, []string{"accept()", "accept4()", "accept tcp", "accept:", "accept failed", "accepting"}},
	{OpListen, []string{"bind(", "bind:", "bind to", "bind on", "listen tcp", "listen:", "listen eaddr", "listen eacces", "could not bind", "cannot bind", "failed to bind", "can't bind",
		"could not listen", "failed to listen", "can't listen", "make_sock", "stream_socket_server(", "error while attempting to bind", "bindexception", "address already in use", "cannot assign requested address: make_sock", "creating server"}},
	{OpTransfer, []string{"read tcp", "write tcp", "recv()", "recvmsg", "recv failure", "recv failed", "read:", "write:", "(read failed)", "(write failed)", "while reading", "while sending", "error reading ", "error dispatching", "readv()",
		"writev()", "send()", "send failure", "read failure", "client_loop", "sslread", "ssl_read", "write error", "read error", "read econn", "write e", "read e"}},
	{OpConnect, []string{"dial tcp", "dial:", "dialing", "connect(", "connect:", "connect to", "connect ", "connecting", "connectexception", "connection to", "connectex", "connectcallback", "failed to connect",
		"new connection", "tcp connect", "connect error", "unable to connect", "open tcp connection", "bio_connect", "connect_"}},
	{OpHandshake, []string{"tls", "ssl"}},
}

// program is whose words they are: the phrase's own, or those around it.
func (r *reader) program(p *phrase) string {
	if p.program != "" && !generic[p.program] {
		return p.program
	}
	for _, s := range signs {
		if p.program != "" && generic[s.program] {
			continue
		}
		if strings.HasPrefix(s.text, "^") {
			if strings.HasPrefix(strings.TrimLeft(r.lower, " *<\t"), s.text[1:]) {
				return s.program
			}
		} else if strings.Contains(r.lower, s.text) {
			return s.program
		}
	}
	return p.program
}

// generic are languages: a program written in one says more.
var generic = map[string]bool{"Go": true, "Python": true, "Java": true, "Node.js": true, "Rust": true, ".NET": true, "PHP": true, "Ruby": true, "GnuTLS": true, "curl": true}

// signs tell programs by the words around an error; with ^ only at the start.
// The first counts: programs before the languages they are written in.
var signs = []struct{ text, program string }{
	{"kubelet", "Kubernetes"}, {"readiness probe failed", "Kubernetes"}, {"liveness probe failed", "Kubernetes"}, {"startup probe failed", "Kubernetes"}, {"failed calling webhook", "Kubernetes"},
	{"unable to connect to the server:", "kubectl"}, {"docker daemon", "Docker"}, {"error response from daemon", "Docker"}, {"userland proxy", "Docker"},
	{"fatal: unable to access", "git"}, {"fatal: unable to connect to", "git"}, {"fatal: unable to look up", "git"}, {"could not read from remote repository", "git"},
	{"rpc error: code =", "gRPC"}, {"io.grpc", "gRPC"}, {"grpc_status", "gRPC"}, {"failed to connect to all addresses", "gRPC"}, {"grpc.", "gRPC"}, {"rdkafka", "librdkafka"}, {"org.apache.kafka", "Kafka"}, {" clientid=", "Kafka"},
	{"upstream: \"", "nginx"}, {"while connecting to upstream", "nginx"}, {"[emerg]", "nginx"}, {"accept4() failed (", "nginx"}, {"[alert]", "nginx"}, {": ah0", "Apache"}, {"]: ah", "Apache"}, {"] ah0", "Apache"},
	{"haproxy", "HAProxy"}, {"layer4", "HAProxy"}, {"delayed connect error", "Envoy"}, {"upstream connect error", "Envoy"},
	{"error during connect:", "Docker"}, {"pinging container registry", "Podman"}, {"couldn't get current server api group list", "kubectl"},
	{"^;; ", "dig"}, {"^rsync", "rsync"}, {"[receiver] ", "rsync"}, {"[sender] ", "rsync"}, {"^ftp: ", "ftp"}, {"^msmtp: ", "msmtp"}, {"socat[", "socat"}, {"smtplib.", "Python"}, {"]: errno=", "git"}, {"fatal: packet write failed", "git"}, {"server lookup failure:", "telnet"}, {"/dev/tcp/", "bash"}, {"^bash: connect: ", "bash"}, {"^npm error ", "npm"}, {"^npm err! ", "npm"},
	{"postfix/", "Postfix"}, {"sshd[", "sshd"}, {"systemd[", "systemd"},
	{"^ssh: ", "ssh"}, {"kex_exchange_identification", "ssh"}, {"client_loop: ", "ssh"}, {"ssh_exchange_identification", "ssh"}, {"banner exchange", "ssh"},
	{"psql: ", "PostgreSQL"}, {"connection to server at \"", "PostgreSQL"}, {"could not translate host name", "PostgreSQL"}, {"psqlexception", "PostgreSQL JDBC"}, {"psycopg", "PostgreSQL"},
	{"mysql server", "MySQL"}, {"can't connect to server on '", "MySQL"}, {"reading initial communication packet", "MySQL"}, {"reading authorization packet", "MySQL"}, {"error 2002", "MySQL"}, {"error 2003", "MySQL"}, {"error 2013", "MySQL"}, {"^error: 2", "MySQL"},
	{"connect to redis at", "Redis"}, {"redis.exceptions", "Redis"}, {"mongoserver", "MongoDB"}, {"mongonetwork", "MongoDB"}, {"mongoose", "MongoDB"}, {"pymongo", "MongoDB"},
	{"serverselection", "MongoDB"}, {"server selection", "MongoDB"}, {"pika.", "pika"},
	{"curl: (", "curl"}, {"^connect to ", "curl"}, {"connect fail for ", "curl"}, {"recv failure", "curl"}, {"^wget: ", "wget"}, {"... failed: ", "wget"}, {"read error (", "wget"}, {"unable to resolve host address", "wget"},
	{"ncat: ", "Ncat"}, {"^nc: ", "nc"}, {"^netcat: ", "nc"}, {"(unknown) [", "nc"}, {" (?) : ", "nc"}, {"telnet: ", "telnet"}, {"ping: ", "ping"},
	{"bio_connect", "OpenSSL"}, {"connect:errno=", "OpenSSL"}, {"bio_lookup_ex", "OpenSSL"}, {":error:", "OpenSSL"},
	{"io::socket", "Perl"}, {"lwp::", "Perl"}, {"500 can't connect to", "Perl"},
	{"sqlstate[", "PHP"}, {"php ", "PHP"}, {"fsockopen()", "PHP"}, {"stream_socket_client()", "PHP"}, {"stream_socket_server()", "PHP"}, {"file_get_contents(", "PHP"},
	{"errno::", "Ruby"}, {"socketerror", "Ruby"}, {"connect(2) for", "Ruby"}, {"faraday::", "Ruby"}, {"failed to open tcp connection", "Ruby"},
	{"(os error ", "Rust"}, {"failed to lookup address information", "Rust"}, {"kind: connection", "Rust"}, {"hyper::", "Rust"}, {"reqwest::", "Rust"},
	{"system.net.", ".NET"}, {"system.io.", ".NET"}, {"socketexception (", ".NET"}, {"httprequestexception", ".NET"},
	{"java.", "Java"}, {"javax.", "Java"}, {"sun.", "Java"}, {"io.netty", "Java"}, {"org.apache.", "Java"}, {"connectexception", "Java"}, {"sqlserverexception", "Java"}, {"socketexception: ", "Java"},
	{"[errno ", "Python"}, {"connectionreseterror", "Python"}, {"connectionrefusederror", "Python"}, {"brokenpipeerror", "Python"}, {"[winerror ", "Python"}, {"urllib3", "Python"}, {"requests.exceptions", "Python"}, {"httpconnectionpool", "Python"}, {"httpsconnectionpool", "Python"}, {"httpx.", "Python"},
	{"aiohttp", "Python"}, {"urlopen error", "Python"}, {"[ssl:", "Python"}, {"^urllib", "Python"},
	{"error: connect e", "Node.js"}, {"error: read e", "Node.js"}, {"error: getaddrinfo e", "Node.js"}, {"connect econn", "Node.js"}, {"connect etimed", "Node.js"}, {"connect ehost", "Node.js"},
	{"connect enet", "Node.js"}, {"listen eaddr", "Node.js"}, {"listen eacces", "Node.js"}, {"getaddrinfo e", "Node.js"}, {"axioserror", "Node.js"}, {"fetcherror", "Node.js"}, {"code: 'e", "Node.js"}, {"write epipe", "Node.js"}, {"read econn", "Node.js"},
	{"dial tcp", "Go"}, {"read udp", "Go"}, {"dial udp", "Go"}, {"read tcp", "Go"}, {"write tcp", "Go"}, {"listen tcp", "Go"}, {"net/http", "Go"}, {"x509: ", "Go"}, {"accept tcp", "Go"}, {"connectex:", "Go"}, {"get \"", "Go"}, {"post \"", "Go"},
}
