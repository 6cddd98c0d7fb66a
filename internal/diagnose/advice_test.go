package diagnose

import (
	"slices"
	"strings"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/manual"
)

// What holds for any system is advice, too, in its place among the rest.
func TestForLinux(t *testing.T) {
	items := []manual.Item{{OS: "macos", Text: "a"}, {OS: "linux", Text: "b"}, {OS: "any", Text: "c"}, {OS: "docker", Text: "d"}, {OS: "linux", Text: "e"}, {OS: "any", Text: "f"}}
	for most, want := range map[int]string{-1: "", 0: "", 1: "b", 3: "bce", 9: "bcef"} {
		var got strings.Builder
		for _, i := range forLinux(items, most) {
			got.WriteString(i.Text)
		}
		if got.String() != want {
			t.Errorf("the first %d are %q, want %q", most, got.String(), want)
		}
	}
}

// Every cause comes with something to do here, and with no remark about other
// systems in its place.
func TestEveryCauseHasAdvice(t *testing.T) {
	for _, id := range manual.IDs() {
		page, ok := manual.Page(id)
		if !ok {
			t.Fatalf("no page %s", id)
		}
		confirm, fix := forLinux(page.Confirm, 2), forLinux(page.Fix, 3)
		if len(confirm) == 0 || len(fix) == 0 {
			t.Errorf("%s: %d checks, %d fixes", id, len(confirm), len(fix))
		}
		for _, i := range slices.Concat(confirm, fix) {
			if strings.HasPrefix(i.Text, "Linux only") {
				t.Errorf("%s: %s", id, i.Text)
			}
		}
	}
}
