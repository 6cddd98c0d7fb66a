package probe

import "golang.org/x/sys/unix"

// MayCapture says whether this process has CAP_NET_RAW in effect, which packet
// sockets need. See capabilities(7).
func MayCapture() bool { return capable(unix.CAP_NET_RAW) }

// mayReadRules says whether this process has CAP_NET_ADMIN in effect, without
// which the rules of the packet filters cannot be read.
func mayReadRules() bool { return capable(unix.CAP_NET_ADMIN) }

// capable says whether this process has a capability, below 32, in effect.
func capable(c uint) bool {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return false
	}
	return data[0].Effective&(1<<c) != 0
}
