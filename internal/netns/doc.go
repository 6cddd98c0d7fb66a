// Package netns works in another network namespace without ever putting the
// program's own threads at risk.
//
// A namespace is a property of an OS thread, and the Go scheduler moves
// goroutines between threads. So there is one door: Do runs a function on a
// thread of its own that is in the namespace and is thrown away afterwards; no
// path, whether error, panic or kill, can leave a thread of the program behind in
// the wrong namespace. Sockets made inside Do stay in the namespace and can be
// used from anywhere.
//
// Namespaces are anonymous: a file descriptor holds them and nothing else, so
// the kernel removes them, and every interface and rule in them, when the
// process dies in whatever way. It imports nothing of ours.
package netns
