package netns

// Others are the network namespaces of this host besides that of the calling
// thread, as far as they can be seen.
type Others struct {
	List []Other
	// Hidden counts processes whose namespace the caller may not see, Omitted the
	// namespaces beyond the bound on List, and Unseen the processes that were
	// not looked at for want of time.
	Hidden, Omitted, Unseen int
}

// Other is a network namespace and one way to enter it.
type Other struct {
	// Inode identifies the namespace, as in /proc/PID/ns/net.
	Inode uint64
	// PID is a process in it; 0 where it was found as a mount.
	PID int
	// Path is the file that stands for it, /proc/PID/ns/net or the mount point.
	Path string
}
