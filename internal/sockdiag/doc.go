// Package sockdiag reads the kernel's table of TCP sockets over sock_diag(7):
// who listens and how full the accept queue is, which sockets have a
// four-tuple, which ports are taken, and which process owns a socket. It works
// for an ordinary user; only the owner of other users' sockets needs more.
//
// A connection belongs to the network namespace of the thread that opened it,
// and stays there. The package imports nothing of ours.
package sockdiag
