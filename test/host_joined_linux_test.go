package test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/lab"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
	"github.com/tcpwhy/tcpwhy/internal/report/reporttest"
)

// facts reads the kinds and values of what an answer goes by.
func (r result) facts(t *testing.T) map[string]string {
	t.Helper()
	var doc struct {
		Evidence []struct{ Kind, Value string }
	}
	decodeInto(t, r.stdout, &doc)
	facts := map[string]string{}
	for _, f := range doc.Evidence {
		facts[f.Kind] = f.Value
	}
	return facts
}

// TestHostJoined joins both sides by a pipe, as over ssh.
func TestHostJoined(t *testing.T) {
	nettest.NeedRoot(t)
	if inUserNS() {
		nettest.Unsupported(t, "root of the machine, for the kernel's reasons")
	}
	program := nettest.Build(t, "../cmd/tcpwhy")
	s := newSite(t)
	s.nft(t, "stops", "input priority 0", "tcp dport 8080 counter drop")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var talk bytes.Buffer
	host := s.hostCommand(lab.Server, program, ":8080", "--during", "30s", "-o", "json")
	host.Stdout, host.Stderr = w, &talk
	err = errors.Join(host.Start(), w.Close())
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- host.Wait() }()
	defer host.Process.Kill()

	client := s.Command(lab.Client, false, program, "-o", "json", "--connect-timeout", "1s", "--host-evidence", "-", siteAddr+":8080")
	client.Stdin = r
	asked := finish(t, client)
	a := asked.says(t, 1, "timeout", "host-firewall-drop")
	if a.Verdict.Certainty != "certain" {
		t.Errorf("%s of %v: %s\n%v", a.Verdict.Certainty, a.Verdict.Candidates, a.Verdict.Finding, a.NotChecked)
	}
	facts := asked.facts(t)
	if facts["host.syn-arrives"] != "yes" || facts["host.drop-reason"] != "netfilter" {
		t.Errorf("of the kernel it says host.syn-arrives %q, host.drop-reason %q: %v", facts["host.syn-arrives"], facts["host.drop-reason"], facts)
	}
	// Nobody reads any more.
	r.Close()
	select {
	case <-ended:
		ended <- nil
	case <-time.After(hang):
		t.Fatal("the host's side goes on when nobody reads")
	}
	if talk.Len() > 0 || host.ProcessState.ExitCode() > 1 {
		t.Errorf("the host's side: %v: %s", host.ProcessState, &talk)
	}

	// The same from a file, where what was seen is of other attempts.
	file := filepath.Join(t.TempDir(), "told.json")
	out, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	watch := s.hostCommand(lab.Server, program, ":8080", "--during", "2s", "-o", "json")
	watch.Stdout = out
	wait := begin(t, watch)
	nettest.Eventually(t, "the host watches", func() bool { i, err := os.Stat(file); return err == nil && i.Size() > 0 })
	try(s.Lab, time.Second)
	if r := wait(time.Now()); r.code != 1 || r.stderr != "" {
		t.Errorf("exit code %d: %s", r.code, r.stderr)
	}
	saved, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := reporttest.ValidateHost(saved); err != nil {
		t.Error(err)
	}
	last, err := decodeHost(lastLine(saved))
	if err != nil {
		t.Fatal(err)
	}
	if !last.Host.Complete || last.Host.Watched == nil || len(last.Host.Watched.Events) == 0 || strings.Contains(string(bytes.TrimSuffix(saved, lastLine(saved))), `"complete":true`) {
		t.Errorf("only the last line is complete, with what was seen: %.300s", lastLine(saved))
	}
	asked = finish(t, s.Command(lab.Client, false, program, "-o", "json", "--connect-timeout", "1s", "--host-evidence", file, siteAddr+":8080"))
	asked.says(t, 1, "timeout", "host-firewall-drop")
}

// Ctrl-C ends a watch with the answer so far.
func hostInterrupt(t *testing.T, program string) {
	for _, form := range []string{"text", "json"} {
		t.Run("during/"+form, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			out := newWatcher("tcpwhy.host/1")
			cmd := s.Command(lab.Server, false, program, "host", ":8080", "--during", "1h", "-o", form)
			cmd.Stdout = out
			wait := begin(t, cmd)
			if form == "json" {
				<-out.seen
			} else {
				s.watches(t, cmd.Process.Pid)
			}
			cmd.Process.Signal(os.Interrupt)
			r := wait(time.Now())
			if r.code != 0 && r.code != 3 || r.took > nettest.Patience {
				t.Errorf("exit code %d after %v: %s", r.code, r.took, r.stderr)
			}
			if form == "text" {
				contains(t, out.text(), "port 8080 of ", "would be served")
				return
			}
			a, err := decodeHost(lastLine([]byte(out.text())))
			if err != nil {
				t.Fatal(err)
			}
			if !a.Host.Complete {
				t.Error("the last line is not the whole")
			}
		})
		t.Run("watch/"+form, func(t *testing.T) {
			t.Parallel()
			if inUserNS() {
				nettest.Unsupported(t, "root of the machine, to watch the kernel")
			}
			s := newSite(t)
			seen := map[string]string{"text": "accepted by", "json": `"fate":"accepted"`}[form]
			out := newWatcher(seen)
			cmd := s.Command(lab.Server, false, program, "host", ":8080", "--watch", "-o", form)
			cmd.Stdout = out
			wait := begin(t, cmd)
			s.watches(t, cmd.Process.Pid)
			nettest.Eventually(t, "no attempt is shown", func() bool {
				try(s.Lab, time.Second)
				select {
				case <-out.seen:
					return true
				case <-time.After(100 * time.Millisecond):
					return false
				}
			})
			cmd.Process.Signal(os.Interrupt)
			if r := wait(time.Now()); r.code != 0 || r.took > nettest.Patience || r.stderr != "" {
				t.Errorf("exit code %d after %v: %s", r.code, r.took, r.stderr)
			}
			clean(t, out.text())
			end := lastLine([]byte(out.text()))
			if form == "json" {
				var sum struct {
					Schema   string
					Attempts int
					Fates    map[string]int
				}
				decodeInto(t, string(end), &sum)
				if sum.Schema != "tcpwhy.attempts-summary/1" || sum.Attempts == 0 || sum.Fates["accepted"] == 0 {
					t.Errorf("the summary is %s", end)
				}
			} else if !bytes.Contains(end, []byte(" attempt")) || !bytes.Contains(end, []byte(" accepted")) {
				t.Errorf("the summary is %q", end)
			}
		})
	}
	// Before there is anything to say, too.
	s := newSite(t)
	for i := range 6 {
		cmd := s.Command(lab.Server, i%2 == 0, program, "host", ":8080", "--during", "1h")
		wait := begin(t, cmd)
		time.Sleep(time.Duration(i*i) * 4 * time.Millisecond) // the moment itself is the input
		cmd.Process.Signal(syscall.SIGINT)
		if r := wait(time.Now()); r.took > nettest.Patience || r.code > 3 || r.code == 2 || r.code == -1 && r.stdout != "" {
			t.Errorf("exit code %d after %v: %s%s", r.code, r.took, r.stdout, r.stderr)
		}
	}
}

// watches waits until a process on the server looks at packets. Until then it has
// nothing to say.
func (s *site) watches(t *testing.T, pid int) {
	t.Helper()
	nettest.Eventually(t, "it captures no packets", func() bool {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/net/packet", pid)) // a head, and a line for each packet socket
		return bytes.Count(b, []byte("\n")) > 1
	})
}
