package procinfo

import (
	"path"
	"strings"
	"testing"
)

func TestUsual(t *testing.T) {
	for port, u := range usuals {
		for _, p := range u.programs {
			if len(p) > 15 || p == "" {
				t.Errorf("port %d: %q cannot be a command name, at most 15 bytes", port, p)
			}
		}
		for _, n := range u.units {
			if _, err := path.Match(n, ""); err != nil || !strings.HasSuffix(n, ".service") && !strings.HasSuffix(n, ".socket") {
				t.Errorf("port %d: %q is no unit", port, n)
			}
		}
	}
	if p := UsualPrograms(5432); len(p) != 1 || p[0] != "postgres" {
		t.Errorf("5432: %q", p)
	}
	UsualPrograms(5432)[0] = "changed"
	if UsualPrograms(5432)[0] != "postgres" {
		t.Error("the caller can change the table")
	}
	if UsualPrograms(1) != nil || UsualUnits(1) != nil {
		t.Error("port 1 has a use")
	}
}
