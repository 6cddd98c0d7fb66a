// Package manual holds one page for every cause: what it means, how to confirm
// it and how to fix it, with commands. Pages are embedded Markdown with a fixed
// form (see parse), so that a verdict can take its "do next" and "fix" from
// them. The commands are for a root shell on the machine they name.
//
// It is pure: nothing happens at start-up, and a page is parsed only when asked
// for. It imports the standard library only.
package manual
