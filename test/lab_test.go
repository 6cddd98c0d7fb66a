//go:build linux

package test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// labUser is somebody who uses the lab.
type labUser struct {
	name       string
	program    string
	dir        string // of theirs
	credential *syscall.Credential
}

// labUsers runs a test as the user of the test, and as root also as one without
// any privilege.
func labUsers(t *testing.T, test func(t *testing.T, u *labUser)) {
	t.Helper()
	t.Parallel()
	program := nettest.Build(t, "../cmd/tcpwhy")
	users := []*labUser{{name: "self", program: program}}
	if os.Geteuid() == 0 {
		const nobody = 65534
		users = append(users, &labUser{name: "nobody", program: program, credential: &syscall.Credential{Uid: nobody, Gid: nobody}})
	} else {
		nettest.NeedUserNS(t)
	}
	for _, u := range users {
		t.Run(u.name, func(t *testing.T) {
			t.Parallel()
			var err error
			if u.dir, err = os.MkdirTemp("", "tcpwhy-test-"); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(u.dir) })
			if err := os.Chmod(u.dir, 0o777); err != nil {
				t.Fatal(err)
			}
			test(t, u)
		})
	}
}

// command is a call of the program by the user, who is not on a terminal.
func (u *labUser) command(t *testing.T, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), u.program, args...)
	cmd.Dir = u.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: u.credential}
	cmd.Env = append(os.Environ(), "TMPDIR="+u.dir, "LC_ALL=C.UTF-8", "HOME="+u.dir)
	return cmd
}

// run calls the program and returns what it wrote.
func (u *labUser) run(t *testing.T, code int, stdin string, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, talk bytes.Buffer
	cmd := u.command(t, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &talk
	err := cmd.Run()
	if got := cmd.ProcessState.ExitCode(); got != code {
		t.Fatalf("%q exits with %d, want %d (%v)\n%s%s", args, got, code, err, out.String(), talk.String())
	}
	return out.String(), talk.String()
}

func contains(t *testing.T, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("%q is missing in:\n%s", w, text)
		}
	}
}

func TestLabRun(t *testing.T) {
	labUsers(t, func(t *testing.T, u *labUser) {
		out, _ := u.run(t, 0, "", "lab", "run", "no-listener")
		contains(t, out, "no-listener over IPv4, seen from the client as an ordinary user",
			"a plain connect to 10.77.3.2:8080 was refused", "$ tcpwhy 10.77.3.2:8080\n10.77.3.2:8080 is refused",
			"truth         no-listener: nothing listens on the port", "verdict       narrowed: no-listener", "sound         yes", "sharp         yes")

		out, _ = u.run(t, 0, "", "lab", "run", "no-listener-local", "-6", "--root", "--port", "9000", "--after", "1s", "-o", "json")
		var doc struct {
			Schema, Scenario, Verdict string
			Truth                     []string
			Family                    int
			Sound, Sharp              bool
			Before, Diagnosis         answer
		}
		if err := json.Unmarshal([]byte(out), &doc); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if doc.Schema != "tcpwhy.lab-run/1" || doc.Scenario != "no-listener-local" || !slices.Equal(doc.Truth, []string{"no-listener"}) ||
			doc.Family != 6 || !doc.Sound || !doc.Sharp || doc.Verdict != "no-listener" {
			t.Errorf("the result is %+v", doc)
		}
		if doc.Before.Outcome != "open" || doc.Diagnosis.Outcome != "refused" || !strings.Contains(out, `"port":9000`) {
			t.Errorf("before the fault %q, with it %q; port 9000 in\n%s", doc.Before.Outcome, doc.Diagnosis.Outcome, out)
		}

		// The first fault on the way is seen, and either is the truth.
		out, _ = u.run(t, 0, "", "lab", "run", "dns-server-failure+host-firewall-reject")
		contains(t, out, "truth         dns-server-failure", "and           host-firewall-reject", "certain: dns-server-failure")
	})
}

// What changes a fault does so, or the call ends with why it cannot.
func TestLabParams(t *testing.T) {
	labUsers(t, func(t *testing.T, u *labUser) {
		out, _ := u.run(t, 0, "", "lab", "run", "no-listener", "--loss", "20", "--after", "100ms")
		contains(t, out, "All is well:", "10.77.3.2:8080 works",
			"was refused; then 20 % of\nall packets are lost, either way", "truth         no-listener: ", "and           packet-loss: ")
		out, _ = u.run(t, 0, "", "lab", "run", "none", "--loss", "1", "-6")
		contains(t, out, "truth         none: ", "or            packet-loss: ")
		for _, c := range []struct{ args, why, do string }{
			{"run no-listener-local --loss 20", "no-listener-local cannot have loss: its target is on the client itself", "Leave --loss out"},
			{"run no-route --loss 20 --after 100ms", "no-route cannot have loss: no packet leaves the client", "Leave --loss out"},
			{"shell no-listener-local --loss 20", "no-listener-local cannot have loss", "Leave --loss out"},
			{"run none-tls --port 444", "none-tls cannot have port 444: it is about port 443", "Leave --port out"},
			{"shell none-tls --port 444", "none-tls cannot have port 444", "Leave --port out"},
		} {
			_, talk := u.run(t, 2, "", append([]string{"lab"}, strings.Fields(c.args)...)...)
			contains(t, talk, "tcpwhy: "+c.why, c.do)
		}
		dir := filepath.Join(u.dir, "balanced")
		u.run(t, 0, "", "lab", "run", "nat-dead-backend-all", "--capture", dir)
		for _, host := range []string{"client", "balancer"} {
			if _, err := os.Stat(filepath.Join(dir, host+".pcapng")); err != nil {
				t.Error(err)
			}
		}
	})
}

// The captures of both ends hold the attempt, and can be read at any moment.
func TestLabCapture(t *testing.T) {
	capinfos, tshark := nettest.NeedProgram(t, "capinfos"), nettest.NeedProgram(t, "tshark")
	read := func(t *testing.T, file string) string {
		t.Helper()
		if out, err := exec.CommandContext(t.Context(), capinfos, file).CombinedOutput(); err != nil {
			t.Errorf("capinfos: %v\n%s", err, out)
		}
		out, err := exec.CommandContext(t.Context(), tshark, "-r", file, "-Y", "tcp.port==8080", "-T", "fields", "-e", "tcp.flags.str").Output()
		if err != nil {
			t.Errorf("tshark: %v\n%s", err, stderrOf(err))
		}
		return string(out)
	}
	labUsers(t, func(t *testing.T, u *labUser) {
		dir := filepath.Join(u.dir, "packets")
		u.run(t, 0, "", "lab", "run", "host-firewall-reset", "--capture", dir)
		for _, host := range []string{"client", "server"} {
			contains(t, read(t, filepath.Join(dir, host+".pcapng")), "S", "A·R")
		}
		dir = filepath.Join(u.dir, "killed")
		cmd := u.command(t, "lab", "run", "host-firewall-drop", "--capture", dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer cmd.Wait()
		defer cmd.Process.Kill()
		server := filepath.Join(dir, "server.pcapng")
		for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			if now, err := os.Stat(server); err == nil && now.Size() > 1000 {
				break
			}
			if time.Now().After(end) {
				t.Fatal("no packet of the server was written")
			}
		}
		cmd.Process.Kill()
		cmd.Wait()
		contains(t, read(t, server), "S")
	})
}

func stderrOf(err error) []byte {
	if e := new(exec.ExitError); errors.As(err, &e) {
		return e.Stderr
	}
	return nil
}

func TestLabMatrix(t *testing.T) {
	labUsers(t, func(t *testing.T, u *labUser) {
		out, talk := u.run(t, 0, "", "lab", "matrix", "no-listener-localhost", "none-own-link", "route-rejects-blackhole", "-o", "json")
		var doc struct {
			Schema  string
			Scores  map[string]struct{ Cases, Sound, Sharp, Failed int }
			Results []struct{ Scenario string }
		}
		if err := json.Unmarshal([]byte(out), &doc); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, v := range []string{"ordinary", "root"} {
			if s := doc.Scores[v]; s.Cases != 6 || s.Sound != 6 || s.Sharp != 6 || s.Failed != 0 {
				t.Errorf("%s: %+v, want 6 cases, all of them sound and sharp", v, s)
			}
		}
		if len(doc.Results) != 12 || strings.Count(talk, "\n") != 12 {
			t.Errorf("%d results and this talk, want 12 of both:\n%s", len(doc.Results), talk)
		}
		out, _ = u.run(t, 0, "", "lab", "matrix", "no-listener-localhost", "-4", "--root")
		contains(t, out, "root", "1 (100 %)")
		if strings.Contains(out, "ordinary") || strings.Contains(out, "SOUND") {
			t.Errorf("more than what was asked for:\n%s", out)
		}
	})
}

func TestLabDemo(t *testing.T) {
	labUsers(t, func(t *testing.T, u *labUser) {
		out, _ := u.run(t, 0, "", "lab", "demo")
		contains(t, out, "8 of 8", "connection refused", "i/o timeout", "(certain)", "(narrowed)", "tcpwhy lab quiz")
		for line := range strings.Lines(out) {
			if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 80 && !strings.HasPrefix(strings.TrimSpace(line), "$ ") {
				t.Errorf("%d columns: %q", n, line)
			}
		}
	})
}

// A shell in a pipe runs what is piped in.
func TestLabShellPipe(t *testing.T) {
	labUsers(t, func(t *testing.T, u *labUser) {
		script := "cat /etc/hosts; command -v tcpwhy; tcpwhy -q server:8080; why; answer host-down; answer no-listener\n"
		out, talk := u.run(t, 0, script, "lab", "shell", "no-listener", "-6", "--ordinary")
		contains(t, out, "fd77:3::2 server", "fd77:1::2 client", "fd77:1::1 router1", "router2", "/tcpwhy\n", "server:8080 is refused",
			"No, it is not host-down.", "Right.", "What gives it away")
		contains(t, talk, "You are an ordinary user on the client", "connects to server:8080", "truth         no-listener")
		if strings.Contains(out, "10.77.") {
			t.Errorf("a lab for IPv6 has other addresses, too:\n%s", out)
		}
		out, talk = u.run(t, 0, "tcpwhy -q 10.77.3.2:8080; hostname >/dev/null; false\n", "lab", "shell", "no-listener", "--on", "router2")
		contains(t, out, "10.77.3.2:8080 is refused")
		contains(t, talk, "You are root on the router2", "The program that fails runs on the client.")
	})
}

func TestLabQuiz(t *testing.T) {
	labUsers(t, func(t *testing.T, u *labUser) {
		// The shell reads all of its input: what is left for the prompt is its end.
		out, talk := u.run(t, 0, "answer nonsense; answer none; ps ax 2>/dev/null\n", "lab", "quiz", "--seed", "3", "--stage", "local")
		contains(t, out, "No, it is not none.")
		contains(t, talk, "Making a fault", `there is no cause "nonsense"`, "Which cause is it?", "truth  ", "What gives it away", "tcpwhy lab quiz --seed 3")
		_, after, _ := strings.Cut(talk, "truth         ")
		id, _, _ := strings.Cut(after, ":")
		if before, _, _ := strings.Cut(out+talk, "Which cause"); id == "" || strings.Contains(before, id) {
			t.Errorf("%q was told before the answer:\n%s", id, before)
		}
		out, talk = u.run(t, 0, "answer "+id+"\n", "lab", "quiz", "--seed", "3", "--stage", "local")
		contains(t, out, "Right.", "truth         "+id, "What gives it away")
		if strings.Contains(talk, "Which cause is it?") {
			t.Errorf("it asks for what was answered:\n%s", talk)
		}
	})
}

// pane is a terminal in which somebody types.
type pane struct {
	t          *testing.T
	tmux, name string
	u          *labUser
}

// do calls tmux, in a server of the test's own.
func (p *pane) do(args ...string) string {
	p.t.Helper()
	cmd := p.u.command(p.t, args[0])
	cmd.Path, cmd.Args = p.tmux, slices.Concat([]string{p.tmux, "-S", p.u.dir + "/tmux", "-f", "/dev/null"}, args)
	cmd.Env = append(cmd.Env, "SHELL=/bin/sh", "TERM=xterm", "PS1=$ ", "ENV=")
	out, err := cmd.CombinedOutput()
	if err != nil {
		p.t.Fatalf("tmux %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// target names the pane to tmux, which else looks for names that begin so.
func (p *pane) target() string { return "=" + p.name + ":" }

func (p *pane) screen() string { return p.do("capture-pane", "-p", "-J", "-t", p.target()) }

// types sends a line, or a key by its name, and waits for all of what is wanted
// on the screen.
func (p *pane) types(line string, want ...string) {
	p.t.Helper()
	if strings.HasPrefix(line, "C-") {
		p.do("send-keys", "-t", p.target(), line)
	} else {
		p.do("send-keys", "-t", p.target(), line, "Enter")
	}
	p.sees(want...)
}

func (p *pane) sees(want ...string) {
	p.t.Helper()
	for end := time.Now().Add(40 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		screen := p.screen()
		missing := slices.DeleteFunc(slices.Clone(want), func(w string) bool { return strings.Contains(screen, w) })
		if len(missing) == 0 {
			return
		}
		if time.Now().After(end) {
			p.t.Fatalf("%q is not on the screen:\n%s", missing, screen)
		}
	}
}

// A person looks for a fault with their own tools, in two terminals.
func TestLabShellTerminal(t *testing.T) {
	tmux := nettest.NeedProgram(t, "tmux")
	nettest.NeedProgram(t, "nc")
	nettest.NeedProgram(t, "tcpdump")
	labUsers(t, func(t *testing.T, u *labUser) {
		a, b := &pane{t, tmux, "a", u}, &pane{t, tmux, "b", u}
		a.do("new-session", "-d", "-x", "100", "-y", "50", "-s", "a")
		t.Cleanup(func() { exec.Command(tmux, "-S", u.dir+"/tmux", "kill-server").Run() })
		a.types(u.program+" lab shell host-firewall-drop", "Try  nc -zv server 8080", "[lab client] #")

		b.do("new-session", "-d", "-x", "100", "-y", "50", "-s", "b")
		b.types(u.program+" lab shell --join --on server "+outerPid(t, u), "[lab server] #")
		if os.Geteuid() == 0 && u.credential == nil {
			stranger := &labUser{program: u.program, dir: u.dir, credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
			_, talk := stranger.run(t, 2, "", "lab", "shell", "--join", outerPid(t, u))
			contains(t, talk, "does not let nobody in", "Only its user and root")
		}
		b.types("tcpdump -ni eth0 tcp", "listening on eth0")
		a.types("nc -zv server 8080")
		b.sees("10.77.3.2.8080: Flags [S]")
		for strings.Count(b.screen(), "Flags [S]") < 2 { // the SYN again
			time.Sleep(50 * time.Millisecond)
		}
		if screen := a.screen(); strings.Contains(screen, "refused") || strings.Contains(screen, "succeeded") {
			t.Errorf("nc does not hang:\n%s", screen)
		}
		a.types("C-c", "^C")
		a.types("clear; tcpwhy server:8080 | head -3", "server:8080 times out", "host-firewall-drop")
		// Job control and the size of the window.
		a.types("clear; echo sle''eps; sleep 1000", "sleeps")
		for !strings.Contains(a.screen(), "Stopped") { // once it sleeps
			a.types("C-z")
			time.Sleep(50 * time.Millisecond)
		}
		a.types("kill -9 %1; stty size", "50 100")
		a.do("resize-window", "-t", a.target(), "-x", "90", "-y", "40")
		for !strings.Contains(a.screen(), "40 90") { // the new size takes a moment
			a.types("stty size")
			time.Sleep(100 * time.Millisecond)
		}
		b.types("C-c", "packets captured", "[lab server] #")
		a.types("exit", "truth         host-firewall-drop: ")
		b.sees("The lab has ended")
		b.types("clear; "+u.program+" lab shell --join 1", "no lab")
	})
}

// outerPid is the process ID of the user's lab shell.
func outerPid(t *testing.T, u *labUser) string {
	t.Helper()
	for _, pid := range processes() {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if args := strings.Split(string(b), "\x00"); len(args) > 3 && args[0] == u.program && args[1] == "lab" && args[2] == "shell" && args[3] != "--join" {
			if info, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err == nil && (u.credential == nil) == (info.Sys().(*syscall.Stat_t).Uid == uint32(os.Geteuid())) {
				return strconv.Itoa(pid)
			}
		}
	}
	t.Fatal("no lab runs")
	return ""
}

// Two labs run side by side.
func TestLabTwo(t *testing.T) {
	labUsers(t, func(t *testing.T, u *labUser) {
		errs := make(chan error)
		for _, name := range []string{"no-listener", "host-firewall-drop", "no-listener"} {
			go func() {
				out, err := u.command(t, "lab", "run", name).CombinedOutput()
				if err != nil {
					err = fmt.Errorf("%w\n%s", err, out)
				}
				errs <- err
			}()
		}
		for range 3 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
	})
}

// SIGINT, wherever it finds the lab, ends it, and with a word.
func TestLabInterrupt(t *testing.T) {
	labUsers(t, func(t *testing.T, u *labUser) {
		for _, args := range [][]string{
			{"lab", "run", "host-firewall-drop"}, {"lab", "matrix", "--stage", "host"}, {"lab", "demo"}, {"lab", "shell", "host-firewall-drop"},
		} {
			for _, delay := range []time.Duration{100 * time.Millisecond, time.Second} {
				var talk bytes.Buffer
				cmd := u.command(t, args...)
				stdin, w, err := os.Pipe() // a shell that waits
				if err != nil {
					t.Fatal(err)
				}
				cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, io.Discard, &talk
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				stdin.Close()
				time.Sleep(delay) // any moment is as good as another
				cmd.Process.Signal(os.Interrupt)
				err = cmd.Wait()
				w.Close()
				switch code := cmd.ProcessState.ExitCode(); {
				case code == -1 && delay < time.Second: // not even started
				case code == 3 && strings.Contains(talk.String(), "interrupted"):
				default:
					t.Errorf("%q after %v: exit code %d (%v):\n%s", args, delay, code, err, talk.String())
				}
			}
		}
	})
}

// Whoever is killed at whatever moment, nothing is left: no process, no
// namespace, no mount, no link, no file, no socket. TCPWHY_KILLS says how many
// times that is tried.
func TestLabKill(t *testing.T) {
	rounds := 6
	if s := os.Getenv("TCPWHY_KILLS"); s != "" {
		var err error
		if rounds, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	labUsers(t, func(t *testing.T, u *labUser) {
		seen := make(map[string]int)
		for range rounds {
			mark := "TCPWHY_MARK=" + strconv.FormatUint(rand.Uint64(), 36)
			before := surroundings(t, u)
			cmd := u.command(t, "lab", "run", "host-firewall-drop", "--capture", u.dir+"/packets")
			if rand.IntN(3) == 0 {
				cmd = u.command(t, "lab", "shell", "no-listener")
			}
			cmd.Env = append(cmd.Env, mark)
			stdin, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			cmd.Stdin = stdin
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			stdin.Close()
			time.Sleep(time.Duration(rand.IntN(1500)) * time.Millisecond)
			line := []int{cmd.Process.Pid} // who started whom
			for len(line) < 3 {
				next := child(line[len(line)-1])
				if next == 0 {
					break
				}
				line = append(line, next)
			}
			n := rand.IntN(len(line))
			spaces := holders(namespaces(marked(mark)))
			syscall.Kill(line[n], syscall.SIGKILL)
			role := []string{"outer", "init", "worker"}[n]
			seen[role]++
			cmd.Wait()
			w.Close()
			if n > 0 && cmd.ProcessState.ExitCode() != 4 {
				t.Errorf("process %d of %d was killed: exit code %d, want 4", n, len(line), cmd.ProcessState.ExitCode())
			}
			for end := time.Now().Add(nettest.Patience); ; time.Sleep(5 * time.Millisecond) {
				var left []string
				for _, pid := range marked(mark) {
					left = append(left, "process "+strconv.Itoa(pid))
				}
				for _, h := range spaces {
					if slices.Contains(held(h.pid), h.id) {
						left = append(left, fmt.Sprintf("%s, held by process %d", h.id, h.pid))
					}
				}
				if len(left) == 0 {
					break
				}
				if time.Now().After(end) {
					t.Fatalf("left after %s was killed: %q", role, left)
				}
			}
			os.RemoveAll(u.dir + "/packets") // what was asked for
			if after := surroundings(t, u); after != before {
				t.Errorf("before:\n%s\nafter:\n%s", before, after)
			}
		}
		t.Log("killed:", seen)
	})
}

// child is a child of a process, 0 for none.
func child(pid int) int {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, f := range files {
		b, _ := os.ReadFile(f)
		if fields := strings.Fields(string(b)); len(fields) > 0 {
			n, _ := strconv.Atoi(fields[0])
			return n
		}
	}
	return 0
}

// processes are all that /proc shows.
func processes() []int {
	var pids []int
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// marked are the processes with the variable in their environment, as all have
// that a marked one started.
func marked(mark string) []int {
	return slices.DeleteFunc(processes(), func(pid int) bool {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		return err != nil || !bytes.Contains(b, []byte(mark))
	})
}

// held are the namespaces that a process is in or holds open.
func held(pid int) []string {
	var ids []string
	for _, pattern := range []string{"/proc/%d/task/*/ns/*", "/proc/%d/fd/*"} {
		paths, _ := filepath.Glob(fmt.Sprintf(pattern, pid))
		for _, p := range paths {
			if id, err := os.Readlink(p); err == nil && strings.HasSuffix(id, "]") && strings.Contains(id, ":[") {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// namespaces are those of the processes that are not ours.
func namespaces(pids []int) map[string]bool {
	ids := make(map[string]bool)
	for _, pid := range pids {
		for _, id := range held(pid) {
			ids[id] = true
		}
	}
	for _, id := range held(os.Getpid()) {
		delete(ids, id)
	}
	for id := range ids {
		if !slices.ContainsFunc([]string{"net:", "mnt:", "pid:", "user:"}, func(kind string) bool { return strings.HasPrefix(id, kind) }) {
			delete(ids, id) // sockets and such
		}
	}
	return ids
}

// holder is a process that is in a namespace or holds it open.
type holder struct {
	id  string
	pid int
}

// holders are all that hold one of the namespaces. They are asked for while the
// namespaces exist: later the kernel may give others the same numbers.
func holders(ids map[string]bool) []holder {
	var found []holder
	for _, pid := range processes() {
		for _, id := range held(pid) {
			if h := (holder{id, pid}); ids[id] && !slices.Contains(found, h) {
				found = append(found, h)
			}
		}
	}
	return found
}

// surroundings are what a lab must leave as it found them: mounts, links, files,
// sockets.
func surroundings(t *testing.T, u *labUser) string {
	t.Helper()
	var b strings.Builder
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, "/dev/shm") || strings.Contains(line, "tcpwhy") || strings.Contains(line, " nsfs ") {
			b.WriteString(line)
		}
	}
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		fmt.Fprintln(&b, l.Name)
	}
	entries, err := os.ReadDir(u.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		fmt.Fprintln(&b, e.Name())
	}
	// Others put files there, too.
	for _, pattern := range []string{"/dev/shm/bin*", "/dev/shm/lab*", "/dev/shm/*tcpwhy*"} {
		files, _ := filepath.Glob(pattern)
		fmt.Fprintln(&b, files)
	}
	return b.String()
}

// Where user namespaces are forbidden the lab names the setting that does it.
func TestLabForbidden(t *testing.T) {
	setpriv := nettest.NeedProgram(t, "setpriv")
	program := nettest.Build(t, "../cmd/tcpwhy")
	nettest.InUserNS(t, func(t *testing.T) {
		// The limit is set for one more namespace, and without capabilities.
		script := `echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"`
		cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", script, "sh", setpriv, "--bounding-set", "-all", "--inh-caps", "-all", program, "lab", "run", "no-listener")
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
		}
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != 2 {
			t.Errorf("exit code %d, want 2 (%v)", cmd.ProcessState.ExitCode(), err)
		}
		contains(t, string(out), "the lab needs user namespaces", "user.max_user_namespaces=0 forbids them", "Allow them: sudo sysctl user.max_user_namespaces=10000")
	})
}
