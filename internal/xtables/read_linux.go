package xtables

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	getInfo    = 64 // IPT_SO_GET_INFO, IP6T_SO_GET_INFO
	getEntries = 65 // IPT_SO_GET_ENTRIES, IP6T_SO_GET_ENTRIES

	// maxBlob bounds the size of a table in bytes: some hundred thousand rules.
	maxBlob = 64 << 20

	// maxTries is how often a table is read again when it changes meanwhile.
	maxTries = 5
)

// Read reads the tables of a family in the network namespace of the calling
// thread. Where none are in use it returns none. It needs CAP_NET_ADMIN over the
// namespace and else returns an error that wraps EPERM or EACCES (errors.Is with
// fs.ErrPermission).
//
// A table that is only asked for comes into being, with its hooks: Read asks for
// those that /proc/net/ip_tables_names lists as being there.
func Read(ctx context.Context, f Family) ([]*Table, error) {
	list, domain, level := "ip_tables_names", unix.AF_INET, unix.SOL_IP
	if f == IPv6 {
		list, domain, level = "ip6_tables_names", unix.AF_INET6, unix.SOL_IPV6
	}
	// Of the thread: the namespace of the process may be another.
	text, err := os.ReadFile("/proc/thread-self/net/" + list)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // no tables, or a kernel without them
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f, err)
	}
	names := strings.Fields(string(text))
	if len(names) == 0 {
		return nil, nil
	}
	if runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		return nil, fmt.Errorf("%s: %w: the layout of rules on %s is not known", f, errors.ErrUnsupported, runtime.GOARCH)
	}
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: open socket: %w", f, err)
	}
	defer unix.Close(fd)
	slices.Sort(names)
	var out []*Table
	for _, name := range slices.Compact(names) {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%s: %w", f, ctx.Err())
		}
		t, err := readTable(fd, level, f, name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		out = append(out, t)
	}
	return out, nil
}

func readTable(fd, level int, f Family, name string) (*Table, error) {
	if len(name) >= nameLen {
		return nil, fmt.Errorf("table %q: its name is too long", name)
	}
	for range maxTries {
		b := make([]byte, infoSize)
		copy(b, name)
		if err := getsockopt(fd, level, getInfo, b); err != nil {
			return nil, fmt.Errorf("table %q: IPT_SO_GET_INFO: %w", name, err)
		}
		in, err := parseInfo(b)
		if err != nil {
			return nil, fmt.Errorf("table %q: %w", name, err)
		}
		if in.size > maxBlob {
			return nil, fmt.Errorf("table %q: its rules take %d bytes, more than %d", name, in.size, maxBlob)
		}
		const header = nameLen + 8 // struct ipt_get_entries: name, size, padding
		b = make([]byte, header+int(in.size))
		copy(b, name)
		binary.NativeEndian.PutUint32(b[nameLen:], in.size)
		err = getsockopt(fd, level, getEntries, b)
		if errors.Is(err, unix.EAGAIN) {
			continue // another size since
		}
		if err != nil {
			return nil, fmt.Errorf("table %q: IPT_SO_GET_ENTRIES: %w", name, err)
		}
		return parse(f, in, b[header:])
	}
	return nil, fmt.Errorf("table %q: it changed %d times while it was read: try again", name, maxTries)
}

// getsockopt fills b, whose start is also the question.
func getsockopt(fd, level, opt int, b []byte) error {
	n := uint32(len(b))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(opt),
		uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&n)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}
