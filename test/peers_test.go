//go:build linux

package test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/tcpwhy/tcpwhy/internal/lab"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// Peers that never end, and peers that send what a terminal would obey.
func (f faults) peers(t *testing.T) {
	l := f.open(t, "none-own-link")
	escapes := "\x1b[31m\x1b]0;owned\x07\x9b31m\u009b2J\xff\xfe\xc3\x28\u202e\x7f\x00\r\n"
	serve := func(port uint16, handle func(net.Conn)) {
		serveAt(t, l, lab.Server, netip.AddrPortFrom(l.Addr(lab.Server), port), handle)
	}
	forever := func(first string, what []byte, pause time.Duration) func(net.Conn) {
		return func(c net.Conn) {
			go io.Copy(io.Discard, c) // so that what we sent draws no RST
			for _, err := io.WriteString(c, first); err == nil; _, err = c.Write(what) {
				if pause > 0 {
					time.Sleep(pause)
				}
			}
		}
	}
	once := func(s string) func(net.Conn) {
		return func(c net.Conn) {
			io.WriteString(c, s)
			io.Copy(io.Discard, c)
		}
	}
	const ok = "HTTP/1.1 200 OK\r\n"
	noise := bytes.Repeat([]byte("x"), 64<<10)
	for port, handle := range map[uint16]func(net.Conn){
		7001: forever("", noise, 0),
		7002: forever("", []byte("x"), time.Second),
		7003: once(escapes),
		7004: forever("", []byte(escapes), 0),
		7005: forever(ok+"X: ", noise, 0), // a header without an end
		7006: forever(ok, []byte("X-Header: x\r\n"), 0),
		7007: once(ok + "Server: " + escapes + "\r\n"),
		7008: once("SSH-2.0-" + escapes),
		7009: once("HTTP/1.1 999999999999 \x1b[1m\r\nContent-Length: -1\r\n\r\n"),
		7010: once("HTTP/1.1 502 Bad\r\nServer: \x1b[1mx\u009b\r\n\r\n"),
		7011: once("\x16\x03\x03\xff\xff"), // a TLS record of 64 KiB that does not come
		7012: once("\x15\x03\x03\x00\x02\x02\x28"),
		7013: forever("\x16\x03\x03\x40\x00", noise, 0),
		7014: forever("-ERR ", noise, 0),
	} {
		serve(port, handle)
	}
	for port := 7001; port <= 7014; port++ {
		for _, scheme := range []string{"", "http://", "https://", "ssh://", "postgres://"} {
			t.Run(fmt.Sprintf("%s%d", scheme, port), func(t *testing.T) {
				t.Parallel()
				target := fmt.Sprintf("%s%v:%d", scheme, l.Addr(lab.Server), port)
				ordinary := port%2 == 0
				r := f.run(t, l, ordinary, "-o", "json", target)
				if r.code != 0 && r.code != 1 {
					t.Errorf("exit code %d: %s", r.code, r.stdout)
				}
				r.json(t)
				clean(t, r.stdout)
				// One scheme each is enough for the text, which has the same sources.
				if scheme == "" || scheme == "http://" {
					clean(t, f.run(t, l, ordinary, "-v", target).stdout)
				}
			})
		}
	}
}

// What answers in no protocol at all is not what a URL asked for, and is fine
// where nothing was asked for.
func (f faults) babble(t *testing.T) {
	l := f.open(t, "none-own-link")
	at := netip.AddrPortFrom(l.Addr(lab.Server), 7001)
	serveAt(t, l, lab.Server, at, func(c net.Conn) {
		io.WriteString(c, "?what are you saying\r\n")
		io.Copy(io.Discard, c)
	})
	for _, scheme := range []string{"http", "https", "ssh", "smtp", "postgres", "mysql", "redis"} {
		t.Run(scheme, func(t *testing.T) {
			both(t, func(t *testing.T, ordinary bool) {
				f.run(t, l, ordinary, "-o", "json", scheme+"://"+at.String()).says(t, 1, "degraded", "wrong-protocol")
			})
		})
	}
	f.run(t, l, true, "-o", "json", at.String()).says(t, 0, "open", "none")
}

// clean says that nothing in a text could control a terminal.
func clean(t *testing.T, s string) {
	t.Helper()
	if !utf8.ValidString(s) {
		t.Errorf("not UTF-8: %q", s)
	}
	bad := func(r rune) bool {
		return r < ' ' && r != '\n' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
	}
	if i := strings.IndexFunc(s, bad); i >= 0 {
		t.Errorf("a raw control character: %q", s[max(0, i-60):min(len(s), i+60)])
	}
}

// serveAt serves on a host of the lab until the test ends.
func serveAt(t *testing.T, l *lab.Lab, host string, at netip.AddrPort, handle func(net.Conn)) {
	t.Helper()
	var ln net.Listener
	err := l.Do(host, func() (err error) {
		ln, err = new(net.ListenConfig).Listen(t.Context(), "tcp", at.String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	nettest.Serve(t, ln, handle)
}

// Name servers that answer what is no answer.
func (f faults) resolver(t *testing.T) {
	header := func(id uint16, rest ...byte) []byte { return append(binary.BigEndian.AppendUint16(nil, id), rest...) }
	for name, answers := range map[string]func(query []byte) [][]byte{
		"garbage": func([]byte) [][]byte { return [][]byte{bytes.Repeat([]byte{0xff}, 100)} },
		"empty":   func([]byte) [][]byte { return [][]byte{{}} },
		"echo":    func(q []byte) [][]byte { return [][]byte{q} },
		"short":   func(q []byte) [][]byte { return [][]byte{q[:7]} },
		"pointer-loop": func(q []byte) [][]byte {
			return [][]byte{append(header(id(q), 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0), 0xc0, 12, 0, 1, 0, 1)}
		},
		"wrong-id": func(q []byte) [][]byte { return [][]byte{accept(q, id(q)+1)} },
		"wrong-name": func(q []byte) [][]byte {
			a := accept(q, id(q))
			a[13] ^= 1
			return [][]byte{a}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := f.open(t, "none-own-link")
			nameServer(t, l, answers)
			both(t, func(t *testing.T, ordinary bool) {
				r := f.run(t, l, ordinary, "-o", "json", "app.example:8080")
				a := r.json(t)
				if a.Outcome != "name-error" || r.code != 1 && r.code != 3 {
					t.Errorf("exit code %d, %s, %v: %s", r.code, a.Outcome, a.Verdict.Candidates, a.Verdict.Finding)
				}
				if a.Verdict.Certainty == "certain" && strings.HasPrefix(a.Verdict.Cause, "name-") {
					t.Errorf("the name is not to blame: %s", a.Verdict.Finding)
				}
			})
		})
	}
	t.Run("right after wrong", func(t *testing.T) {
		t.Parallel()
		l := f.open(t, "none-own-link")
		nameServer(t, l, func(q []byte) [][]byte {
			return [][]byte{bytes.Repeat([]byte{0xff}, 20), accept(q, id(q)+1), accept(q, id(q))}
		})
		f.run(t, l, true, "-o", "json", "app.example:8080").says(t, 0, "open", "none")
	})
	t.Run("international", func(t *testing.T) {
		t.Parallel()
		l := f.open(t, "name-not-found")
		a := f.run(t, l, true, "-o", "json", "Bücher.example:8080").says(t, 1, "name-error", "name-not-found")
		if a.Target.Host != "xn--bcher-kva.example" {
			t.Errorf("host %q", a.Target.Host)
		}
	})
}

func id(message []byte) uint16 { return binary.BigEndian.Uint16(message) }

// accept answers a query for an A record with the server's address, and any
// other one with no records.
func accept(query []byte, id uint16) []byte {
	end := 12
	for query[end] != 0 {
		end += 1 + int(query[end])
	}
	end += 5
	a := binary.BigEndian.AppendUint16(nil, id)
	if binary.BigEndian.Uint16(query[end-4:]) != 1 {
		return append(append(a, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0), query[12:end]...)
	}
	a = append(append(a, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0), query[12:end]...)
	a = append(a, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4)
	return append(a, net.ParseIP(siteAddr).To4()...)
}

// nameServer answers queries over UDP at the lab's resolver, which in a lab of
// one link is the server.
func nameServer(t *testing.T, l *lab.Lab, answers func(query []byte) [][]byte) {
	t.Helper()
	var pc net.PacketConn
	err := l.Do(lab.Server, func() (err error) {
		pc, err = new(net.ListenConfig).ListenPacket(t.Context(), "udp", netip.AddrPortFrom(l.Addr(lab.Server), 53).String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	go func() {
		buf := make([]byte, 64<<10)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			for _, a := range answers(buf[:n]) {
				pc.WriteTo(a, from)
			}
		}
	}()
}

// The packets of others to the same port are no evidence: an attempt that
// fails before it sends anything shows none, and one that works shows its own.
func (f faults) strangers(t *testing.T) {
	l := f.open(t, "none")
	serveAt(t, l, lab.Client, netip.MustParseAddrPort("10.77.1.2:4000"), func(net.Conn) {})
	busy := l.Command(lab.Client, true, "bash", "-c", "while :; do (exec 3<>/dev/tcp/10.77.3.2/8080; echo >&3) 2>/dev/null; done")
	if err := busy.Start(); err != nil {
		t.Fatal(err)
	}
	defer busy.Wait()
	defer busy.Process.Kill()
	for range 5 {
		a := f.run(t, l, false, "-o", "json", "--source", "10.77.1.2:4000", l.Target()).says(t, 1, "local-error", "source-port-busy")
		for _, addr := range a.Addresses {
			if len(addr.Packets) > 0 {
				t.Fatalf("packets of others: %s", addr.Packets)
			}
		}
		f.run(t, l, false, "-o", "json", l.Target()).says(t, 0, "open", "none")
		text := f.run(t, l, false, "--source", "10.77.1.2:4000", l.Target()).stdout
		if strings.Contains(text, "bytes ──") || strings.Contains(text, "bytes --") {
			t.Fatalf("packets of others:\n%s", text)
		}
	}
}
