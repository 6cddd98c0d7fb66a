package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestPcap(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var stdout, stderr bytes.Buffer
	code, err := benchPcap(t.Context(), []string{"-runs", "1", "-connections", "300"}, &stdout, &stderr)
	if err != nil || code == exitFailed {
		t.Fatalf("%d, %v\n%s", code, err, &stderr)
	}
	// So small a capture says nothing about speed.
	for _, want := range []string{"tcpwhy", "gopacket", "of     60 held", "at most 600 MB\n"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("no %q in\n%s", want, &stdout)
		}
	}
	for _, args := range [][]string{{"-runs", "0"}, {"x"}, {"-connections", "1"}} {
		if code, err := benchPcap(t.Context(), args, &stdout, &stderr); err == nil || code != exitFailed {
			t.Errorf("%q: %d, %v", args, code, err)
		}
	}
}
