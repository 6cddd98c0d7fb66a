package diagnose

import (
	"slices"
	"strings"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// session derives what happened after the handshake.
func (o *observer) session(v *view) {
	s := v.a.Session
	if s == nil || v.kind != evidence.AnswerSYNACK {
		return
	}
	switch {
	case s.Hello == "":
		o.add(evidence.SessionHello, evidence.HelloNone, "session", s.At, "nothing was said first")
	case s.Expect == "tls":
		o.add(evidence.SessionHello, evidence.HelloTLS, "session", s.At, "we began with: %s", s.Hello)
	default:
		o.add(evidence.SessionHello, evidence.HelloPlain, "session", s.At, "we began with: %s", s.Hello)
	}
	o.end(s)
	o.reply(s)
	if s.Sent == 0 && s.Acked == nil && !s.WindowZero {
		o.add(evidence.SessionAcked, evidence.NotAsked, "session", s.At, "nothing was sent that could be acknowledged")
	}
	if s.Acked != nil {
		did := "acknowledged all"
		if !*s.Acked {
			did = "did not acknowledge all"
		}
		if !s.WindowZero {
			o.add(evidence.SessionAcked, yesNo(*s.Acked), "session", s.At, "the peer's TCP %s of our %s", did, plural(s.Sent, "byte", "bytes"))
		}
	}
	if s.WindowZero {
		o.add(evidence.SessionWindow, evidence.WindowZero, "session", s.At, "the peer keeps its receive window closed and answers window probes")
	} else {
		o.add(evidence.SessionWindow, evidence.WindowOpen, "session", s.At, "no closed receive window was seen")
	}
	o.large(s)
	if i := s.Idle; i == nil {
		o.add(evidence.SessionIdle, evidence.NotAsked, "session", s.At, "idle connections were not tried (--idle)")
	} else if i.Died > 0 && i.Survived == 0 {
		o.add(evidence.SessionIdle, evidence.IdleDies, "session", s.At, "no connection left idle passed data again; the shortest time tried was %s", ms(i.Died))
	} else if i.Died > 0 {
		o.add(evidence.SessionIdle, evidence.IdleDies, "session", s.At, "a connection idle for %s still passed data, one idle for %s did not", ms(i.Survived), ms(i.Died))
	} else {
		o.add(evidence.SessionIdle, evidence.IdleSurvives, "session", s.At, "a connection idle for %s still passed data", ms(i.Survived))
	}
	o.repeat(s)
	o.resetDistance(v, s)
}

// repeat: does a second connection with the same hello fare like the first?
func (o *observer) repeat(s *evidence.Session) {
	served := s.Received > 0 || s.End != "rst" && (s.Acked == nil || *s.Acked || s.WindowZero)
	switch {
	case s.Again == "answered":
		o.add(evidence.SessionRepeat, evidence.RepeatMixed, "session", s.At, "a second connection was answered")
	case s.Again == "ended" && s.End == "rst", s.Again == "silent" && s.End == "":
		o.add(evidence.SessionRepeat, evidence.RepeatSteady, "session", s.At, "a second connection fared the same")
	case s.Again != "":
		o.add(evidence.SessionRepeat, evidence.RepeatSteady, "session", s.At, "a second connection was not served, either: %s", s.Again)
	case served || s.Expect == "":
		o.add(evidence.SessionRepeat, evidence.NotAsked, "session", s.At, "no second connection was needed to tell whether the first failed by chance")
	}
}

// end: did the peer end the connection by itself, or because of our hello? The
// collector repeats a silent connection to tell; where it could not, no fact
// comes of it.
func (o *observer) end(s *evidence.Session) {
	if slices.ContainsFunc(s.NotChecked, func(n evidence.NotChecked) bool { return slices.Contains(n.Keys, evidence.SessionEnd) }) {
		return
	}
	switch s.End {
	case "rst":
		if s.Sent == 0 {
			o.add(evidence.SessionEnd, evidence.EndRST, "session", s.At+s.EndAt, "the peer reset the connection %s after the handshake", ms(s.EndAt))
		} else {
			o.add(evidence.SessionEnd, evidence.EndRSTAfter, "session", s.At+s.EndAt, "the peer reset the connection once it had our %s", orWord(s.Hello, "data"))
		}
	case "fin":
		switch {
		case s.Received > 0:
			o.add(evidence.SessionEnd, evidence.EndNone, "session", s.At+s.EndAt, "the peer answered before it closed the connection")
		case s.Sent == 0:
			o.add(evidence.SessionEnd, evidence.EndFIN, "session", s.At+s.EndAt, "the peer closed the connection %s after the handshake, without a byte", ms(s.EndAt))
		default:
			o.add(evidence.SessionEnd, evidence.EndFINAfter, "session", s.At+s.EndAt, "the peer closed the connection without a byte once it had our %s", orWord(s.Hello, "data"))
		}
	default:
		o.add(evidence.SessionEnd, evidence.EndNone, "session", s.At, "the peer kept the connection open")
	}
}

func (o *observer) reply(s *evidence.Session) {
	at := s.At + s.ReplyAfter
	switch {
	case s.TLS != nil && s.TLS.Problem == "not-tls",
		s.Got != "" && s.Expect != "" && s.Got != s.Expect && !(s.Expect == "tls" && s.Got == "http" && s.TLS != nil && s.TLS.OK):
		o.add(evidence.SessionReply, evidence.ReplyOther, "session", at, "%s was expected, %s answered%s", orWord(protocol(s.Expect), "TLS"), orWord(protocol(s.Got), "something else"), banner(s))
	case s.TLS != nil && !s.TLS.OK && s.TLS.Problem == "timeout":
		o.add(evidence.SessionReply, evidence.ReplyNothing, "session", at, "no answer to the TLS hello")
	case s.TLS != nil && !s.TLS.OK && (s.End == "" || s.Received > 0):
		o.add(evidence.SessionReply, evidence.ReplyTLSError, "session", at, "the TLS handshake fails: %s", orWord(s.TLS.Detail, s.TLS.Problem))
	case s.HTTP != nil && s.HTTP.Status >= 502 && s.HTTP.Status <= 504:
		o.add(evidence.SessionReply, evidence.ReplyGateway, "session", at, "%s answers HTTP status %d", orWord(s.HTTP.Server, "the server"), s.HTTP.Status)
	case s.End == "rst" && s.Received > 0:
		o.add(evidence.SessionReply, evidence.ReplyCut, "session", at, "the connection was reset after %s had come", plural(s.Received, "byte", "bytes"))
	case s.Received > 0 && s.Expect != "" && s.Got == "":
		o.add(evidence.SessionReply, evidence.ReplyOther, "session", at, "%s was expected, what answered is no protocol known here%s", protocol(s.Expect), banner(s))
	case s.Received > 0:
		o.add(evidence.SessionReply, evidence.ReplyExpected, "session", at, "%s answered after %s%s", orWord(protocol(s.Got), "the application"), ms(s.ReplyAfter), banner(s))
	case s.Expect == "" && s.Hello == "":
		o.add(evidence.SessionReply, evidence.NotAsked, "session", at, "the application was asked nothing: neither scheme nor port tells its protocol")
	default:
		o.add(evidence.SessionReply, evidence.ReplyNothing, "session", at, "the application answered nothing%s%s", to(s.Hello), within(s.Looked))
	}
}

// protocol spells the name of a protocol as people do.
func protocol(name string) string {
	switch name {
	case "tls", "http", "ssh", "smtp", "ftp", "imap", "pop3", "nats", "mqtt", "amqp":
		return strings.ToUpper(name)
	case "postgres":
		return "PostgreSQL"
	case "mysql":
		return "MySQL"
	case "redis":
		return "Redis"
	}
	return name
}

func to(hello string) string {
	if hello == "" {
		return ""
	}
	return " to our " + hello
}

func within(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return " in " + ms(d)
}

func banner(s *evidence.Session) string {
	if s.Banner == "" {
		return ""
	}
	line, _, _ := strings.Cut(s.Banner, `\r`)
	line, _, _ = strings.Cut(line, `\n`)
	const most = 60
	if len(line) > most {
		line = line[:most] + "…"
	}
	return ": " + strings.ToValidUTF8(line, "")
}

func (o *observer) large(s *evidence.Session) {
	m := s.MTU
	switch {
	case m == nil:
		o.add(evidence.SessionLarge, evidence.NotAsked, "session", s.At, "large segments were not tried")
	case m.LargeAcked:
		o.add(evidence.SessionLarge, evidence.LargePasses, "session", s.At, "%d bytes in full segments were acknowledged", m.LargeBytes)
	case m.SmallAcked && m.MSSAcked:
		o.add(evidence.SessionLarge, evidence.LargeStalls, "session", s.At, "segments of %d bytes vanish, the same data in segments of %d passes", m.MSS, m.MSSTried)
	case m.SmallAcked && m.MSSTried > 0:
		o.add(evidence.SessionLarge, evidence.LargeDead, "session", s.At, "small data passes, large does not, in segments of %d neither", m.MSSTried)
	}
}

// resetDistance compares who reset the connection with who opened it.
func (o *observer) resetDistance(v *view, s *evidence.Session) {
	if s.End != "rst" {
		return
	}
	var open, reset *evidence.Packet
	for i := range v.a.Packets {
		p := &v.a.Packets[i]
		if p.Kind != "tcp" || p.Outgoing || p.Src != v.a.Addr || p.Dst != v.main.Tuple.Local {
			continue
		}
		if open == nil && hasFlag(p.Flags, "SYN") {
			open = p
		} else if open != nil && hasFlag(p.Flags, "RST") {
			reset = p
		}
	}
	if open == nil || reset == nil {
		return
	}
	a, b := distanceOf(open.TTL), distanceOf(reset.TTL)
	val := evidence.DistanceHost
	switch {
	case b > a:
		val = evidence.DistanceFarther
	case b < a:
		val = evidence.DistanceNearer
	}
	o.add(evidence.SessionTTL, val, "packets", reset.At, "the SYN-ACK came from %s away (TTL %d), the RST from %s (TTL %d)",
		plural(a, "hop", "hops"), open.TTL, plural(b, "hop", "hops"), reset.TTL)
}

// synQueue: the counters are those of this network namespace, so a SYN that
// other programs lost counts, too; but it is lost here.
func (o *observer) synQueue(v *view, room bool) {
	c := v.a.Counters
	if c == nil || v.kind != evidence.AnswerNone || v.inCall() {
		return
	}
	full, drops := c.Delta["TcpExt.TCPReqQFullDrop"], c.Delta["TcpExt.ListenDrops"]
	switch {
	case full > 0:
		o.add(evidence.HostSYNQueue, evidence.Full, "counters", 0, "the table of half-open connections was full for %s (TCPReqQFullDrop)", plural(int(full), "SYN", "SYNs"))
	case drops > 0 && c.Delta["TcpExt.ListenOverflows"] == 0 && room:
		o.add(evidence.HostSYNQueue, evidence.Full, "counters", 0, "listeners here dropped %s, and not for a full accept queue (ListenDrops)", plural(int(drops), "SYN", "SYNs"))
	case drops == 0:
		o.add(evidence.HostSYNQueue, evidence.Free, "counters", 0, "no listener here dropped a SYN")
	}
}

// host derives what the socket table says when the target is this host.
func (o *observer) host(v *view) {
	if l := v.a.Listeners; l != nil && v.here && v.a.Host == nil {
		o.sockets(v, l)
	}
	if s := v.a.Session; s != nil && s.Queued != nil {
		text := "the application accepted the connection"
		if *s.Queued {
			text = "the connection still waits in the accept queue: the application never took it"
		}
		o.add(evidence.HostAccepted, yesNo(!*s.Queued), "listener", s.At, "%s", text)
	}
	if c := v.a.Counters; c != nil && v.here && v.a.Host == nil && v.kind == evidence.AnswerNone {
		if n := c.Delta["TcpExt.TCPMD5NotFound"]; n > 0 {
			o.add(evidence.HostDrop, evidence.DropMD5, "counters", 0, "the kernel dropped %s for want of a TCP-MD5 signature", plural(int(n), "segment", "segments"))
		}
	}
}

func (o *observer) sockets(v *view, l *evidence.Listeners) {
	port := v.a.Addr.Port()
	var serving *evidence.Listener
	loopback := len(l.OnPort) > 0
	for i := range l.OnPort {
		s := &l.OnPort[i]
		if s.Serves && serving == nil {
			serving = s
		}
		loopback = loopback && s.Addr.Addr().IsLoopback()
	}
	switch {
	case serving != nil:
		o.add(evidence.HostSockets, evidence.SocketsServe, "listener", l.At, "a socket%s listens at %v", by(serving), serving.Addr)
		// Linux takes no SYN once the queue is longer than the backlog
		// (sk_acceptq_is_full in include/net/sock.h).
		if serving.Queue > serving.Backlog {
			o.add(evidence.HostQueue, evidence.Full, "listener", l.At, "its accept queue is full: %d waiting, backlog %d", serving.Queue, serving.Backlog)
		} else {
			o.add(evidence.HostQueue, evidence.Free, "listener", l.At, "its accept queue has room: %d waiting, backlog %d", serving.Queue, serving.Backlog)
			o.synQueue(v, true)
		}
	case len(l.OnPort) == 0:
		o.add(evidence.HostSockets, evidence.SocketsNone, "listener", l.At, "no socket of this host listens on port %d (%s in all)", port, plural(l.Total, "listening socket", "listening sockets"))
	case loopback:
		o.add(evidence.HostSockets, evidence.SocketsLoopback, "listener", l.At, "port %d is listened on at %v only%s", port, l.OnPort[0].Addr, by(&l.OnPort[0]))
	default:
		o.add(evidence.HostSockets, evidence.SocketsElsewhere, "listener", l.At, "port %d is listened on at %v%s, not at %v", port, l.OnPort[0].Addr, by(&l.OnPort[0]), v.addr())
	}
	if serving == nil && len(l.OnPort) > 0 {
		o.add(evidence.HostService, evidence.ServiceRunning, "listener", l.At, "port %d is taken%s", port, by(&l.OnPort[0]))
	}
}

func by(l *evidence.Listener) string {
	if l.Process == "" {
		return ""
	}
	return " by " + l.Process
}
