// Package htmlstyle is what the project's HTML pages share: the style sheet
// with its colours, light and dark, and the content security policy that lets
// a page use its own style and script and nothing else. It imports the
// standard library only.
package htmlstyle

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"strings"
)

// Base is the style sheet that every page begins with: colours as custom
// properties, headings, text, tables, commands.
//
//go:embed base.css
var Base string

// Policy is the value of Content-Security-Policy for a page that has nothing
// but the given style sheet and scripts, each inline in one element of its own:
// CSP Level 3 section 8.4. A script of "" is none.
func Policy(style, script string) string {
	p := "default-src 'none'; style-src " + source(style) + "; "
	if script != "" {
		p += "script-src " + source(script) + "; "
	}
	return p + "base-uri 'none'; form-action 'none'"
}

// source is the hash source that allows exactly text.
func source(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// Sheet joins Base and the style sheet of a kind of page.
func Sheet(own string) string {
	return strings.TrimSpace(Base) + "\n" + strings.TrimSpace(own) + "\n"
}
