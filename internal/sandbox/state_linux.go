package sandbox

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// sendState asks the kernel for the sending half of a connection, nil if it
// does not tell.
func sendState(c *net.TCPConn) *SendState {
	s := &SendState{}
	err := control(c, func(fd int) error {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return err
		}
		s.Unsent, s.Peer, s.Probes = int(info.Notsent_bytes), int(info.Snd_wnd), int(info.Probes)
		s.Queued, err = unix.IoctlGetInt(fd, unix.SIOCOUTQ)
		return err
	})
	if err != nil {
		return nil
	}
	return s
}

// peerEnded says how the peer ended a connection that nobody reads, "FIN" or
// "RST"; "" while it has not. A FIN behind data for which the window has no
// room is not here yet.
func peerEnded(c *net.TCPConn) string {
	const closeWait, closed = 8, 7 // include/net/tcp_states.h
	how := ""
	_ = control(c, func(fd int) error {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return err
		}
		switch info.State {
		case closeWait:
			how = "FIN"
		case closed:
			how = "RST"
		}
		return nil
	})
	return how
}

// acceptQueue says how many connections wait for accept(2) and how many may: for
// a listening socket TCP_INFO has the length of the queue in tcpi_unacked and
// the backlog in tcpi_sacked (net/ipv4/tcp.c), and one more than that fits
// (sk_acceptq_is_full in include/net/sock.h).
func acceptQueue(ln *net.TCPListener) (wait, fit int, ok bool) {
	err := control(ln, func(fd int) error {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return err
		}
		wait, fit = int(info.Unacked), int(info.Sacked)+1
		return nil
	})
	return wait, fit, err == nil
}

// control runs f on the descriptor of a socket.
func control(c syscall.Conn, f func(fd int) error) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}
