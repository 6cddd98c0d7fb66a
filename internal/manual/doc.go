// Package manual holds one page for every cause: what it means, how it shows, how
// to confirm, fix, verify and prevent it, with commands. Pages are embedded
// Markdown with a fixed form (see parse), so that a verdict can take its "do next"
// and "fix" from them. What many causes share stands once: in topics (see
// parseTopic), and in tables of the texts that programs print for an error. The
// commands are for a root shell, or PowerShell, on the machine they name.
//
// It is pure: nothing happens at start-up, and a page is parsed only when asked
// for. It imports the standard library only.
package manual
