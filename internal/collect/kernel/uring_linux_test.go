package kernel

import (
	"net"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// acceptByRing accepts one connection through io_uring(7), for which there is no
// accept() that a tracepoint sees.
func acceptByRing(t *testing.T, listener int) int {
	t.Helper()
	// struct io_uring_params, and of struct io_sqring_offsets and
	// io_cqring_offsets what is needed; linux/io_uring.h.
	var params struct {
		_                                          [10]uint32
		head, tail, mask, entries, flags, _, array uint32
		_                                          [3]uint32
		cqHead, cqTail, cqMask, cqEntries, _, cqes uint32
		_                                          [4]uint32
	}
	ring, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&params)), 0)
	if errno != 0 {
		nettest.Unsupported(t, "io_uring: "+errno.Error())
	}
	defer unix.Close(int(ring))
	const offsetSQEs = 0x10000000
	mapped := func(offset int64) []byte {
		b, err := unix.Mmap(int(ring), offset, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Munmap(b) })
		return b
	}
	queues, entries := mapped(0), mapped(offsetSQEs)
	const opAccept = 13
	entries[0] = opAccept
	*(*int32)(unsafe.Pointer(&entries[4])) = int32(listener)
	*(*uint32)(unsafe.Pointer(&queues[params.tail])) = 1
	const getEvents = 1
	if _, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, ring, 1, 1, getEvents, 0, 0); errno != 0 {
		t.Fatal(errno)
	}
	fd := *(*int32)(unsafe.Pointer(&queues[params.cqes+8]))
	if fd < 0 {
		t.Fatal(unix.Errno(-fd))
	}
	return int(fd)
}

// The socket table tells of an accept() that was not seen.
func TestAcceptedByRing(t *testing.T) {
	needTracing(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	to := l.Addr().(*net.TCPAddr).AddrPort()
	w, err := Start(t.Context(), collect.Env{Clock: collect.NewClock()}, Options{Port: to.Port()})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	var clients []uint16
	for range 2 { // the second stays in the queue
		c, err := net.Dial("tcp", to.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		clients = append(clients, c.LocalAddr().(*net.TCPAddr).AddrPort().Port())
	}
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { defer unix.Close(acceptByRing(t, int(fd))); settled(t, w, clients[0], FateAccepted) }); err != nil {
		t.Fatal(err)
	}
	if a := settled(t, w, clients[0], FateAccepted); a.PID != 0 {
		t.Errorf("the accept() was seen: %+v", a)
	}
	settled(t, w, clients[1], FateComplete)
}
