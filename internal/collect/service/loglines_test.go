package service

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// Lines of real servers (nginx 1.22, Apache 2.4, PostgreSQL 15, Redis 7.0,
// HAProxy 2.6, Node.js 20, Python 3.11, Java, Go), and of others as their sources
// and documentation have them.
var lines = []struct {
	text string
	from origin
	kind evidence.LogKind
	addr string // "" for none, "192.0.2.1" without port
}{
	{`2026/11/21 10:15:53 [emerg] 8449#8449: bind() to 0.0.0.0:80 failed (98: Address already in use)`, fromProgram, evidence.LogBindInUse, "0.0.0.0:80"},
	{`2026/11/21 10:15:53 [emerg] 8449#8449: bind() to [::]:80 failed (98: Address already in use)`, fromProgram, evidence.LogBindInUse, "[::]:80"},
	{`2026/11/21 10:15:57 [emerg] 8618#8618: bind() to 0.0.0.0:80 failed (13: Permission denied)`, fromProgram, evidence.LogBindDenied, "0.0.0.0:80"},
	{`2026/11/21 10:15:57 [emerg] 8631#8631: bind() to 192.0.2.1:80 failed (99: Cannot assign requested address)`, fromProgram, evidence.LogBindNoAddress, "192.0.2.1:80"},
	{`(98)Address already in use: AH00072: make_sock: could not bind to address [::]:80`, fromProgram, evidence.LogBindInUse, "[::]:80"},
	{`(13)Permission denied: AH00072: make_sock: could not bind to address 0.0.0.0:80`, fromProgram, evidence.LogBindDenied, "0.0.0.0:80"},
	{`8453:M 21 Nov 2026 10:15:55.822 # Warning: Could not create server TCP listening socket *:6379: bind: Address already in use`, fromProgram, evidence.LogBindInUse, "[::]:6379"},
	{`8453:M 21 Nov 2026 10:15:55.822 # Warning: Could not create server TCP listening socket ::*:6379: bind: Address already in use`, fromProgram, evidence.LogBindInUse, "[::]:6379"},
	{`8628:M 21 Nov 2026 10:15:57.699 # Warning: Could not create server TCP listening socket 192.0.2.1:7000: bind: Cannot assign requested address`, fromProgram, evidence.LogBindNoAddress, "192.0.2.1:7000"},
	{`8622:M 21 Nov 2026 10:15:57.628 # Warning: Could not create server TCP listening socket *:81: bind: Permission denied`, fromProgram, evidence.LogBindDenied, "[::]:81"},
	{`error: Bind to port 22 on 0.0.0.0 failed: Address already in use.`, fromProgram, evidence.LogBindInUse, "0.0.0.0:22"},
	{`error: Bind to port 22 on :: failed: Address already in use.`, fromProgram, evidence.LogBindInUse, "[::]:22"},
	{`[ALERT]    (8458) : Binding [h.cfg:7] for frontend f: cannot bind socket (Address already in use) for [0.0.0.0:80]`, fromProgram, evidence.LogBindInUse, "0.0.0.0:80"},
	{`2026-11-21T10:15:53.1Z 0 [ERROR] [MY-010262] [Server] Can't start server: Bind on TCP/IP port: Address already in use`, fromProgram, evidence.LogBindInUse, ""},
	{`{"t":{"$date":"2026-01-02T03:04:05.678+00:00"},"s":"E","c":"NETWORK","id":23024,"ctx":"initandlisten","msg":"Failed to bind to address","attr":{"address":"127.0.0.1:27017","error":"Address already in use"}}`, fromProgram, evidence.LogBindInUse, "127.0.0.1:27017"},
	{`2026-11-21 10:15:57.586 UTC [8614] LOG:  could not bind IPv4 address "127.0.0.1": Address already in use`, fromProgram, evidence.LogBindInUse, "127.0.0.1"},
	{`2026-11-21 10:15:57.586 UTC [8614] LOG:  could not bind IPv6 address "::1": Cannot assign requested address`, fromProgram, evidence.LogBindNoAddress, "::1"},
	{`2026/11/21 10:00:00 listen tcp :8080: bind: address already in use`, fromProgram, evidence.LogBindInUse, "[::]:8080"},
	{`listen tcp 0.0.0.0:43525: bind: address already in use`, fromProgram, evidence.LogBindInUse, "0.0.0.0:43525"},
	{`listen tcp [::1]:81: bind: permission denied`, fromProgram, evidence.LogBindDenied, "[::1]:81"},
	{`OSError: [Errno 98] Address already in use`, fromProgram, evidence.LogBindInUse, ""},
	{`OSError: [Errno 98] error while attempting to bind on address ('0.0.0.0', 8000): address already in use`, fromProgram, evidence.LogBindInUse, "0.0.0.0:8000"},
	{`OSError: [Errno 98] error while attempting to bind on address ('::1', 8000, 0, 0): address already in use`, fromProgram, evidence.LogBindInUse, "[::1]:8000"},
	{`[ERROR] Connection in use: ('0.0.0.0', 8000)`, fromProgram, evidence.LogBindInUse, "0.0.0.0:8000"},
	{`Exception in thread "main" java.net.BindException: Address already in use`, fromProgram, evidence.LogBindInUse, ""},
	{`java.net.BindException: Permission denied (Bind failed)`, fromProgram, evidence.LogBindDenied, ""},
	{`Web server failed to start. Port 8080 was already in use.`, fromProgram, evidence.LogBindInUse, "[::]:8080"},
	{`Error: listen EADDRINUSE: address already in use :::3000`, fromProgram, evidence.LogBindInUse, "[::]:3000"},
	{`Error: listen EADDRINUSE: address already in use 127.0.0.1:3000`, fromProgram, evidence.LogBindInUse, "127.0.0.1:3000"},
	{`Error: listen EACCES: permission denied 0.0.0.0:80`, fromProgram, evidence.LogBindDenied, "0.0.0.0:80"},
	{`Error: listen EADDRNOTAVAIL: address not available 192.0.2.1:3001`, fromProgram, evidence.LogBindNoAddress, "192.0.2.1:3001"},
	{`Error: Os { code: 98, kind: AddrInUse, message: "Address already in use" }`, fromProgram, evidence.LogBindInUse, ""},
	{`thread 'main' panicked at src/main.rs:5:51: called Result::unwrap() on an Err value: Os { code: 98, kind: AddrInUse, message: "Address already in use" }`, fromProgram, evidence.LogBindInUse, ""},
	{`Error starting userland proxy: listen tcp4 0.0.0.0:80: bind: address already in use`, fromProgram, evidence.LogBindInUse, "0.0.0.0:80"},
	{`driver failed programming external connectivity on endpoint web (abc): Bind for 0.0.0.0:8080 failed: port is already allocated`, fromProgram, evidence.LogBindInUse, "0.0.0.0:8080"},
	{`web.socket: Failed to create listening socket (127.0.0.1:8080): Address already in use`, fromManager, evidence.LogBindInUse, "127.0.0.1:8080"},
	{`failed to listen on TCP port 11211: Address already in use`, fromProgram, evidence.LogBindInUse, "[::]:11211"},

	{`panic: assignment to entry in nil map`, fromProgram, evidence.LogPanic, ""},
	{`fatal error: all goroutines are asleep - deadlock!`, fromProgram, evidence.LogPanic, ""},
	{`Exception in thread "main" java.lang.IllegalStateException: no`, fromProgram, evidence.LogPanic, ""},
	{`java.lang.OutOfMemoryError: Java heap space`, fromProgram, evidence.LogPanic, ""},
	{`thread 'main' panicked at 'index out of bounds', src/main.rs:3:5`, fromProgram, evidence.LogPanic, ""},
	{`nginx[4711]: segfault at 0 ip 000055d0 sp 00007ffd error 4 in nginx[55d0+1000]`, fromKernel, evidence.LogPanic, ""},
	{`traps: prog[12] trap invalid opcode ip:55 sp:7f error:0 in prog[55+1]`, fromKernel, evidence.LogPanic, ""},
	{`Out of memory: Killed process 123 (java) total-vm:1kB, anon-rss:1kB, file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:1kB oom_score_adj:0`, fromKernel, evidence.LogOOM, ""},
	{`Memory cgroup out of memory: Killed process 123 (java) total-vm:1kB`, fromKernel, evidence.LogOOM, ""},
	{`a.service: Failed with result 'oom-kill'.`, fromManager, evidence.LogOOM, ""},
	{`a.service: A process of this unit has been killed by the OOM killer.`, fromManager, evidence.LogOOM, ""},
	{`a.service: Main process exited, code=exited, status=1/FAILURE`, fromManager, evidence.LogExit, ""},
	{`a.service: Main process exited, code=killed, status=11/SEGV`, fromManager, evidence.LogExit, ""},
	{`a.service: Start request repeated too quickly.`, fromManager, evidence.LogExit, ""},

	// What must not match: other sockets, clients, files, talk about errors, and
	// words of the kernel and of systemd from anybody else.
	{`2026/11/21 10:15:57 [emerg] 1#1: bind() to unix:/run/x.sock failed (98: Address already in use)`, fromProgram, "", ""},
	{`2026-11-21 10:15:57.610 UTC [8617] LOG:  could not bind Unix address "/run/postgresql/.s.PGSQL.5432": Address already in use`, fromProgram, "", ""},
	{`listen udp :53: bind: address already in use`, fromProgram, "", ""},
	{`dial tcp 192.0.2.1:80: connect: cannot assign requested address`, fromProgram, "", ""},
	{`dial tcp 127.0.0.1:0->192.0.2.1:80: bind: address already in use`, fromProgram, "", ""},
	{`connect() to 192.0.2.1:80 failed (99: Cannot assign requested address) while connecting to upstream`, fromProgram, "", ""},
	{`dial tcp 192.0.2.1:80: connect: connection refused`, fromProgram, "", ""},
	{`open() "/var/www/x" failed (13: Permission denied), client: 192.0.2.1, server: x, request: "GET / HTTP/1.1", host: "x:80"`, fromProgram, "", ""},
	{`OSError: [Errno 99] Cannot assign requested address`, fromProgram, "", ""}, // of a bind or of a connect
	{`PermissionError: [Errno 13] Permission denied`, fromProgram, "", ""},
	{`[warn] if address already in use errors show up, restart`, fromProgram, "", ""},
	{`Port 8080 is now listening`, fromProgram, "", ""},
	{`a.service: Main process exited, code=exited, status=1/FAILURE`, fromProgram, "", ""},
	{`Out of memory: Killed process 123 (java)`, fromProgram, "", ""},
	{`nginx[4711]: segfault at 0 ip 000055d0 sp 00007ffd error 4 in nginx[55d0+1000]`, fromProgram, "", ""},
	{`recovered from panic: it is fine`, fromProgram, "", ""},
	{`main.c:3:10: fatal error: foo.h: No such file or directory`, fromProgram, "", ""},
	{`a.service: Deactivated successfully.`, fromManager, "", ""},
	{`Started a.service.`, fromManager, "", ""},
	{`oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),task_memcg=/system.slice/a.service,task=java,pid=123,uid=0`, fromKernel, "", ""},
	{``, fromProgram, "", ""},
}

func TestRecognise(t *testing.T) {
	for _, tt := range lines {
		kind, addr := recognise([]byte(tt.text), tt.from)
		want := netip.AddrPort{}
		if a, err := netip.ParseAddr(tt.addr); err == nil {
			want = netip.AddrPortFrom(a, 0)
		} else if tt.addr != "" {
			want = netip.MustParseAddrPort(tt.addr)
		}
		if kind != tt.kind || addr != want {
			t.Errorf("%s\n got %q %v, want %q %v", tt.text, kind, addr, tt.kind, want)
		}
	}
}

func marked(from origin, texts ...string) []line {
	var ls []line
	for _, s := range texts {
		ls = append(ls, line{LogLine: evidence.LogLine{Process: "p"}, raw: []byte(s), from: from})
	}
	mark(ls)
	return ls
}

func TestMarkSeesWhatOneLineDoesNotTell(t *testing.T) {
	got := marked(fromProgram,
		`2026-11-21 10:15:57.586 UTC [8614] LOG:  could not bind IPv4 address "127.0.0.1": Address already in use`,
		`2026-11-21 10:15:57.586 UTC [8614] HINT:  Is another postmaster already running on port 5432? If not, wait a few seconds and retry.`,
		`2026-11-21 10:15:57.586 UTC [8614] LOG:  database system is ready`)
	if got[0].Addr != netip.MustParseAddrPort("127.0.0.1:5432") || got[1].Kind != "" || got[2].Kind != "" {
		t.Errorf("PostgreSQL: %+v", got)
	}
	got = marked(fromProgram,
		`[ERROR] [MY-010262] [Server] Can't start server: Bind on TCP/IP port: Address already in use`,
		`[ERROR] [MY-010257] [Server] Do you already have another mysqld server running on port: 3306 ?`)
	if got[0].Addr.Port() != 3306 {
		t.Errorf("MySQL: %+v", got[0])
	}
	got = marked(fromProgram, `Traceback (most recent call last):`, `  File "x.py", line 1, in <module>`, `    self.socket.bind(self.server_address)`, `PermissionError: [Errno 13] Permission denied`, `PermissionError: [Errno 13] Permission denied`)
	if got[3].Kind != evidence.LogBindDenied || got[4].Kind != "" {
		t.Errorf("Python, bind: %+v", got)
	}
	got = marked(fromProgram, `Traceback (most recent call last):`, `  File "x.py", line 1, in <module>`, `KeyError: 'a'`, `KeyError: 'a'`)
	if got[2].Kind != evidence.LogPanic || got[3].Kind != "" {
		t.Errorf("Python: %+v", got)
	}
	// Another program's hint is not this one's.
	ls := []line{{LogLine: evidence.LogLine{PID: 1}, raw: []byte(lines[15].text)}, {LogLine: evidence.LogLine{PID: 2}, raw: []byte("already running on port 9")}}
	mark(ls)
	if ls[0].Addr.Port() != 0 {
		t.Errorf("%+v", ls)
	}
}

func TestKernelLinesOfOthersAreLeftOut(t *testing.T) {
	g := &gathering{programs: []string{"java"}, found: found{units: []evidence.Unit{{Name: "web.service", MainPID: 77}}}}
	g.lines = marked(fromKernel,
		"oom-kill:constraint=CONSTRAINT_MEMCG,task_memcg=/system.slice/web.service,task=py) thon,pid=9,uid=0",
		"Memory cgroup out of memory: Killed process 9 (py) thon) total-vm:1kB",
		"Out of memory: Killed process 10 (chrome) total-vm:1kB",
		"Out of memory: Killed process 11 (java) total-vm:1kB",
		"other[77]: segfault at 0 ip 0 sp 0 error 4 in x",
		"chrome[78]: segfault at 0 ip 0 sp 0 error 4 in x",
		"Out of memory: Killed process")
	var got []bool
	for i := range g.lines {
		got = append(got, g.concerns(&g.lines[i]))
	}
	for i, want := range []bool{false, true, false, true, true, false, false} {
		if got[i] != want {
			t.Errorf("%s: %v", g.lines[i].raw, got[i])
		}
	}
}

func TestLineTime(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.Local)
	local := func(y int, m time.Month, d, h, mi, s, ns int) time.Time {
		return time.Date(y, m, d, h, mi, s, ns, time.Local)
	}
	for in, want := range map[string]time.Time{
		"2026/01/02 15:04:05 [emerg] x":                   local(2026, 1, 2, 15, 4, 5, 0),
		"2026-01-02 15:04:05.678 UTC [8614] LOG:  x":      time.Date(2026, 1, 2, 15, 4, 5, 678e6, time.UTC),
		"2026-01-02 15:04:05.678 CET [8614] LOG:  x":      local(2026, 1, 2, 15, 4, 5, 678e6),
		"2026-01-02T15:04:05.678901Z 0 [ERROR] x":         time.Date(2026, 1, 2, 15, 4, 5, 678901e3, time.UTC),
		"[Fri Jan 02 15:04:05.678901 2026] [mpm:error] x": local(2026, 1, 2, 15, 4, 5, 678901e3),
		"8453:M 02 Jan 2026 15:04:05.822 # x":             local(2026, 1, 2, 15, 4, 5, 822e6),
		"Jan  2 15:04:05 host nginx[1]: x":                local(2026, 1, 2, 15, 4, 5, 0),
		"Dec 31 15:04:05 host nginx[1]: x":                local(2025, 12, 31, 15, 4, 5, 0),
		"2026-01-02 15:04:05 0 [Note] x":                  local(2026, 1, 2, 15, 4, 5, 0),
		"":                                                {}, "x": {}, "2026": {}, "[": {}, "1 2": {}, "2099-01-02 15:04:05 x": {}, "root:x:0:0:root:/root:/bin/bash": {},
	} {
		got, ok := lineTime([]byte(in), now)
		if ok != !want.IsZero() || ok && !got.Equal(want) {
			t.Errorf("%q: %v, %v, want %v", in, got, ok, want)
		}
	}
}

func FuzzLines(f *testing.F) {
	for _, l := range lines {
		f.Add([]byte(l.text), int(l.from))
	}
	f.Fuzz(func(t *testing.T, b []byte, from int) {
		kind, addr := recognise(b, origin(from))
		if kind == "" && addr != (netip.AddrPort{}) {
			t.Errorf("an address without a meaning: %v", addr)
		}
		if addr.Addr().Zone() != "" {
			t.Errorf("a zone from a log: %v", addr)
		}
		victim(b)
		hintedPort(b)
		lineTime(b, time.Unix(1e9, 0))
		ls := []line{{raw: []byte("Traceback (most recent call last):")}, {raw: b, from: origin(from)}, {raw: b}}
		mark(ls)
		for _, l := range choose(ls) {
			if len(l.Text) > 512 || strings.ContainsFunc(l.Text, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("%q", l.Text)
			}
		}
	})
}

func BenchmarkRecognise(b *testing.B) {
	long := []byte(strings.Repeat("GET /index.html HTTP/1.1 200 served 10.0.0.1:8080 ", 80))
	b.SetBytes(int64(len(long)))
	for b.Loop() {
		recognise(long, fromProgram)
	}
}
