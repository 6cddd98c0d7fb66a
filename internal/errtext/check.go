package errtext

import "strings"

// The checks are what single phrases need beside their words.

// isMySQL: a number in brackets behind the server's quoted name.
func isMySQL(r *reader, _ hit) bool { return r.has("mysql server", "connect to server on", "mariadb") }

// isNetOrAlone: a word of the network, or the line says nothing else.
func isNetOrAlone(r *reader, h hit) bool {
	return r.has(netWords...) || strings.TrimSpace(r.lower) == r.phrases[h.phrase].text
}

// notFile: the error is about a socket and not about a file that a program
// which also speaks of connections could not open.
func notFile(r *reader, _ hit) bool {
	lower := strings.NewReplacer("fsockopen(", "", "/dev/tcp/", "").Replace(r.lower) // of sockets: PHP, bash
	if hasAny(lower, "publickey", "password", "open(", "open ", "opening ", "/dev/", "/var/", "/etc/", "/home/", "/tmp/", "/usr/", "/run/", "mkdir", "unlink", "read-only", "chmod", "chown", "exec", "docker.sock", "unix:", "setsockopt") {
		return false
	}
	return r.has("connect", "dial ", "bind", "listen", "socket", "10013", "/dev/tcp/")
}

// notOption: setsockopt(2) says the same of an option that it does not know.
func notOption(r *reader, _ hit) bool { return !r.has("sockopt", "option") }

// isLookup: Go's resolver, or a program that tells of it.
func isLookup(r *reader, _ hit) bool { return r.has("lookup ", "dial ", "resolve") }

// afterURL: the end of a quoted URL, as net/url.Error prints it.
func afterURL(r *reader, h hit) bool {
	return strings.Contains(r.lower[:h.end], `"http`) || strings.Contains(r.lower[:h.end], `"https`)
}

func isTLSError(r *reader, _ hit) bool {
	return r.has("ssl", "tls", "certificate verify", "x509", "certificateexception", "curl: (60)")
}

func isOpenSSL(r *reader, _ hit) bool { return r.has("ssl routines", "[ssl:", "openssl") }

func isTimedOut(r *reader, _ hit) bool { return r.has("timed out", "timeouterror", "connecttimeout") }

// isNoResponse: NoHttpResponseException of Apache HttpClient, "host:port
// failed to respond".
func isNoResponse(r *reader, _ hit) bool { return r.has("nohttpresponse") }

func isSocketError(r *reader, _ hit) bool { return r.has("socketerror", "und_err") }

// isAiohttp: "Cannot connect to host db.example:80 ssl:default [...]".
func isAiohttp(r *reader, h hit) bool {
	f := strings.Fields(r.lower[h.end:])
	return r.has("clientconnectorerror") || len(f) > 1 && strings.HasPrefix(f[1], "ssl:")
}

// isBareTimeout: the name of the exception alone, as the last line of a
// traceback has it.
func isBareTimeout(r *reader, h hit) bool {
	f := strings.Fields(r.lower[:h.end])
	switch f[len(f)-1] {
	case "timeouterror", "asyncio.exceptions.timeouterror", "asyncio.timeouterror":
		return len(f) == 1 || strings.HasSuffix(f[len(f)-2], ":")
	}
	return false
}

func isPerl(r *reader, _ hit) bool { return r.has("io::socket", "lwp", " at ", "can't connect to") }

// notOwnLimit: "Connection timed out after 3001 milliseconds" is curl's limit and
// not the kernel's.
func notOwnLimit(r *reader, h hit) bool {
	return !strings.HasPrefix(r.lower[h.end:], " after ") || !isMilliseconds(r, h)
}

// notJavaHTTP: "HTTP connect timed out" has a phrase of its own.
func notJavaHTTP(r *reader, h hit) bool {
	return !strings.HasSuffix(r.lower[:h.end], "http connect timed out")
}

// isFailed: dig tells of a connection that failed, not of one that it makes.
func isFailed(r *reader, h hit) bool { return strings.Contains(r.lower[h.end:], " failed: ") }

// isExiting: "io timeout after 30 seconds -- exiting" of rsync.
func isExiting(r *reader, h hit) bool { return strings.Contains(r.lower[h.end:], "seconds -- exiting") }

// isReadyCheck: "host:5432 - no response" of pg_isready, and nothing else.
func isReadyCheck(r *reader, h hit) bool {
	f := strings.Fields(r.lower[:h.end])
	return len(f) >= 4 && strings.Contains(f[len(f)-4], ":")
}

// isStatusLine: the reason stands before it, where Apache knows one.
func isStatusLine(r *reader, _ hit) bool { return !r.has("the timeout specified has expired") }

func isMilliseconds(r *reader, h hit) bool { return strings.Contains(r.lower[h.end:], "millisecond") }

// namesPort: "by 192.0.2.7 port 22" as the ssh client ends it. The server's log
// has more behind it, or a program before it.
func namesPort(r *reader, h hit) bool {
	f := strings.Fields(r.lower[h.end:])
	return len(f) == 3 && f[1] == "port"
}

// isSSHTimeout: "Connection to host port 22 timed out" of the ssh client, behind
// the error about its banner.
func isSSHTimeout(r *reader, h hit) bool {
	f := strings.Fields(r.lower[h.end:])
	return len(f) == 5 && f[1] == "port" && f[3] == "timed" && f[4] == "out"
}

// isFirefoxTimeout: "The server at name is taking too long to respond."
func isFirefoxTimeout(r *reader, h hit) bool {
	i := strings.LastIndex(r.lower[:h.end], "server at ")
	return i >= 0 && len(strings.Fields(r.lower[i:h.end])) == 9
}

func isNotResponding(r *reader, _ hit) bool { return r.has("not responding") }

func isPostgres(r *reader, _ hit) bool {
	return r.has("psql", "connection to server at", "postgres", "pg_", "libpq", "psycopg")
}

func isPSQLException(r *reader, _ hit) bool { return r.has("psqlexception", "postgresql") }

// isReplyByte: hiredis got a byte that begins no reply.
func isReplyByte(r *reader, _ hit) bool { return r.has("as reply type byte") }

func isPostfix(r *reader, h hit) bool {
	return strings.Contains(r.lower[h.end:], " while ") && r.has("postfix", "status=", "said", "relay=", "smtp", "greeting", "[")
}

func isPostfixTimeout(r *reader, h hit) bool {
	return strings.Contains(r.lower[h.end:], "timed out while")
}

// isHAProxyLog: the timers "Tq/Tw/Tc/Tr/Tt" or "Tw/Tc/Tt" stand before the
// termination state, and connection counts behind it. HAProxy configuration
// manual, section 8.2.
func isHAProxyLog(r *reader, h hit) bool {
	_, behind, _ := strings.Cut(strings.TrimLeft(r.lower[h.end:], "- "), " ")
	counts, _, _ := strings.Cut(strings.TrimLeft(r.lower[h.end:], "- "), " ")
	if strings.Count(counts, "/") != 4 || behind == "" {
		return false
	}
	for f := range strings.FieldsSeq(r.lower[:h.end]) {
		if n := strings.Count(f, "/"); (n == 2 || n == 4) && strings.Trim(f, "-+0123456789/") == "" {
			return true
		}
	}
	return false
}

// isHAProxyDown: <NOSRV> stands in every log line without a server, also of
// what HAProxy answers by itself; only with the state SC it means that none
// was there.
func isHAProxyDown(r *reader, _ hit) bool {
	return strings.Contains(string(r.line), " SC") || strings.Contains(string(r.line), " sQ")
}

// isEnvoyLog: flags stand behind the status, which stands behind the quoted
// request. Envoy documentation, "Access logging".
func isEnvoyLog(r *reader, h hit) bool {
	before := r.lower[:h.end]
	if i := strings.LastIndexByte(before, ' '); i >= 0 {
		before = strings.TrimRight(before[:i], " 0123456789")
	}
	after := r.lower[h.end:]
	return strings.HasSuffix(before, `"`) && (after == "" || strings.IndexByte(", \"", after[0]) >= 0)
}
