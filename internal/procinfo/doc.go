// Package procinfo tells what the system knows of a process: its command line
// without secrets, when it started, its systemd unit and container, and its use
// of descriptors. It also knows which programs and units usually serve a port.
//
// Everything a process says of itself is hostile text: it comes out bounded, in
// printable ASCII, and with what looks like a secret replaced. The package
// imports evidence only.
package procinfo
