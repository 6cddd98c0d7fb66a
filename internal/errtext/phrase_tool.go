package errtext

// toolPhrases are the words of tools for the command line: transfer, mail,
// name lookup, directories, brokers.
var toolPhrases = []phrase{
	// dig, host and nslookup of BIND, which ask a name server.
	{text: ";; no servers could be reached", kind: NameTemporary, op: OpLookup, program: "dig"},
	{text: ";; connection timed out; no servers could be reached", kind: NameTemporary, op: OpLookup, program: "dig"},
	{text: ";; communications error to", kind: NameTemporary, op: OpLookup, program: "dig"},
	{text: ";; connection to", kind: NameTemporary, op: OpLookup, program: "dig", check: isFailed},
	{text: ": couldn't get address for", kind: NameFailed, op: OpLookup, program: "dig"},

	// rsync.
	{text: "error in socket io (code 10)", kind: ConnectFailed, program: "rsync", weak: true},
	{text: "error in rsync protocol data stream (code 12)", kind: Closed, op: OpTransfer, program: "rsync", weak: true},
	{text: "timeout in data send/receive (code 30)", kind: ReadTimeout, op: OpTransfer, program: "rsync"},
	{text: "timeout waiting for daemon connection (code 35)", kind: ConnectTimeout, op: OpConnect, program: "rsync"},
	{text: "io timeout after", kind: ReadTimeout, op: OpTransfer, program: "rsync", check: isExiting},
	{text: "did not see server greeting", kind: Closed, op: OpTransfer, program: "rsync", weak: true},

	// ftp and lftp.
	{text: "ftp: can't connect to", kind: ConnectFailed, op: OpConnect, program: "ftp"},
	{text: "receiving http reply: eof received", kind: Closed, op: OpTransfer, program: "ftp"},
	{text: "remote server has closed connection", kind: Closed, op: OpTransfer, program: "ftp"},

	// Mail: swaks, msmtp, and the smtplib of Python.
	{text: "*** error connecting to", kind: ConnectFailed, op: OpConnect, program: "swaks"},
	{text: "remote host closed connection unexpectedly", kind: Closed, op: OpTransfer, program: "swaks"},
	{text: "secs) waiting for server response", kind: ReadTimeout, op: OpTransfer, program: "swaks"},
	{text: "network read error: the operation timed out", kind: ReadTimeout, op: OpTransfer, program: "msmtp"},
	{text: "msmtp: the server sent an empty reply", kind: Closed, op: OpTransfer, program: "msmtp"},
	{text: "connection unexpectedly closed: timed out", kind: ReadTimeout, op: OpTransfer},
	{text: "connection unexpectedly closed", kind: Closed, op: OpTransfer},
	{text: "[net::smtp] connection closed", kind: Closed, op: OpTransfer, program: "Perl"},
	{text: "[net::smtp] timeout", kind: Timeout, program: "Perl"},

	// MQTT, LDAP, Docker's and Podman's registries, git's own protocol.
	{text: "connection was lost", kind: Closed, op: OpTransfer},
	{text: "unable to connect (lookup error", kind: NameFailed, op: OpLookup, program: "mosquitto"},
	{text: "can't contact ldap server", kind: ConnectFailed, program: "LDAP", weak: true},
	{text: "fatal: unable to connect to", kind: ConnectFailed, op: OpConnect, program: "git"},
	{text: "- no response", kind: ConnectFailed, op: OpConnect, program: "PostgreSQL", need: needEnd, check: isReadyCheck},
	{text: "mysqladmin: connect to server at", kind: ConnectFailed, op: OpConnect, program: "MySQL"},
}
