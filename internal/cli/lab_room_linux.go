package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/cause"
	"github.com/tcpwhy/tcpwhy/internal/isolate"
	"github.com/tcpwhy/tcpwhy/internal/judge"
	"github.com/tcpwhy/tcpwhy/internal/lab"
	"github.com/tcpwhy/tcpwhy/internal/report"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// roomSocket is where the commands why and answer find the lab. It is a file, so
// that it can be reached from every network namespace of the lab.
const roomSocket = isolate.Dir + "/lab.sock"

// room is a lab with people in it.
type room struct {
	*labs
	c       judge.Case
	after   time.Duration
	started string // what is said while the lab is made
	secret  bool   // nobody has named the fault: a quiz
	// another gives a case in place of one that cannot be made here; nil where
	// there is none.
	another func() (judge.Case, error)

	mu  sync.Mutex // the fault comes while nobody is let in
	lab *lab.Lab

	once  sync.Once
	proof string // what tcpwhy says, where it is shown

	solved atomic.Bool // somebody has named the fault
}

// serve makes the lab and lets guests in until the context ends.
func (r *room) serve(ctx context.Context) (err error) {
	fmt.Fprintln(r.host.Stderr, r.started)
	const tries = 20
	for range tries {
		if r.lab, err = judge.Open(ctx, r.c); r.another == nil || !errors.Is(err, errors.ErrUnsupported) {
			break
		}
		if r.c, err = r.another(); err != nil {
			return err
		}
	}
	if err != nil {
		if ctx.Err() != nil {
			r.code = exitNotSure // outside it is told
			return nil
		}
		return r.unmade(ctx, err)
	}
	defer func() { err = errors.Join(err, r.lab.Close()) }()
	if err := r.furnish(); err != nil {
		return err
	}
	ln, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: roomSocket, Net: "unixpacket"})
	if err != nil {
		return err
	}
	defer ln.Close()
	if err := os.Chmod(roomSocket, 0o666); err != nil {
		return err
	}
	go func() {
		for {
			conn, err := ln.AcceptUnix()
			if err != nil {
				return
			}
			go r.guest(conn, false)
		}
	}()
	if r.after > 0 {
		late := time.AfterFunc(r.after, func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			if err := r.lab.Break(); err != nil {
				r.complain("the fault could not be made: " + err.Error())
			}
		})
		defer late.Stop()
	}
	for conn := range r.guests {
		go r.guest(conn, true)
	}
	return nil
}

// guest does what one asks for. Shells are for those who come from outside.
func (r *room) guest(conn *net.UnixConn, outside bool) {
	g, err := isolate.Listen(conn)
	if err != nil {
		return
	}
	defer g.Close()
	switch op, args := g.Request.Op, g.Request.Args; {
	case (op == opShell || op == opJoin) && outside && len(args) == 2:
		if err := r.open(g, args[0], judge.Vantage(args[1]), op == opJoin); err != nil {
			g.Reply(isolate.Reply{Error: "no shell: " + err.Error(), Hint: "Hosts are: " + strings.Join(r.c.Scenario.Topology.Hosts, ", ")})
		}
	case op == opWhy:
		g.Reply(isolate.Reply{Text: r.truth(r.secret), Done: true})
	case op == opSolved:
		code := exitFails
		if r.solved.Load() {
			code = exitWorks
		}
		g.Reply(isolate.Reply{Code: code, Done: true})
	case op == opAnswer && len(args) == 1:
		g.Reply(r.answer(args[0]))
	case op == opAnswer:
		g.Reply(isolate.Reply{Error: "an answer is one cause", Hint: "For example: answer no-listener (all causes: tcpwhy explain)", Done: true})
	default:
		g.Reply(isolate.Reply{Error: "the lab does not know what is asked for", Hint: "There are: why, answer CAUSE", Done: true})
	}
}

// open runs a shell on a host: the first, or one that joined.
func (r *room) open(g *isolate.Guest, host string, v judge.Vantage, joined bool) error {
	if host == "" {
		host = r.c.Scenario.From
	}
	if !slices.Contains(r.c.Scenario.Topology.Hosts, host) {
		return fmt.Errorf("the lab has no host %q", host)
	}
	r.mu.Lock()
	started := sync.OnceFunc(r.mu.Unlock)
	defer started()
	cmd, uid := r.shellOn(host, v == judge.Ordinary, g.Request)
	start := func() error {
		defer started()
		return cmd.Start()
	}
	return g.Shell(cmd.Cmd, start, cmd.Wait, uid, r.banner(host, v, joined))
}

// shellOn is the user's shell, or another where that one is not there, and the
// user that it runs as, -1 for our own.
func (r *room) shellOn(host string, ordinary bool, req isolate.Request) (*lab.Cmd, int) {
	env := map[string]string{}
	for _, e := range req.Env {
		name, value, _ := strings.Cut(e, "=")
		env[name] = value
	}
	name := env["SHELL"]
	if _, err := exec.LookPath(name); err != nil || !filepath.IsAbs(name) {
		name = "/bin/sh"
	}
	var args []string
	if req.Rows > 0 && filepath.Base(name) == "bash" {
		args = []string{"--rcfile", bashrc, "-i"}
	}
	cmd := r.lab.Command(host, ordinary, name, args...)
	sign := "#"
	if ordinary {
		sign = "$"
	}
	cmd.Env = slices.Concat(cmd.Env, req.Env, []string{
		"PATH=" + shellPath(), "TCPWHY_LAB=" + host, "PS1=[lab " + host + "] " + sign + " ", "ZDOTDIR=" + zdotdir,
	})
	uid := -1
	if a := cmd.SysProcAttr; a != nil && a.Credential != nil {
		uid = int(a.Credential.Uid)
		cmd.Env = append(cmd.Env, "HOME=/", "USER=nobody", "LOGNAME=nobody", "HISTFILE=")
	}
	return cmd, uid
}

const (
	bashrc  = isolate.Dir + "/bashrc"
	zdotdir = isolate.Dir + "/zsh"
)

// shellPath is where programs are found: those of the lab first, and those that
// an ordinary user's PATH leaves out last.
func shellPath() string {
	return strings.Join([]string{isolate.Bin, os.Getenv("PATH"), "/usr/sbin", "/sbin"}, ":")
}

// furnish makes the files of the shells.
func (r *room) furnish() error {
	ours := "PATH='" + strings.ReplaceAll(shellPath(), "'", `'\''`) + "'\n"
	files := map[string]string{
		bashrc:                  "[ -r ~/.bashrc ] && . ~/.bashrc\nunset PROMPT_COMMAND HISTFILE\n" + ours + `PS1="[lab $TCPWHY_LAB] \\$ "` + "\n",
		zdotdir + "/.zshrc":     "unset ZDOTDIR\n[ -r ~/.zshrc ] && . ~/.zshrc\nprecmd_functions=()\nunset HISTFILE\n" + ours + `PS1="[lab $TCPWHY_LAB] %# "` + "\n",
		isolate.Bin + "/why":    "#!/bin/sh\nexec " + program + " lab ask why\n",
		isolate.Bin + "/answer": "#!/bin/sh\nexec " + program + " lab ask answer \"$@\"\n",
	}
	for _, dir := range []string{"/usr/bin", "/usr/sbin", "/sbin", "/bin"} {
		if real := dir + "/tcpdump"; executable(real) {
			// It would become another user, and there may be none here.
			files[isolate.Bin+"/tcpdump"] = "#!/bin/sh\nexec " + program + " lab as " + real + " -Z root \"$@\"\n"
			break
		}
	}
	if err := os.Mkdir(zdotdir, 0o755); err != nil {
		return err
	}
	for path, content := range files {
		if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
			return err
		}
		if err := os.Chmod(path, 0o755); err != nil { // whatever the umask
			return err
		}
	}
	return os.Chmod(zdotdir, 0o755)
}

func executable(path string) bool {
	_, err := exec.LookPath(path)
	return err == nil
}

// banner says where one is and what to try, and nothing of the truth.
func (r *room) banner(host string, v judge.Vantage, joined bool) string {
	var b strings.Builder
	put := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	target := r.target()
	put("")
	put("You are %s on the %s, in a network of its own.", whoIs(v), host)
	put("Its hosts: %s.", strings.Join(r.c.Scenario.Topology.Hosts, ", "))
	if host != r.c.Scenario.From {
		put("The program that fails runs on the %s. It connects to %s.", r.c.Scenario.From, target)
	} else {
		put("The program that fails connects to %s.", target)
	}
	if r.after > 0 {
		put("All is well at first. The fault comes %v after the start.", r.after)
	}
	put("")
	put("Try  %s", try(target))
	if v == judge.Root {
		put("     tcpdump -ni eth0")
	}
	put("     ss -tan")
	put("     %s", typedLine(r.c, target))
	put("     tcpwhy lab shell --join --on server     (in another terminal)")
	put("")
	if r.secret {
		put("answer CAUSE  when you know what it is (all causes: tcpwhy explain)")
	}
	put("why           tells what it is")
	if joined {
		put("exit          ends this shell; the lab ends with the first one")
	} else {
		put("exit          ends the lab")
	}
	put("")
	return b.String()
}

// try is a plain connection by hand.
func try(target string) string {
	if strings.Contains(target, "://") {
		return "curl -sv " + target
	}
	host, port, err := net.SplitHostPort(target)
	if err != nil {
		return "ping " + target
	}
	return "nc -zv " + host + " " + port
}

// target is what the user would type, with the host's name where the address
// has one.
func (r *room) target() string {
	typed, dst := r.lab.Target(), r.lab.Dst()
	if typed == dst.String() {
		for _, h := range r.c.Scenario.Topology.Hosts {
			if r.lab.Addr(h) == dst.Addr() {
				return fmt.Sprintf("%s:%d", h, dst.Port())
			}
		}
	}
	if u, err := url.Parse(typed); err == nil && u.Host == dst.String() {
		for _, h := range r.c.Scenario.Topology.Hosts {
			if r.lab.Addr(h) == dst.Addr() {
				u.Host = fmt.Sprintf("%s:%d", h, dst.Port())
				return u.String()
			}
		}
	}
	return typed
}

// truth tells what the lab made, and with proof what tcpwhy sees of it as root.
func (r *room) truth(proof bool) string {
	var b bytes.Buffer
	out := bufio.NewWriter(&b)
	s := r.c.Scenario
	fmt.Fprintln(out)
	for i, id := range s.Truth() {
		line(out, r.host.width(), truthLabel(s.Truth(), i), id+": "+title(id))
	}
	line(out, r.host.width(), "what shows", shows(s))
	if proof {
		fmt.Fprintln(out, r.evidence())
	}
	for _, id := range s.Truth() {
		if id != "none" {
			line(out, r.host.width(), "more", "tcpwhy explain "+id)
		}
	}
	out.Flush()
	return b.String()
}

// evidence is what tcpwhy says as root of the client.
func (r *room) evidence() string {
	r.once.Do(func() {
		c := r.c
		c.Vantage = judge.Root
		result, answer := c.Ask(r.lab, program)
		if result.Error != "" {
			r.proof = result.Error
			return
		}
		var b bytes.Buffer
		out := bufio.NewWriter(&b)
		fmt.Fprintf(out, "\nWhat gives it away, as tcpwhy sees it:\n\n")
		d, err := diagnosis(answer)
		if err == nil {
			err = report.Text(out, d, r.options(false, false))
		}
		if err != nil {
			fmt.Fprintln(out, err)
		}
		out.Flush()
		r.proof = b.String()
	})
	return r.proof
}

// answer judges what a person says the cause is.
func (r *room) answer(said string) isolate.Reply {
	s := r.c.Scenario
	switch {
	case slices.Contains(s.Truth(), said) || said == s.Name:
		r.solved.Store(true)
		return isolate.Reply{Text: "Right.\n" + r.truth(true), Done: true}
	case said != "none" && !isCause(said):
		return isolate.Reply{Error: fmt.Sprintf("there is no cause %q", said), Hint: hint(said), Done: true}
	case slices.Contains(s.Ideal.Root, said):
		return isolate.Reply{Text: "No, though from the client it looks the same. Look on the server, too.\n", Code: exitFails, Done: true}
	}
	return isolate.Reply{Text: "No, it is not " + said + ".\n", Code: exitFails, Done: true}
}

func isCause(id string) bool {
	_, ok := cause.Get(verdict.CauseID(id))
	return ok
}
