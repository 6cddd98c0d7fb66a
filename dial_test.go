package tcpwhy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/flow"
	"github.com/tcpwhy/tcpwhy/internal/report/reporttest"
)

// enough is more than any diagnosis on the loopback address takes.
const enough = 20 * time.Second

func TestDiagnose(t *testing.T) {
	closed := closedPort(t)
	d, err := Diagnose(t.Context(), closed, ConnectTimeout(time.Second), Patience(time.Second/2), Source(netip.MustParseAddr("127.0.0.1")))
	if err != nil {
		t.Fatal(err)
	}
	if d.Outcome != Refused || d.Target != closed || len(d.Candidates) == 0 || d.Candidates[0].ID != d.Cause || d.Candidates[0].Title == "" {
		t.Errorf("%+v", d)
	}
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	if err := reporttest.Validate(append(text, '\n')); err != nil {
		t.Error(err)
	}
	if s := d.String(); !strings.Contains(s, closed) || !strings.Contains(s, "refused") {
		t.Error(s)
	}
}

func TestDiagnoseWhatWorks(t *testing.T) {
	open := handled(t, func(c net.Conn) { c.Read(make([]byte, 1)) })
	d, err := Diagnose(t.Context(), open, Gentle())
	if err != nil || d.Outcome != Open || d.Cause != "none" {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestDiagnoseWrongCalls(t *testing.T) {
	var bad *flow.TargetError
	if _, err := Diagnose(t.Context(), "db"); !errors.As(err, &bad) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Diagnose(ctx, "127.0.0.1:1"); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestDialer(t *testing.T) {
	closed := closedPort(t)
	d := &Dialer{Extra: enough}
	_, err := d.Dial("tcp", closed)
	var why *Error
	if !errors.As(err, &why) || why.Diagnosis.Outcome != Refused || why.Explanation.Kind != "refused" || why.Explanation.Target() != closed {
		t.Fatalf("%v", err)
	}
	var op *net.OpError
	if !errors.Is(err, syscall.ECONNREFUSED) && !why.Explanation.Known() || !errors.As(err, &op) || op.Op != "dial" {
		t.Errorf("the error of net is lost: %v", err)
	}
	if n, ok := err.(net.Error); !ok || n.Timeout() {
		t.Errorf("%v is no net.Error, or times out", err)
	}
	if !strings.HasPrefix(err.Error(), op.Error()) || !strings.Contains(err.Error(), why.Diagnosis.Finding) {
		t.Errorf("%v", err)
	}
	if e := Explain(err); e.Kind != "refused" {
		t.Errorf("explained again it is %q", e.Kind)
	}
}

func TestDialerUnasked(t *testing.T) {
	closed := closedPort(t)
	_, err := (&Dialer{}).Dial("tcp", closed)
	var why *Error
	if err == nil || errors.As(err, &why) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = (&Dialer{Extra: enough}).DialContext(ctx, "tcp", closed)
	if err == nil || errors.As(err, &why) {
		t.Errorf("who gave up gets a diagnosis: %v", err)
	}
	_, err = (&Dialer{Extra: enough}).Dial("unix", "/nowhere/at/all")
	if err == nil || errors.As(err, &why) {
		t.Errorf("%v", err)
	}
}

// TestDialerAfterTheDeadline: the deadline of the dial is over, and Extra is
// for the diagnosis.
func TestDialerAfterTheDeadline(t *testing.T) {
	closed := closedPort(t)
	ctx, cancel := context.WithDeadline(t.Context(), time.Unix(1, 0))
	defer cancel()
	_, err := (&Dialer{Extra: enough}).DialContext(ctx, "tcp", closed)
	var why *Error
	if !errors.As(err, &why) || why.Diagnosis.Outcome != Refused {
		t.Fatalf("%v", err)
	}
	if n, ok := err.(net.Error); !ok || !n.Timeout() {
		t.Errorf("the timeout is lost: %v", err)
	}
}

// TestDialerIsNoStorm: of many dials that fail at the same time at least one is
// diagnosed, and none while another one is.
func TestDialerIsNoStorm(t *testing.T) {
	closed := closedPort(t)
	d := &Dialer{Extra: enough}
	d.busy.Store(true)
	_, err := d.Dial("tcp", closed)
	var why *Error
	if errors.As(err, &why) {
		t.Errorf("a second diagnosis at the same time: %v", err)
	}
	d.busy.Store(false)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if conn, err := d.Dial("tcp", closed); err == nil {
				conn.Close()
				t.Error("it works")
			}
		})
	}
	wg.Wait()
	if _, err := d.Dial("tcp", closed); !errors.As(err, &why) {
		t.Errorf("none is diagnosed any more: %v", err)
	}
}

func TestTransport(t *testing.T) {
	closed := closedPort(t)
	_, port, _ := net.SplitHostPort(closed)
	direct := &http.Transport{}
	defer direct.CloseIdleConnections()
	proxied := &http.Transport{Proxy: proxy("http://" + closed)}
	for _, c := range []struct {
		base *http.Transport
		url  string
	}{{direct, "http://localhost:" + port + "/?token=x"}, {direct, "http://" + closed + "/"}, {proxied, "http://www.example/"}} {
		client := &http.Client{Transport: &Transport{Base: c.base, Extra: enough}}
		_, err := client.Get(c.url)
		var why *Error
		if !errors.As(err, &why) || why.Diagnosis.Outcome != Refused || !strings.HasSuffix(why.Diagnosis.Target, ":"+port) {
			t.Errorf("%s: %v", c.url, err)
		}
		if e := Explain(err); e.Kind != "refused" {
			t.Errorf("%s: %v", c.url, e)
		}
	}
}

// TestTransportOfADialer: both asked is one diagnosis.
func TestTransportOfADialer(t *testing.T) {
	closed := closedPort(t)
	d := &Dialer{Extra: enough}
	client := &http.Client{Transport: &Transport{Base: &http.Transport{DialContext: d.DialContext}, Extra: enough}}
	_, err := client.Get("http://" + closed + "/")
	var why *Error
	if !errors.As(err, &why) {
		t.Fatal(err)
	}
	if n := strings.Count(err.Error(), why.Diagnosis.Finding); n != 1 {
		t.Errorf("the finding stands %d times: %v", n, err)
	}
}

func TestTransportPassesOn(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("hello")) }))
	defer server.Close()
	transport := &Transport{Extra: enough}
	resp, err := (&http.Client{Transport: transport}).Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	if b.ReadFrom(resp.Body); b.String() != "hello" {
		t.Errorf("%q", b.String())
	}
	transport.CloseIdleConnections()
	// An error after the dial is no failed dial.
	ends := handled(t, func(c net.Conn) { c.Read(make([]byte, 4096)) })
	_, err = (&http.Client{Transport: transport}).Get("http://" + ends + "/")
	var why *Error
	if err == nil || errors.As(err, &why) {
		t.Errorf("%v", err)
	}
}

func BenchmarkDial(b *testing.B) {
	address := handled(b, func(net.Conn) {})
	for _, c := range []struct {
		name string
		dial func(ctx context.Context, network, address string) (net.Conn, error)
	}{
		{"net", (&net.Dialer{}).DialContext},
		{"tcpwhy", (&Dialer{Extra: enough}).DialContext},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				conn, err := c.dial(b.Context(), "tcp", address)
				if err != nil {
					b.Fatal(err)
				}
				conn.(*net.TCPConn).SetLinger(0) // no port is kept in TIME-WAIT
				conn.Close()
			}
		})
	}
}

type answering struct{ resp http.Response }

func (a *answering) RoundTrip(*http.Request) (*http.Response, error) { return &a.resp, nil }

func BenchmarkRoundTrip(b *testing.B) {
	r := httptest.NewRequest("GET", "http://192.0.2.7/", nil)
	base := &answering{}
	for name, rt := range map[string]http.RoundTripper{"base": base, "tcpwhy": &Transport{Base: base, Extra: enough}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := rt.RoundTrip(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkExplain(b *testing.B) {
	_, err := net.Dial("tcp", closedPort(b))
	b.ReportAllocs()
	for b.Loop() {
		if !Explain(err).Known() {
			b.Fatal(err)
		}
	}
}

// TestNoCostOnSuccess holds the allocations of a dial that works to those of
// net.Dialer.
func TestNoCostOnSuccess(t *testing.T) {
	base := &answering{}
	r := httptest.NewRequest("GET", "http://192.0.2.7/", nil)
	transport := &Transport{Base: base, Extra: enough}
	if n := testing.AllocsPerRun(100, func() { transport.RoundTrip(r) }); n != 0 {
		t.Errorf("a round trip allocates %v times", n)
	}
	address := handled(t, func(net.Conn) {})
	allocs := func(dial func(network, address string) (net.Conn, error)) float64 {
		return testing.AllocsPerRun(50, func() {
			conn, err := dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			conn.(*net.TCPConn).SetLinger(0)
			conn.Close()
		})
	}
	plain, ours := allocs((&net.Dialer{}).Dial), allocs((&Dialer{Extra: enough}).Dial)
	if ours > plain+1 { // the server's side of the test allocates, too
		t.Errorf("a dial allocates %v times, that of net %v", ours, plain)
	}
}
