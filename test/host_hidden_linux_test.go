package test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/lab"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// joined runs the client with what the server tells meanwhile, as over ssh, and
// returns what both say at last.
func (s *site) joined(t *testing.T, program string) (asked result, host *told) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var said, talk bytes.Buffer
	tells := s.hostCommand(lab.Server, program, fmt.Sprintf(":%d", s.Dst().Port()), "--from", s.Addr(lab.Client).String(), "--during", "30s", "-o", "json")
	tells.Stdout, tells.Stderr = w, &talk
	if err := errors.Join(tells.Start(), w.Close()); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- tells.Wait() }()
	defer tells.Process.Kill()

	client := s.Command(lab.Client, false, program, "-o", "json", "--connect-timeout", "1s", "--host-evidence", "-", s.Dst().String())
	keep, pass, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	copied := make(chan struct{})
	go func() { // what the client reads is kept, too
		defer close(copied)
		defer pass.Close()
		b := make([]byte, 1<<16)
		for {
			n, err := r.Read(b)
			said.Write(b[:n])
			if err != nil {
				return
			}
			if _, err := pass.Write(b[:n]); err != nil {
				return
			}
		}
	}()
	client.Stdin = keep
	asked = finish(t, client)
	keep.Close()
	select {
	case <-copied: // nobody reads any more
	case <-time.After(hang):
		t.Fatal("the host tells nothing more, and does not end")
	}
	r.Close()
	<-ended
	if talk.Len() > 0 {
		t.Errorf("the host's side: %s", &talk)
	}
	whole := said.Bytes()[:bytes.LastIndexByte(said.Bytes(), '\n')+1]
	if host, err = decodeHost(lastLine(whole)); err != nil {
		t.Fatal(err)
	}
	return asked, host
}

// TestHostBehindNAT finds the client's SYN on a server to which a gateway hides the
// client, and takes that of a SYN proxy for none.
func TestHostBehindNAT(t *testing.T) {
	nettest.NeedRoot(t)
	if inUserNS() {
		nettest.Unsupported(t, "root of the machine, for the kernel's reasons")
	}
	nft := nettest.NeedProgram(t, "nft")
	program := nettest.Build(t, "../cmd/tcpwhy")
	scenario, ok := lab.Find("none-nat-gateway")
	if !ok {
		t.Fatal("no scenario none-nat-gateway")
	}
	const gateway = "10.77.2.1"
	behind := func(t *testing.T) *site {
		t.Parallel()
		s := &site{open(t, scenario, lab.V4), publicDir(t)}
		s.must(t, nft, "add table inet site; add chain inet site in { type filter hook input priority 0; }; add rule inet site in ip saddr "+gateway+" tcp dport 8080 counter drop")
		return s
	}
	// arrived are the sequence numbers with which SYNs of the gateway came.
	arrived := func(h *told) (seqs []uint32) {
		for _, p := range h.Host.Watched.Packets {
			if !p.Outgoing && strings.HasPrefix(p.Flags, "SYN") && p.Src.Addr().String() == gateway {
				seqs = append(seqs, p.Seq)
			}
		}
		return seqs
	}

	for name, ecn := range map[string]string{"NAT": "2", "NAT, and the client asks for ECN": "1"} {
		t.Run(name, func(t *testing.T) {
			s := behind(t)
			if out, err := s.Command(lab.Client, false, "/bin/sh", "-ec", "echo "+ecn+" > /proc/sys/net/ipv4/tcp_ecn").CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			asked, host := s.joined(t, program)
			a := asked.says(t, 1, "timeout", "host-firewall-drop")
			facts := asked.facts(t)
			if a.Verdict.Certainty != "certain" || facts[string(evidence.HostSYN)] != "yes" || facts[string(evidence.HostDrop)] != string(evidence.DropNetfilter) {
				t.Errorf("%s of %v: %s\n%v", a.Verdict.Certainty, a.Verdict.Candidates, a.Verdict.Finding, facts)
			}
			if len(arrived(host)) == 0 {
				t.Errorf("no SYN of the gateway is kept: %+v", host.Host.Watched)
			}
			contains(t, asked.stdout, "by NAT from "+gateway+":")
			// The host alone, asked about the client's own address, sees nothing wrong.
			if _, ok := facts[string(evidence.HostRule)]; ok {
				t.Errorf("what the rules do with an address that the host never sees counts: %v", facts)
			}
		})
	}

	t.Run("SYN proxy", func(t *testing.T) {
		s := behind(t)
		for _, line := range []string{
			"add table ip proxy; add chain ip proxy first { type filter hook prerouting priority -300; }; add chain ip proxy passes { type filter hook forward priority 0; }",
			"add rule ip proxy first tcp dport 8080 tcp flags syn notrack",
			"add rule ip proxy passes tcp dport 8080 ct state invalid,untracked synproxy mss 1460 wscale 7 timestamp sack-perm",
			"add rule ip proxy passes ct state invalid drop",
		} {
			cmd := s.Command(lab.R1, false, nft, line)
			if out, err := cmd.CombinedOutput(); err != nil {
				nettest.Unsupported(t, fmt.Sprintf("a SYN proxy: %v: %s", err, out))
			}
		}
		if out, err := s.Command(lab.R1, false, "/bin/sh", "-ec", "echo 0 > /proc/sys/net/netfilter/nf_conntrack_tcp_loose").CombinedOutput(); err != nil {
			nettest.Unsupported(t, fmt.Sprintf("a SYN proxy: %v: %s", err, out))
		}
		asked, host := s.joined(t, program)
		var doc struct {
			Addresses []struct {
				Packets []struct {
					Outgoing bool
					Flags    string
					Seq      uint32
				}
			}
		}
		decodeInto(t, asked.stdout, &doc)
		seqs := arrived(host)
		took := false // the proxy takes the client's number over, or this shows nothing
		for _, a := range doc.Addresses {
			for _, p := range a.Packets {
				took = took || p.Outgoing && p.Flags == "SYN" && slices.Contains(seqs, p.Seq)
			}
		}
		if !took {
			nettest.Unsupported(t, fmt.Sprintf("a SYN proxy that takes the number over: %d of its SYNs came", len(seqs)))
		}
		for _, k := range []evidence.Key{evidence.HostSYN, evidence.HostDrop, evidence.HostRule} {
			if v, ok := asked.facts(t)[string(k)]; ok {
				t.Errorf("of the proxy's own SYN it says that %s is %s", k, v)
			}
		}
	})
}
