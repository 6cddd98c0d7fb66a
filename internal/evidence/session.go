package evidence

import "time"

// Session is what happened after the handshake.
type Session struct {
	At time.Duration `json:"at"`
	// Expect is the protocol that scheme or port make us expect ("tls",
	// "http", "ssh", "smtp", "postgres", "mysql", "redis"), or "".
	Expect string `json:"expect,omitempty"`
	// Got is the protocol that what came back looks like, or "" when nothing
	// recognisable came.
	Got string `json:"got,omitempty"`
	// End is how the peer ended the connection by itself: "rst", "fin", or ""
	// when it did not within the time looked.
	End   string        `json:"end,omitempty"`
	EndAt time.Duration `json:"end_at,omitempty"` // since the handshake
	// Looked is for how long we listened before concluding there was no end.
	Looked time.Duration `json:"looked,omitempty"`
	// Sent and Received count payload bytes. Banner is the first bytes
	// received, escaped, at most 200 characters.
	Sent     int    `json:"sent,omitempty"`
	Received int    `json:"received,omitempty"`
	Banner   string `json:"banner,omitempty"`
	// Hello says what we sent: "tls client hello", "http head", "" for nothing.
	Hello string `json:"hello,omitempty"`
	// Acked says whether the peer's TCP acknowledged all we sent
	// (tcpi_unacked = 0 and nothing unsent); nil if nothing was sent.
	Acked *bool `json:"acked,omitempty"`
	// ReplyAfter is the time from our hello (or the handshake) to the first
	// byte; 0 when none came.
	ReplyAfter time.Duration `json:"reply_after,omitempty"`
	// Again is what came of a second connection with the same hello, made where
	// the first was reset or not served at all: "answered", "ended" or "silent";
	// "" where none was made.
	Again string    `json:"again,omitempty"`
	TLS   *TLS      `json:"tls,omitempty"`
	HTTP  *HTTP     `json:"http,omitempty"`
	MTU   *MTUCheck `json:"mtu,omitempty"`
	// WindowZero says the peer's receive window stayed closed while we had
	// data to send, and its TCP answered the window probes.
	WindowZero bool       `json:"window_zero,omitempty"`
	Idle       *IdleCheck `json:"idle,omitempty"`
	// Queued says, for a server on this host, whether the connection was
	// still waiting in the accept queue at the end; nil if not known.
	Queued     *bool        `json:"queued,omitempty"`
	NotChecked []NotChecked `json:"not_checked,omitempty"`
}

// TLS is the result of a TLS handshake.
type TLS struct {
	OK      bool   `json:"ok"`
	Version string `json:"version,omitempty"` // "TLS 1.3"
	// Problem is "", "alert", "not-tls", "name-mismatch", "expired",
	// "not-yet-valid", "unknown-issuer", "version", "timeout" or "other".
	Problem  string    `json:"problem,omitempty"`
	Detail   string    `json:"detail,omitempty"` // escaped and bounded
	Alert    string    `json:"alert,omitempty"`
	Names    []string  `json:"names,omitempty"` // at most 10 of the certificate
	NotAfter time.Time `json:"not_after,omitzero"`
	Issuer   string    `json:"issuer,omitempty"`
}

// HTTP is the answer to a HEAD request.
type HTTP struct {
	Status int    `json:"status"`
	Server string `json:"server,omitempty"` // escaped and bounded
}

// MTUCheck compares a small and a large segment on the same path.
type MTUCheck struct {
	SmallAcked bool `json:"small_acked"`
	LargeBytes int  `json:"large_bytes"`
	LargeAcked bool `json:"large_acked"`
	// MSSTried is a smaller segment size that was tried after a stall, and
	// MSSAcked whether that passed.
	MSSTried int  `json:"mss_tried,omitempty"`
	MSSAcked bool `json:"mss_acked,omitempty"`
	MSS      int  `json:"mss"` // segment size used first
}

// IdleCheck is the bisected search for an idle limit on the way.
type IdleCheck struct {
	Survived      time.Duration `json:"survived"`                 // longest idle time after which data still passed
	Died          time.Duration `json:"died,omitempty"`           // shortest idle time after which it did not; 0 if none
	KeepaliveHeld *bool         `json:"keepalive_held,omitempty"` // with keepalive the same idle time was survived
}
