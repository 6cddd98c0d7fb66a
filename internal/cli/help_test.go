package cli

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// TestHelpFits: what the commands say of themselves fits 80 columns.
func TestHelpFits(t *testing.T) {
	var look func(*cobra.Command)
	look = func(c *cobra.Command) {
		for _, text := range []string{c.Long, c.Example} {
			for line := range strings.Lines(text) {
				if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
					t.Errorf("%s: %d columns: %s", c.CommandPath(), n, line)
				}
			}
		}
		for _, sub := range c.Commands() {
			if sub.Name() != "completion" { // the library's own words
				look(sub)
			}
		}
	}
	root := (&app{host: System()}).root()
	if len(root.Commands()) < 8 {
		t.Fatalf("%d commands", len(root.Commands()))
	}
	look(root)
}
