package xtables

import (
	"testing"
	"unicode"
)

// Whatever the kernel, or something in its place, answers: no panic, and text
// that is harmless and bounded. The seeds are tables of a real kernel.
func FuzzParse(f *testing.F) {
	f.Fuzz(func(t *testing.T, v6 bool, info, blob []byte) {
		family := IPv4
		if v6 {
			family = IPv6
		}
		in, err := parseInfo(info)
		if err != nil {
			return
		}
		table, err := parse(family, in, blob)
		if err != nil {
			return
		}
		for _, c := range table.Chains {
			for i, r := range c.Rules {
				if r.Number != i+1 {
					t.Errorf("rule %d has number %d", i+1, r.Number)
				}
				s := r.Text(family, c.Name)
				if len(s) > maxText+3 {
					t.Errorf("%d bytes of text", len(s))
				}
				for _, x := range s {
					if !unicode.IsPrint(x) {
						t.Errorf("%q is in the text", x)
					}
				}
			}
		}
	})
}
