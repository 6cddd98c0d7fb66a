package netns_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/netns"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// others finds the namespace with an inode.
func others(t *testing.T, inode uint64) (netns.Other, bool) {
	t.Helper()
	found, err := netns.FindOthers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(found.List, func(o netns.Other) bool { return o.Inode == inode })
	if i < 0 {
		return netns.Other{}, false
	}
	if n := slices.IndexFunc(found.List[i+1:], func(o netns.Other) bool { return o.Inode == inode }); n >= 0 {
		t.Errorf("namespace %d is there twice", inode)
	}
	return found.List[i], true
}

func inodeOf(t *testing.T, ns *netns.NS) (inode uint64) {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(ns.Fd(), &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

func TestFindOthersByProcess(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		ns := newNS(t)
		inode := inodeOf(t, ns)
		if o, ok := others(t, inode); ok {
			t.Errorf("%+v has neither process nor mount", o)
		}
		cmd := exec.CommandContext(t.Context(), "/bin/cat")
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := ns.Start(cmd, nil); err != nil {
			t.Fatal(err)
		}
		defer cmd.Wait()
		defer stdin.Close()
		o, ok := others(t, inode)
		if want := (netns.Other{Inode: inode, PID: cmd.Process.Pid, Path: "/proc/" + strconv.Itoa(cmd.Process.Pid) + "/ns/net"}); !ok || o != want {
			t.Fatalf("%+v, want %+v", o, want)
		}
		there, err := o.Open()
		if err != nil {
			t.Fatal(err)
		}
		defer there.Close()
		var got string
		if err := there.Do(func() error { got = id(t); return nil }); err != nil || !strings.Contains(got, strconv.FormatUint(inode, 10)) {
			t.Errorf("entered %s, want %d; %v", got, inode, err)
		}
		o.Inode++
		if ns, err := o.Open(); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("opened another namespace: %v, %v", ns, err)
		}
	})
}

func TestFindOthersByMount(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.LeakCheck(t)
		ns := newNS(t)
		inode := inodeOf(t, ns)
		path := filepath.Join(t.TempDir(), "a net\\ns")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		here, err := netns.Current()
		if err != nil {
			t.Fatal(err)
		}
		defer here.Close()
		// The mount is seen by one thread only, and gone with it.
		if err := here.Do(func() error {
			if err := errors.Join(
				unix.Unshare(unix.CLONE_NEWNS),
				unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
				unix.Mount("/proc/self/fd/"+strconv.Itoa(ns.Fd()), path, "", unix.MS_BIND, ""),
			); err != nil {
				return err
			}
			o, ok := others(t, inode)
			if want := (netns.Other{Inode: inode, Path: path}); !ok || o != want {
				t.Errorf("%+v, want %+v", o, want)
			}
			there, err := o.Open()
			if err != nil {
				return err
			}
			return there.Close()
		}); err != nil {
			t.Fatal(err)
		}
	})
}

// TestFindOthersHidden: what an ordinary user may not see is counted.
func TestFindOthersHidden(t *testing.T) {
	found, err := netns.FindOthers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Readlink("/proc/1/ns/net"); (err != nil) != (found.Hidden > 0) {
		t.Errorf("%d hidden; the init process: %v", found.Hidden, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if found, err = netns.FindOthers(ctx); err != nil || found.Unseen == 0 {
		t.Errorf("after cancelling: %+v, %v", found, err)
	}
}
