package report_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/report"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// originals are the addresses, hardware addresses and names in a set of
// evidence that redaction must not let through, found without its help.
func originals(t *testing.T, d *verdict.Diagnosis) (addrs []netip.Addr, others []string) {
	t.Helper()
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	var tree any
	if err := json.Unmarshal(text, &tree); err != nil {
		t.Fatal(err)
	}
	var walk func(key string, node any)
	walk = func(key string, node any) {
		switch n := node.(type) {
		case map[string]any:
			for k, v := range n {
				walk(k, v)
			}
		case []any:
			for _, v := range n {
				walk(key, v)
			}
		case string:
			a, err := netip.ParseAddr(n)
			if ap, err2 := netip.ParseAddrPort(n); err2 == nil {
				a, err = ap.Addr(), nil
			}
			switch {
			case err == nil && a.IsValid() && !a.IsLoopback() && !a.IsUnspecified() && !a.IsMulticast():
				addrs = append(addrs, a.WithZone("").Unmap())
			case err == nil || n == "":
			case key == "mac", slices.Contains([]string{"host", "full_name", "cnames", "names", "search"}, key) && n != "localhost":
				others = append(others, strings.TrimSuffix(n, "."))
			}
		}
	}
	walk("", tree)
	return addrs, others
}

// forms are the ways in which an address is written.
func forms(a netip.Addr) []string {
	out := []string{a.String(), a.StringExpanded(), strings.ToUpper(a.String())}
	if a.Is4() {
		b := a.As4()
		return append(out, fmt.Sprintf("%d-%d-%d-%d", b[0], b[1], b[2], b[3]), fmt.Sprintf("%02x%02x%02x%02x", b[0], b[1], b[2], b[3]),
			fmt.Sprintf("%d.%d.%d.%d.in-addr.arpa", b[3], b[2], b[1], b[0]), "::ffff:"+a.String())
	}
	var nibbles []string
	for _, c := range slices.Backward([]byte(strings.ReplaceAll(a.StringExpanded(), ":", ""))) {
		nibbles = append(nibbles, string(c))
	}
	return append(out, strings.Join(nibbles, ".")+".ip6.arpa", strings.ReplaceAll(a.StringExpanded(), ":", "-"))
}

// renderings are a diagnosis in every form there is.
func renderings(t *testing.T, d *verdict.Diagnosis) map[string]string {
	t.Helper()
	out := map[string]string{
		"text": text(t, d, report.Options{}), "verbose": text(t, d, report.Options{Verbose: true, Unicode: true, Predicts: predicts}),
		"quiet": text(t, d, report.Options{Quiet: true}), "json": string(jsonLine(t, d)),
		"html": page(t, d), "md": markdown(t, d),
	}
	changes := report.Compare(one(d), one(report.NewRedactor().Redact(works())))
	var b bytes.Buffer
	if err := report.ChangesText(&b, changes, report.Options{}); err != nil {
		t.Fatal(err)
	}
	out["changes"] = b.String()
	return out
}

// found says whether s stands in text, which is in lower case, not as a part of a longer name or number.
func found(text, s string) bool {
	return strings.Contains(text, strings.ToLower(s)) && regexp.MustCompile(`(?i)(^|[^\pL\pN.])`+regexp.QuoteMeta(s)+`($|[^\pL\pN])`).MatchString(text)
}

// No original address, name or hardware address survives in any form of the
// report, whatever it stands in.
func TestRedactLeavesNothing(t *testing.T) {
	for name, d := range everything(t) {
		addrs, others := originals(t, d)
		var secrets []string
		for _, a := range addrs {
			secrets = append(secrets, forms(a)...)
		}
		for _, n := range others {
			secrets = append(secrets, n)
			if !strings.Contains(n, ":") {
				secrets = append(secrets, strings.ToUpper(n), n+".", "www."+n)
			}
		}
		slices.Sort(secrets)
		secrets = slices.Compact(secrets)
		// All of them once more in free text: quoted, in commands, beside other characters.
		for _, s := range secrets {
			for _, form := range []string{"%s", "'%s'", "says %s.", "%s,", "http://%s/x", "=%s;", "<%s>", "%s's", "-d %s:", "[%s]:80", "via:%s"} {
				line := fmt.Sprintf(form, s)
				d.Facts = append(d.Facts, evidence.Fact{ID: "e900", Key: "host.up", Value: "yes", Source: "path", Text: line})
				d.Verdict.Next = append(d.Verdict.Next, verdict.Step{Check: line, Command: "ping " + line})
				d.Verdict.Fix = append(d.Verdict.Fix, verdict.Fix{OS: "linux", Text: line, Command: line})
				d.NotChecked = append(d.NotChecked, evidence.NotChecked{Check: line, Reason: line, How: line})
			}
		}
		d.Verdict.Finding += " " + strings.Join(secrets, " ")
		before, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		redacted := report.NewRedactor().Redact(d)
		if after, _ := json.Marshal(d); !bytes.Equal(before, after) {
			t.Errorf("%s: redaction changed what it was given", name)
		}
		whole, err := json.Marshal(redacted) // with all that no form shows
		if err != nil {
			t.Fatal(err)
		}
		out := renderings(t, redacted)
		out["evidence"] = string(whole)
		for form, s := range out {
			lower := strings.ToLower(s)
			for _, secret := range secrets {
				if found(lower, secret) {
					i := strings.Index(lower, strings.ToLower(secret))
					t.Errorf("%s, %s: %q survives: …%s…", name, form, secret, s[max(0, i-60):min(len(s), i+60)])
					break
				}
			}
			if form != "quiet" && form != "evidence" && !strings.Contains(strings.Join(strings.Fields(s), " "), "redacted") {
				t.Errorf("%s, %s does not say that it is redacted", name, form)
			}
		}
	}
}

// The same original has the same placeholder, wherever it is met and in every
// diagnosis that one Redactor sees.
func TestRedactIsConsistent(t *testing.T) {
	r := report.NewRedactor()
	a, b := r.Redact(refusedNarrowed()), r.Redact(timeoutNarrowed())
	if a.Set.Target.Host != b.Set.Target.Host || a.Addresses[0].Addr != b.Addresses[0].Addr {
		t.Errorf("%v %v and %v %v", a.Set.Target, a.Addresses[0].Addr, b.Set.Target, b.Addresses[0].Addr)
	}
	addr := a.Addresses[0].Addr.Addr().String()
	for _, s := range []string{a.Verdict.Finding, a.Facts[1].Text, a.Verdict.Next[0].Check, a.Verdict.Where.String()} {
		if !strings.Contains(s, addr) {
			t.Errorf("%q has not %s", s, addr)
		}
	}
	if !strings.Contains(a.Facts[0].Text, a.Set.Target.Host+" is "+addr) {
		t.Errorf("the name in %q", a.Facts[0].Text)
	}
}

// What was not to be replaced stays, and what was keeps its structure.
func TestRedactText(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"127.0.0.1 ::1 0.0.0.0:80 [::]:22 ff02::1 localhost", "127.0.0.1 ::1 0.0.0.0:80 [::]:22 ff02::1 localhost"},
		{"10.1.1.1 10.1.1.2 10.1.2.1", "192.0.2.1 192.0.2.2 198.51.100.1"},
		{"10.1.1.0/24 dev eth0", "192.0.2.0/24 dev eth0"},
		{"10.1.1.255 10.1.1.7:53 10.1.1.7.53 > 10.1.1.9", "192.0.2.255 192.0.2.1:53 192.0.2.1.53 > 192.0.2.2"},
		{"fd00:1::5 and fd00:1::6, fd00:2::5", "2001:db8:0:1::1 and 2001:db8:0:1::2, 2001:db8:0:2::1"},
		{"fe80::abcd%eth0 fe80::abcd%corp0", "fe80::1%eth0 fe80::1%if-1"},
		{"::ffff:10.9.9.9 10.9.9.9", "::ffff:192.0.2.1 192.0.2.1"},
		{"1.3.2.10.in-addr.arpa. 10.2.3.1", "1.2.0.192.in-addr.arpa. 192.0.2.1"},
		{"lease of ip-10-2-3-1 10.2.3.1", "lease of ip-192-0-2-1 192.0.2.1"},
		{"02:42:ac:11:00:02 is 02-42-AC-11-00-02, ff:ff:ff:ff:ff:ff", "00:00:5e:00:53:00 is 00:00:5e:00:53:00, ff:ff:ff:ff:ff:ff"},
		{"a.corp.acme.net b.corp.acme.net corp.acme.net", "host-1.host-2.host-3.example host-4.host-2.host-3.example host-2.host-3.example"},
		{"db.acme.com db.acme.org", "host-1.host-2.example host-1.host-2.top-2.example"},
		{"*.acme.com. Acme.COM", "*.host-1.example. host-1.example"},
		{"sysctl net.ipv4.tcp_ecn /etc/resolv.conf nginx.service", "sysctl net.ipv4.tcp_ecn /etc/resolv.conf nginx.service"},
		{"OpenSSH_9.6 nginx/1.18.0 in 0.3 ms, i.e. 62 %", "OpenSSH_9.6 nginx/1.18.0 in 0.3 ms, i.e. 62 %"},
		{"/home/alice/x of alice, bob@10.1.1.1", "/home/user-1/x of user-1, user-2@192.0.2.1"},
		{"bob@payroll said 421 mail.acme.…", "user-1@host-1 said 421 …"},
		{"from carol@acm…, sudo tcpwhy …", "from user-1@…, sudo tcpwhy …"},
		{"10.1.1.1-10.1.1.9", "192.0.2.1-192.0.2.2"},
		{"192.0.2.1 192.0.2.9", "198.51.100.1 198.51.100.2"},
		{"TTL 62 (hop 3) seq 4224953323", "TTL 62 (hop 3) seq 4224953323"},
	} {
		d := fixture("localhost", 80)
		d.Verdict.Finding = tc.in
		if got := report.NewRedactor().Redact(d).Verdict.Finding; got != tc.want {
			t.Errorf("%q\nbecame %q\nwant   %q", tc.in, got, tc.want)
		}
	}
}

func TestRedactInput(t *testing.T) {
	d := fixture("Payroll.Corp.acme.example", 443)
	d.Set.Target.Input = "https://alice:geheim@Payroll.Corp.acme.example/secret/path?token=abc#x"
	d.Verdict.Finding = "payroll says hello to alice, PAYROLL.corp.acme.example"
	got := report.NewRedactor().Redact(d)
	if want := "https://host-1.host-2.host-3.example/"; got.Set.Target.Input != want {
		t.Errorf("input %q, want %q", got.Set.Target.Input, want)
	}
	if want := "host-1 says hello to user-1, host-1.host-2.host-3.example"; got.Verdict.Finding != want {
		t.Errorf("finding %q, want %q", got.Verdict.Finding, want)
	}
}

// A hardware address is one however it is written, and in its own field, too.
func TestRedactMAC(t *testing.T) {
	d := hostDownOwnLAN()
	d.Set.Addresses[0].Packets[0].MAC = "020000000001"
	d.Verdict.Finding = "02:00:00:00:00:01 and 80:00:02:08:fe:80:00:00:00:00:00:00:00:02:c9:03:00:0a:20:f1"
	got := report.NewRedactor().Redact(d)
	const want = "00:00:5e:00:53:00"
	for _, p := range got.Set.Addresses[0].Packets[:2] {
		if p.MAC != want {
			t.Errorf("MAC %s, want %s", p.MAC, want)
		}
	}
	if got.Verdict.Finding != want+" and 00:00:5e:00:53:01" {
		t.Errorf("finding %q", got.Verdict.Finding)
	}
}

// Many addresses get as many placeholders.
func TestRedactIsInjective(t *testing.T) {
	d := fixture("localhost", 80)
	const n = 70_000
	for i := range n {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		d.Addresses = append(d.Addresses, verdict.AddressVerdict{Addr: netip.AddrPortFrom(a, 80)})
	}
	seen := map[netip.Addr]bool{}
	for _, a := range report.NewRedactor().Redact(d).Addresses {
		seen[a.Addr.Addr()] = true
	}
	if len(seen) != n {
		t.Errorf("%d placeholders for %d addresses", len(seen), n)
	}
}

func FuzzRedact(f *testing.F) {
	f.Add("db.corp.example at 10.0.0.1", "10.0.0.7")
	f.Add("::ffff:10.0.0.1%x-y::-..:1::", "2001:db8::7")
	f.Add("1.0.0.127.in-addr.arpa a.b.ip6.arpa. /home/ @x ://", "192.0.2.1")
	f.Fuzz(func(t *testing.T, s, addr string) {
		d := fixture("localhost", 80)
		d.Set.Target.Input, d.Set.Target.Host, d.Verdict.Finding = s, s, s+" "+addr+"\n"+addr
		out := report.NewRedactor().Redact(d)
		a, err := netip.ParseAddr(addr)
		if err != nil || a.Zone() != "" || a.IsLoopback() || a.IsUnspecified() || a.IsMulticast() || a.Unmap().IsLoopback() || a.Unmap().IsUnspecified() || a.Unmap().IsMulticast() || addr == "255.255.255.255" || a.Unmap().String() == "255.255.255.255" {
			return
		}
		if _, last, _ := strings.Cut(out.Verdict.Finding, "\n"); last == addr {
			t.Errorf("%q survives in %q", addr, out.Verdict.Finding)
		}
	})
}
