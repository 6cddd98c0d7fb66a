package bpf

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// clang is the version that made the objects: that of the packages clang-14 and
// llvm-14 of Debian 12. Another one makes others, which work as well.
const clang = "14.0.6"

// The committed objects are what the source gives, byte for byte.
func TestGenerated(t *testing.T) {
	compiler := nettest.NeedProgram(t, "clang")
	out, err := exec.Command(compiler, "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	if version := " version " + clang; !strings.Contains(string(out), version+"\n") && !strings.Contains(string(out), version+" ") {
		nettest.Unsupported(t, "clang "+clang)
	}
	nettest.NeedProgram(t, "llvm-strip")
	source, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, line, ok := strings.Cut(string(source), "//go:generate ")
	line, _, _ = strings.Cut(line, "\n")
	before, after, found := strings.Cut(line, "bpf2go ")
	if !ok || !found {
		t.Fatalf("no line of go:generate: %q", line)
	}
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", before+"bpf2go -output-dir "+dir+" "+after)
	cmd.Env = append(os.Environ(), "GOPACKAGE=bpf")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	made, err := filepath.Glob(dir + "/*")
	if err != nil || len(made) != 4 {
		t.Fatalf("%q, %v", made, err)
	}
	for _, m := range made {
		fresh, err := os.ReadFile(m)
		if err != nil {
			t.Fatal(err)
		}
		committed, err := os.ReadFile(filepath.Base(m))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(fresh, committed) {
			t.Errorf("%s is not what trace.bpf.c gives: run go generate ./internal/bpf", filepath.Base(m))
		}
	}
}
