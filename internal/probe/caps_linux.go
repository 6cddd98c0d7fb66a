package probe

import "golang.org/x/sys/unix"

// MayCapture says whether this process has CAP_NET_RAW in effect, which packet
// sockets need. See capabilities(7).
func MayCapture() bool {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return false
	}
	return data[0].Effective&(1<<unix.CAP_NET_RAW) != 0
}
