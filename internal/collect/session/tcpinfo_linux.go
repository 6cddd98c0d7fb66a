package session

import (
	"fmt"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// state asks the kernel about the connection (tcp(7), TCP_INFO; SIOCOUTQ).
func (st *stream) state() (tcpState, error) {
	var (
		info   unix.TCPInfo
		size   = uint32(unsafe.Sizeof(info))
		queued int
		err    error
	)
	ctlErr := st.raw.Control(func(fd uintptr) {
		// unix.GetsockoptTCPInfo does not tell how much the kernel filled in.
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.IPPROTO_TCP, unix.TCP_INFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
		if errno != 0 {
			err = fmt.Errorf("getsockopt TCP_INFO: %w", errno)
			return
		}
		if queued, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ); err != nil {
			err = fmt.Errorf("ioctl SIOCOUTQ: %w", err)
		}
	})
	if ctlErr != nil {
		err = ctlErr
	}
	if err != nil {
		return tcpState{}, err
	}
	const closed = 7 // TCP_CLOSE, include/net/tcp_states.h
	s := tcpState{
		open:       info.State != closed,
		rtt:        time.Duration(info.Rtt) * time.Microsecond,
		mss:        int(info.Snd_mss),
		queued:     queued,
		unacked:    int(info.Unacked),
		probing:    info.Probes > 0 || info.Backoff > 0,
		acked:      info.Bytes_acked,
		segsIn:     info.Segs_in,
		segsOut:    info.Segs_out,
		window:     -1,
		outOfOrder: int(info.Rcv_ooopack),
	}
	if size >= uint32(unsafe.Offsetof(info.Snd_wnd)+unsafe.Sizeof(info.Snd_wnd)) {
		s.window = int(info.Snd_wnd)
	}
	return s, nil
}

// quietErrors turns off that ICMP errors fail calls on the connection (ip(7),
// IP_RECVERR), which the socket may have inherited from how it was connected.
func quietErrors(raw syscall.RawConn) {
	raw.Control(func(fd uintptr) {
		unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVERR, 0)
		unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 0)
	})
}
