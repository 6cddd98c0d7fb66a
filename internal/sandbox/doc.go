// Package sandbox holds small applications to play with TCP and DNS: a server
// that misbehaves as told, a client that sends numbered messages and times the
// answers, a name server that lies as told, and a single DNS question. With
// them a person makes failures on purpose, on one machine or two, and looks at
// them with any tool.
//
// The applications tell what happens as [Event] values and print nothing
// themselves. Server and client talk in lines of text, so that nc(1) can stand
// in for either; see [Message] and [Ack].
//
// It stands beside the layers and imports nothing of ours: what it does must
// not depend on what the diagnosis believes.
package sandbox
