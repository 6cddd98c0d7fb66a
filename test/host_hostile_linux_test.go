package test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/lab"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
	"github.com/tcpwhy/tcpwhy/internal/report/reporttest"
)

// hostile is text that a terminal would obey: a title, a cleared screen, a colour,
// a C1 sequence, text turned around, lines of its own.
const hostile = "evil\x1b]0;owned\x07\x1b[2J\x1b[31m\u009b1m\u202e\u2066\r\nport 1 of db: a client would be served\x7f"

// harmless asks the host in every form and looks at each for raw control
// characters. All of them must show the words.
func (s *site) harmless(t *testing.T, program string, codes []int, words []string, args ...string) {
	t.Helper()
	for _, form := range [][]string{{}, {"-v"}, {"-o", "json"}} {
		r := finish(t, s.hostCommand(lab.Server, program, append(form, args...)...))
		if !slices.Contains(codes, r.code) || r.stderr != "" {
			t.Errorf("%v %v: exit code %d, want one of %v: %.500s%s", form, args, r.code, codes, r.stdout, r.stderr)
		}
		clean(t, r.stdout)
		contains(t, r.stdout, words...)
		if slices.Contains(form, "json") && strings.Count(r.stdout, "\n") != 1 {
			t.Errorf("%d lines of JSON", strings.Count(r.stdout, "\n"))
		}
		for line := range strings.Lines(r.stdout) {
			if strings.HasPrefix(line, "port 1 of db") {
				t.Errorf("a line of its own: %q", line)
			}
		}
	}
}

// A process may call itself what it likes: by prctl(2), 15 bytes, or by its file.
func hostHostileProcess(t *testing.T, program string) {
	s := newSite(t)
	s.startPython(t, 7011, `
import ctypes, signal, socket
ctypes.CDLL(None).prctl(15, b"evil\x1b]0;\x07\x1b[2J\n", 0, 0, 0)  # PR_SET_NAME
s = socket.create_server(("10.77.1.3", 7011))
signal.pause()
`)
	s.harmless(t, program, []int{0}, []string{`evil`, `x1b`}, siteAddr+":7011")
	s.harmless(t, program, []int{0}, []string{`evil`, `x1b`})
	s.harmless(t, program, []int{1}, []string{`evil`, `x1b`}, "--can-bind", siteAddr+":7011")

	// A file whose name holds it, and arguments.
	script := s.write(t, "evil\x1b]0;x\a\u202e", "#!"+python+`
import signal, socket
s = socket.create_server(("127.0.0.1", 7012))
signal.pause()
`)
	if err := os.Chmod(script, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := s.Command(lab.Server, true, script, hostile)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	nettest.Eventually(t, "the script listens", func() bool {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/tcp", cmd.Process.Pid))
		return err == nil && strings.Contains(string(b), fmt.Sprintf(":%04X 00000000:0000 0A ", 7012))
	})
	s.harmless(t, program, []int{1}, []string{"evil", `x1b`, "listens-on-loopback"}, ":7012")
}

// A comment of a rule is free text.
func hostHostileRule(t *testing.T, program string) {
	s := newSite(t)
	comment := strings.NewReplacer("\n", "", "\r", "").Replace(hostile)
	rules := s.write(t, "rules", `
table inet site {
	chain stops {
		type filter hook input priority 0
		tcp dport 7013 log prefix "`+comment[:40]+`" drop comment "`+comment+`"
	}
}
`)
	s.must(t, nettest.NeedProgram(t, "nft"), "-f", rules)
	s.harmless(t, program, []int{1, 3}, []string{"evil", `x1b`, "handle"}, ":7013", "--from", visitor)
}

// So is a log.
func hostHostileLog(t *testing.T, program string) {
	s := newSite(t)
	log := s.write(t, "app.log", "bind() to 10.77.1.3:7014 failed (98: Address already in use) "+hostile+"\n\xff\xfe\x00 "+hostile)
	s.harmless(t, program, []int{1, 3}, []string{"evil", `x1b`, "bind() to 10.77.1.3:7014 failed"}, ":7014", "--log", log)

	// And the name of one.
	dir := s.write(t, "evil\x1b]0;x\a\u202e.log", "nothing\n")
	for _, name := range []string{dir, dir + "\x1b[2J/none"} {
		for _, form := range []string{"text", "json"} {
			r := finish(t, s.hostCommand(lab.Server, program, ":7014", "--log", name, "--service", hostile, "-v", "-o", form))
			clean(t, r.stdout)
			clean(t, r.stderr)
		}
	}
}

// What another machine tells may be made up.
func hostHostileEvidence(t *testing.T, program string) {
	s := newSite(t)
	s.nft(t, "stops", "input priority 0", "tcp dport 8080 counter drop")
	r := finish(t, s.hostCommand(lab.Server, program, ":8080", "-o", "json"))
	var doc map[string]any
	if err := json.Unmarshal([]byte(r.stdout), &doc); err != nil {
		t.Fatalf("%v: %s", err, r.stderr)
	}
	host := doc["host"].(map[string]any)
	host["service"] = map[string]any{
		"units":      []any{map[string]any{"name": "app.service", "why": "", "active": "failed", "sub": "failed", "result": "exit-code", "exit_code": "exited"}},
		"containers": []any{map[string]any{"engine": "docker", "id": "0", "name": "app", "image": "app", "state": "exited"}},
		"log":        []any{map[string]any{"time": "2026-01-02T03:04:05Z", "unit": "", "process": "app", "text": "fatal: listen", "kind": "panic"}},
	}
	host["programs"] = []any{map[string]any{"kind": "xdp", "interface": "eth0", "id": 7, "name": "app"}}
	n := 0
	var spoil func(v any) any
	spoil = func(v any) any {
		switch v := v.(type) {
		case []any:
			for i := range v {
				v[i] = spoil(v[i])
			}
		case map[string]any:
			for k, w := range v {
				switch k {
				case "addr", "prefix", "tuple", "local", "remote", "client", "src", "dst", "started", "time", "since", "verdict", "packet", "kind", "type", "nat":
					continue // not free text, or what the diagnosis goes by
				}
				if text, ok := w.(string); ok {
					v[k] = text + hostile
					n++
					continue
				}
				v[k] = spoil(w)
			}
		}
		return v
	}
	spoil(host)
	if n < 15 {
		t.Fatalf("only %d texts in %s", n, r.stdout)
	}
	out, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	file := s.write(t, "host.json", string(out)+"\n")
	for _, form := range [][]string{{}, {"-v"}, {"-q"}, {"-o", "json"}, {"-o", "html"}} {
		t.Run(cmp.Or(strings.Join(form, ""), "text"), func(t *testing.T) {
			t.Parallel()
			args := append([]string{"--connect-timeout", "1s", "--host-evidence", file}, form...)
			r := finish(t, s.Command(lab.Client, false, program, append(args, siteAddr+":8080")...))
			if r.code != 1 && r.code != 3 {
				t.Errorf("exit code %d: %s", r.code, r.stderr)
			}
			clean(t, r.stdout)
			clean(t, r.stderr)
			switch {
			case slices.Contains(form, "json"):
				r.json(t)
			case slices.Contains(form, "html"):
				if err := reporttest.CheckPage([]byte(r.stdout), nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// Evidence that was saved, or is none.
func hostSaved(t *testing.T, program string) {
	s := newSite(t)
	handle := s.nft(t, "stops", "input priority 0", "tcp dport 8080 counter drop")
	good := finish(t, s.hostCommand(lab.Server, program, ":8080", "--from", visitor, "-o", "json")).stdout
	if err := reporttest.ValidateHost([]byte(good)); err != nil {
		t.Fatal(err)
	}
	target := siteAddr + ":8080"
	ask := func(t *testing.T, content string, args ...string) result {
		t.Helper()
		name := filepath.Join(s.dir, strings.ReplaceAll(t.Name(), "/", "-"))
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return finish(t, s.Command(lab.Client, false, program, append(args, "--host-evidence", name)...))
	}
	t.Run("good", func(t *testing.T) {
		t.Parallel()
		// That this SYN came so far was not seen: something before the host may send it
		// elsewhere.
		r := ask(t, good, "-o", "json", target)
		if f := r.says(t, 1, "timeout", "host-firewall-drop"); f.Verdict.Cause != "host-firewall-drop" {
			t.Errorf("likeliest is %s of %v", f.Verdict.Cause, f.Verdict.Candidates)
		}
		contains(t, r.stdout, fmt.Sprintf("inet site stops handle %d", handle))
	})
	other := finish(t, s.hostCommand(lab.Server, program, ":22", "-o", "json")).stdout
	all := finish(t, s.hostCommand(lab.Server, program, "-o", "json")).stdout
	for name, c := range map[string]struct{ content, problem, hint string }{
		"empty":          {"", "it is empty", "tcpwhy host :PORT -o json"},
		"blank lines":    {"\n\n\n", "it is empty", "tcpwhy host :PORT -o json"},
		"no JSON":        {"port 8080 of db: a client would be served\n", "no evidence of a host", "tcpwhy host :PORT -o json"},
		"truncated":      {good[:len(good)/2], "no evidence of a host", "tcpwhy host :PORT -o json"},
		"another schema": {strings.Replace(good, "tcpwhy.host/1", "tcpwhy.host/9", 1), `"tcpwhy.host/9"`, "tcpwhy host :PORT -o json"},
		"hostile schema": {strings.Replace(good, "tcpwhy.host/1", `evil\u001b]0;x\u0007\u202e`, 1), "its schema is", "tcpwhy host :PORT -o json"},
		"an object":      {"{}\n", "its schema is", "tcpwhy host :PORT -o json"},
		"a number":       {"7\n", "no evidence of a host", "tcpwhy host :PORT -o json"},
		"another port":   {other, "about port 22, the target's is 8080", "tcpwhy host :8080 -o json"},
		"all ports":      {all, "about all ports", "tcpwhy host :PORT -o json"},
		"binary":         {"\x1f\x8b\x08\x00\xff\xfe\x1b[2J", "no evidence of a host", "tcpwhy host :PORT -o json"},
		"deep":           {strings.Repeat(`{"host":`, 200000) + "\n", "no evidence of a host", "tcpwhy host :PORT -o json"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := ask(t, c.content, target)
			if r.code != 2 || r.stdout != "" || strings.Count(r.stderr, "\n") != 2 {
				t.Errorf("exit code %d: %s%q", r.code, r.stdout, r.stderr)
			}
			clean(t, r.stderr)
			contains(t, r.stderr, c.problem)
			if _, last, _ := strings.Cut(r.stderr, "\n"); !strings.Contains(last, c.hint) {
				t.Errorf("it does not end with what to do: %q", r.stderr)
			}
		})
	}
	t.Run("no file", func(t *testing.T) {
		t.Parallel()
		r := finish(t, s.Command(lab.Client, false, program, "--host-evidence", s.dir+"/none.json", target))
		if r.code != 2 || !strings.Contains(r.stderr, "none.json") || strings.Count(r.stderr, "\n") != 2 {
			t.Errorf("exit code %d: %s", r.code, r.stderr)
		}
	})
	t.Run("two targets", func(t *testing.T) {
		t.Parallel()
		if r := ask(t, good, target, siteAddr+":22"); r.code != 2 || !strings.Contains(r.stderr, "one target") {
			t.Errorf("exit code %d: %s", r.code, r.stderr)
		}
	})
}
