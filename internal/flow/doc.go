// Package flow holds the values that name a TCP connection: the target a
// person types and the four-tuple a packet carries. It does no I/O and imports
// nothing of this project.
package flow
