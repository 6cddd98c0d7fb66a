// Package isolate runs a copy of the program in namespaces of its own, and lets
// terminals join it.
//
// Start makes the copy PID 1 of a new PID namespace, with mounts and a network
// of its own, and as an ordinary user in a user namespace, too. The kernel kills
// it when the process that started it dies, and with it everything that it ever
// started: namespaces, mounts and files go whoever is killed at whatever moment,
// with no clean-up of ours. PID 1 (Init) mounts and reaps; its one child does the
// work and calls Enter.
//
// What joins comes as a connection: from the outer program itself, or from
// another one by way of a door, an abstract unix(7) socket that vanishes with
// the process that opened it. A Request on it asks for a shell, which gets a
// terminal of its own (Attach, Serve), or for an answer.
//
// It knows nothing of what is done inside. It imports netns only.
package isolate
