package htmlstyle_test

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/htmlstyle"
)

// Text can be read on every ground that it stands on, in light, in dark and on
// paper: a contrast of 4.5 to 1, WCAG 2.2 success criterion 1.4.3.
func TestContrast(t *testing.T) {
	light, dark := colours(t, htmlstyle.Base[:strings.Index(htmlstyle.Base, "@media")]), map[string]string(nil)
	dark = colours(t, section(t, "@media (prefers-color-scheme: dark)"))
	paper := colours(t, section(t, "@media print"))
	if len(light) < 10 || len(dark) != len(light) {
		t.Fatalf("%d colours in light, %d in dark", len(light), len(dark))
	}
	for scheme, c := range map[string]map[string]string{"light": light, "dark": dark, "paper": paper} {
		for _, pair := range [][2]string{
			{"text", "page"}, {"text", "card"}, {"text", "bad-card"}, {"text", "good-card"}, {"text", "part-card"},
			{"quiet", "page"}, {"quiet", "card"}, {"link", "page"}, {"link", "card"},
			{"bad", "page"}, {"good", "page"}, {"part", "page"}, {"bad", "bad-card"}, {"good", "good-card"}, {"part", "part-card"},
		} {
			if got := contrast(t, c[pair[0]], c[pair[1]]); got < 4.5 {
				t.Errorf("%s: %s on %s has a contrast of %.2f", scheme, pair[0], pair[1], got)
			}
		}
	}
	if got := contrast(t, "#000000", "#ffffff"); math.Abs(got-21) > 0.01 {
		t.Errorf("black on white: %.2f, want 21", got)
	}
	if got := contrast(t, "#777777", "#ffffff"); math.Abs(got-4.48) > 0.01 {
		t.Errorf("#777 on white: %.2f, want 4.48", got)
	}
}

// section is the style sheet from a marker on.
func section(t *testing.T, marker string) string {
	t.Helper()
	_, after, ok := strings.Cut(htmlstyle.Base, marker)
	if !ok {
		t.Fatalf("no %s", marker)
	}
	return after[:strings.Index(after, "}")]
}

func colours(t *testing.T, css string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, m := range regexp.MustCompile(`--([a-z-]+): (#[0-9a-f]{6});`).FindAllStringSubmatch(css, -1) {
		out[m[1]] = m[2]
	}
	return out
}

// contrast is the ratio of WCAG 2.2, "contrast ratio" and "relative luminance".
func contrast(t *testing.T, a, b string) float64 {
	t.Helper()
	luminance := func(hex string) float64 {
		if len(hex) != 7 {
			t.Fatalf("no colour: %q", hex)
		}
		sum := 0.0
		for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
			n, err := strconv.ParseUint(hex[1+2*i:3+2*i], 16, 8)
			if err != nil {
				t.Fatal(err)
			}
			c := float64(n) / 255
			if c <= 0.04045 {
				c /= 12.92
			} else {
				c = math.Pow((c+0.055)/1.055, 2.4)
			}
			sum += weight * c
		}
		return sum
	}
	x, y := luminance(a), luminance(b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

func TestPolicy(t *testing.T) {
	// echo -n a | openssl dgst -sha256 -binary | base64
	const hash = "'sha256-ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs='"
	if got, want := htmlstyle.Policy("a", ""), "default-src 'none'; style-src "+hash+"; base-uri 'none'; form-action 'none'"; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if got := htmlstyle.Policy("b", "a"); !strings.Contains(got, "script-src "+hash) {
		t.Errorf("no script in %s", got)
	}
}
