//go:build linux

package test

import (
	"bytes"
	"context"
	"net/netip"
	"strings"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/cause"
	"github.com/tcpwhy/tcpwhy/internal/flow"
	"github.com/tcpwhy/tcpwhy/internal/probe"
	"github.com/tcpwhy/tcpwhy/internal/report"
	"github.com/tcpwhy/tcpwhy/internal/report/reporttest"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// TestReportOfLiveRuns takes real runs on this host all the way: JSON as the
// schema says, read back the same, and a page that is sound, of the run and of
// its redacted copy.
func TestReportOfLiveRuns(t *testing.T) {
	closed := reserve(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var list []*verdict.Diagnosis
	for _, s := range []string{closed, "payroll.localhost:" + strings.TrimPrefix(closed, "127.0.0.1:")} {
		target, err := flow.ParseTarget(s)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, probe.Run(ctx, target, probe.Options{Count: 1, ConnectTimeout: probe.DefaultConnectTimeout, Patience: probe.DefaultPatience}))
	}
	var saved bytes.Buffer
	for _, d := range list {
		var line bytes.Buffer
		if err := report.JSON(&line, d); err != nil {
			t.Fatal(err)
		}
		if err := reporttest.Validate(line.Bytes()); err != nil {
			t.Error(err)
		}
		saved.Write(line.Bytes())
	}
	back, err := report.Read(bytes.NewReader(saved.Bytes()), "saved")
	if err != nil {
		t.Fatal(err)
	}
	var again bytes.Buffer
	for _, d := range back {
		if err := report.JSON(&again, d); err != nil {
			t.Fatal(err)
		}
	}
	if again.String() != saved.String() {
		t.Errorf("read back it is another:\n%s%s", saved.String(), again.String())
	}
	r := report.NewRedactor()
	var redacted []*verdict.Diagnosis
	for _, d := range list {
		redacted = append(redacted, r.Redact(d))
	}
	for name, some := range map[string][]*verdict.Diagnosis{"live": list, "saved": back, "redacted": redacted} {
		var page bytes.Buffer
		if err := report.HTML(&page, some, report.Options{Titles: cause.Title}); err != nil {
			t.Fatal(err)
		}
		if err := reporttest.CheckPage(page.Bytes(), nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if has := strings.Contains(page.String(), "payroll"); has == (name == "redacted") {
			t.Errorf("%s: the name is there: %t", name, has)
		}
	}
	for _, c := range report.Compare(list, back) {
		if len(c.Items) != 0 || c.Before == nil || c.After == nil {
			t.Errorf("a run and its saved copy differ: %+v", c.Items)
		}
	}
	if !list[0].Addresses[0].Addr.Addr().IsLoopback() || redacted[0].Addresses[0].Addr != list[0].Addresses[0].Addr {
		t.Errorf("%v became %v: the loopback stays", list[0].Addresses, netip.AddrPort(redacted[0].Addresses[0].Addr))
	}
}
