package flow

import (
	"net"
	"strconv"
	"strings"
)

// ParsePort reads a port number or the name of a service, from a built-in table or
// services(5).
func ParsePort(s string) (uint16, *TargetError) {
	port, _, err := parsePort(s)
	if err != nil {
		err.Input = display(s)
	}
	return port, err
}

// parsePort reads a port number or the name of a service, which it returns in
// lower case.
func parsePort(s string) (port uint16, service string, _ *TargetError) {
	const hint = "use a number from 1 to 65535, or a service such as https"
	switch {
	case s == "":
		return 0, "", problem(hint, "the port is empty")
	case digits(s):
		n, err := strconv.ParseUint(s, 10, 16)
		if err != nil {
			return 0, "", problem(hint, "port %s is larger than 65535", shorten(s))
		}
		if n == 0 {
			return 0, "", problem(hint, "nothing can listen on port 0")
		}
		return uint16(n), "", nil
	}
	service = strings.ToLower(s)
	if port = servicePort(service); port == 0 {
		return 0, "", problem(hint, "port %s is neither a number nor a known service", quote(s))
	}
	return port, service, nil
}

// schemePort finds the port of a URL scheme and the protocol it speaks. Of a
// compound scheme that is the transport ("git+ssh") or, where the second part
// is only the name of a driver ("postgresql+asyncpg"), the first part.
func schemePort(scheme string) (protocol string, port uint16) {
	if port = servicePort(scheme); port != 0 {
		return scheme, port
	}
	if first, second, ok := strings.Cut(scheme, "+"); ok {
		if port = wellKnown(second); port != 0 {
			return second, port
		}
		if port = wellKnown(first); port != 0 {
			return first, port
		}
	}
	return scheme, 0
}

// servicePort looks in the built-in table, so that the common names mean the
// same on every machine, and then in services(5). It returns 0 if unknown.
func servicePort(name string) uint16 {
	if p := wellKnown(name); p != 0 {
		return p
	}
	for i := range len(name) {
		if !nameByte(name[i]) {
			return 0
		}
	}
	// A name without a letter is a number with odd signs, not a service.
	if len(name) > 40 || !strings.ContainsAny(name, "abcdefghijklmnopqrstuvwxyz") {
		return 0
	}
	p, err := net.LookupPort("tcp", name)
	if err != nil || p < 1 || p > 65535 {
		return 0
	}
	return uint16(p)
}

// wellKnown is the table of services and URL schemes over TCP: the IANA
// registry, and what the servers' own documentation gives as default.
func wellKnown(name string) uint16 {
	switch name {
	case "ftp":
		return 21
	case "ssh", "sftp", "scp":
		return 22
	case "telnet":
		return 23
	case "smtp":
		return 25
	case "domain", "dns":
		return 53
	case "gopher":
		return 70
	case "http", "ws", "www":
		return 80
	case "kerberos":
		return 88
	case "pop3":
		return 110
	case "sunrpc":
		return 111
	case "nntp":
		return 119
	case "imap", "imap2":
		return 143
	case "bgp":
		return 179
	case "ldap":
		return 389
	case "https", "wss":
		return 443
	case "microsoft-ds", "smb":
		return 445
	case "smtps", "submissions":
		return 465
	case "rtsp":
		return 554
	case "submission":
		return 587
	case "ipp":
		return 631
	case "ldaps":
		return 636
	case "domain-s":
		return 853
	case "rsync":
		return 873
	case "ftps":
		return 990
	case "imaps":
		return 993
	case "pop3s":
		return 995
	case "socks", "socks5":
		return 1080
	case "ms-sql-s", "mssql", "sqlserver":
		return 1433
	case "oracle":
		return 1521
	case "mqtt":
		return 1883
	case "nfs":
		return 2049
	case "zookeeper":
		return 2181
	case "etcd":
		return 2379
	case "mysql", "mariadb":
		return 3306
	case "rdp", "ms-wbt-server":
		return 3389
	case "svn":
		return 3690
	case "nats":
		return 4222
	case "sip":
		return 5060
	case "sips":
		return 5061
	case "xmpp-client":
		return 5222
	case "postgres", "postgresql":
		return 5432
	case "amqps":
		return 5671
	case "amqp":
		return 5672
	case "vnc", "rfb":
		return 5900
	case "x11":
		return 6000
	case "redis", "rediss":
		return 6379
	case "kubernetes":
		return 6443
	case "syslog-tls":
		return 6514
	case "irc":
		return 6667
	case "ircs":
		return 6697
	case "bolt", "neo4j":
		return 7687
	case "http-alt":
		return 8080
	case "vault":
		return 8200
	case "consul":
		return 8500
	case "mqtts", "secure-mqtt":
		return 8883
	case "cassandra":
		return 9042
	case "prometheus":
		return 9090
	case "kafka":
		return 9092
	case "elasticsearch":
		return 9200
	case "git":
		return 9418
	case "memcached", "memcache":
		return 11211
	case "mongodb":
		return 27017
	}
	return 0
}
