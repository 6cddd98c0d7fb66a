// Package session finds out what happens on a TCP connection after its
// handshake: whether the peer ends it at once, which protocol answers a fitting
// greeting, whether TLS and its certificate hold, whether the peer's TCP
// acknowledged what was sent when no reply came, whether large segments and the
// peer's window let data through, and for how long the connection may be idle.
//
// Only what a client of the protocol would send is sent, and the least of it:
// nobody logs in, nothing is changed. What the peer sends is read within bounds
// of size and time, and escaped before it becomes evidence.
//
// It imports evidence, collect and the system's socket calls.
package session
