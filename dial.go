package tcpwhy

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// Dialer is a net.Dialer whose errors can say why. A dial that works does
// nothing more than that of net.Dialer.
//
// It must not be copied after its first use.
type Dialer struct {
	net.Dialer
	// Extra asks for a diagnosis of a failed TCP dial and is the time that it may
	// take beyond the dial. 0 asks for none: errors are returned as they are.
	Extra time.Duration
	// Options are those of the diagnosis.
	Options []Option

	busy atomic.Bool
}

// Dial is DialContext without a context.
func (d *Dialer) Dial(network, address string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, address)
}

// DialContext connects as net.Dialer does. With Extra, the error of a failed
// TCP dial is an *Error, which unwraps to the error of net.Dialer.
//
// The diagnosis may go on after the deadline of ctx, for Extra at most, but ends
// when ctx is cancelled. While one runs, further dials of the same Dialer that
// fail are not diagnosed, so that a server that is down gets no storm.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := d.Dialer.DialContext(ctx, network, address)
	if err == nil || d.Extra <= 0 || !strings.HasPrefix(network, "tcp") {
		return conn, err
	}
	return nil, investigate(ctx, err, address, d.Extra, d.Options, &d.busy)
}

// Transport is an http.RoundTripper that adds a diagnosis to the error of a
// request whose connection could not be opened. A request that gets an answer
// does nothing more than that of Base.
//
// It must not be copied after its first use.
type Transport struct {
	// Base sends the requests; nil is http.DefaultTransport.
	Base http.RoundTripper
	// Extra is as in Dialer.
	Extra time.Duration
	// Options are those of the diagnosis.
	Options []Option

	busy atomic.Bool
}

// RoundTrip sends a request. The error of a failed dial is an *Error, as of
// Dialer, which unwraps to that of Base.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	base := t.Base
	if base == nil {
		base = http.DefaultTransport
	}
	resp, err := base.RoundTrip(r)
	if err == nil || t.Extra <= 0 {
		return resp, err
	}
	var known *Error
	address, ok := dialled(err, r.URL)
	if !ok || errors.As(err, &known) {
		return resp, err
	}
	return resp, investigate(r.Context(), err, address, t.Extra, t.Options, &t.busy)
}

// CloseIdleConnections closes those of Base, for http.Client.
func (t *Transport) CloseIdleConnections() {
	base := t.Base
	if base == nil {
		base = http.DefaultTransport
	}
	if c, ok := base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// dialled is whom a failed request could not connect to: the server, or the
// proxy that the errors name.
func dialled(err error, u *url.URL) (string, bool) {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "dial" && op.Op != "proxyconnect" {
		return "", false
	}
	t := target(&url.Error{URL: u.String(), Err: err}, byType(err).Op)
	if t.IsZero() || t.Port == 0 {
		return "", false
	}
	return t.String(), true
}

// Error is the error of a failed dial with what was found out about it.
type Error struct {
	// Err is the error of the dial.
	Err error
	// Explanation is what Err alone says.
	Explanation Explanation
	// Diagnosis is what looking further gave.
	Diagnosis *Diagnosis
}

// Error is the text of Err, and the finding behind it.
func (e *Error) Error() string {
	if e.Diagnosis.Outcome == Open {
		return e.Err.Error() + " (tried again: " + e.Diagnosis.Finding + ")"
	}
	return e.Err.Error() + " (" + string(e.Diagnosis.Certainty) + ": " + e.Diagnosis.Finding + ")"
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Timeout says whether Err is a timeout, for net.Error.
func (e *Error) Timeout() bool {
	var n net.Error
	return errors.As(e.Err, &n) && n.Timeout()
}

// Temporary is what Err says of itself, for net.Error.
//
// Deprecated: as that of net.Error.
func (e *Error) Temporary() bool {
	var n interface{ Temporary() bool }
	return errors.As(e.Err, &n) && n.Temporary()
}

var _ net.Error = (*Error)(nil)

// investigate adds a diagnosis to the error of a dial, in the time that there
// is. The error is returned as it is if the caller gave up, if one is being made
// already, and if nothing is known that the error does not say.
func investigate(ctx context.Context, err error, address string, extra time.Duration, opts []Option, busy *atomic.Bool) (result error) {
	if errors.Is(ctx.Err(), context.Canceled) || !busy.CompareAndSwap(false, true) {
		return err
	}
	defer busy.Store(false)
	defer func() {
		if recover() != nil {
			result = err // a mistake of ours must not end a program over a failed dial
		}
	}()
	// The deadline of the dial has passed perhaps, and is not that of the
	// diagnosis; that the caller gives up is.
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), extra)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.Canceled) {
			cancel()
		}
	})
	defer stop()
	d, failed := Diagnose(limited, address, opts...)
	if failed != nil || d.Certainty == Unknown {
		return err
	}
	return &Error{Err: err, Explanation: Explain(err), Diagnosis: d}
}
