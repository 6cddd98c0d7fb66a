package errtext

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestLookup(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []Meaning
	}{
		{"ECONNREFUSED", []Meaning{{Linux, "ECONNREFUSED", 111, Refused}, {MacOS, "ECONNREFUSED", 61, Refused}, {Windows, "WSAECONNREFUSED", 10061, Refused}}},
		{" econnrefused ", []Meaning{{Linux, "ECONNREFUSED", 111, Refused}, {MacOS, "ECONNREFUSED", 61, Refused}, {Windows, "WSAECONNREFUSED", 10061, Refused}}},
		{"WSAETIMEDOUT", []Meaning{{Linux, "ETIMEDOUT", 110, ConnectTimeout}, {MacOS, "ETIMEDOUT", 60, ConnectTimeout}, {Windows, "WSAETIMEDOUT", 10060, ConnectTimeout}}},
		{"111", []Meaning{{Linux, "ECONNREFUSED", 111, Refused}}},
		{"61", []Meaning{{MacOS, "ECONNREFUSED", 61, Refused}, {Linux, "ENODATA", 61, ""}}},
		{"101", []Meaning{{Linux, "ENETUNREACH", 101, NetworkUnreachable}, {MacOS, "ETIME", 101, ""}}},
		{"10061", []Meaning{{Windows, "WSAECONNREFUSED", 10061, Refused}}},
		{"-2", []Meaning{{Linux, "EAI_NONAME", -2, NameNotFound}}},
		{"13", []Meaning{{Linux, "EACCES", 13, AccessDenied}, {MacOS, "EACCES", 13, AccessDenied}}},
		{"EAI_NONAME", []Meaning{{Linux, "EAI_NONAME", -2, NameNotFound}, {MacOS, "EAI_NONAME", 8, NameNotFound}, {Windows, "WSAHOST_NOT_FOUND", 11001, NameNotFound}}},
		{"0", nil}, {"", nil}, {"9999", nil}, {"ENOENT", nil},
	} {
		if got := Lookup(c.in); !reflect.DeepEqual(got, c.want) {
			t.Errorf("Lookup(%q)\n got %v\nwant %v", c.in, got, c.want)
		}
	}
	// What is 60 on one system must not be said of another.
	for _, m := range Lookup("60") {
		if m.System == Linux && m.Kind != "" {
			t.Errorf("60 on Linux is %v", m)
		}
	}
}

func TestNamesAreKnown(t *testing.T) {
	for _, n := range Names() {
		if len(Lookup(n)) == 0 {
			t.Errorf("%s is not known", n)
		}
	}
}

// TestPhrases holds the table together: every phrase in lower case and within
// what the automaton can number, every kind described, no text twice without a
// way to tell them apart.
func TestPhrases(t *testing.T) {
	seen := map[string]phrase{}
	for _, p := range phrases() {
		if p.text != strings.ToLower(p.text) || strings.TrimSpace(p.text) == "" {
			t.Errorf("%q is not in lower case", p.text)
		}
		if _, ok := Describe(p.kind); !ok {
			t.Errorf("%q: kind %q is not described", p.text, p.kind)
		}
		if o, ok := seen[p.text]; ok && (o.exact == p.exact || p.exact == "") {
			t.Errorf("%q stands twice", p.text)
		}
		seen[p.text] = p
		if (p.need&needCase != 0) != (p.exact != "") || !strings.EqualFold(p.exact, p.text) && p.exact != "" {
			t.Errorf("%q: exact is %q", p.text, p.exact)
		}
	}
	if a := machine(); len(a.next)>>a.shift > 1<<16 || int(a.accept)+len(a.outputs) != len(a.next)>>a.shift {
		t.Errorf("%d states, %d classes", len(a.next)>>a.shift, 1<<a.shift)
	}
	used := map[Kind]bool{}
	for _, p := range phrases() {
		used[p.kind] = true
	}
	used[ReadTimeout] = true
	for _, k := range Kinds() {
		if !used[k.Kind] || k.Title == "" || !strings.HasSuffix(k.Proves, ".") || !strings.HasSuffix(k.Hides, ".") {
			t.Errorf("kind %s has no phrase or no sentences", k.Kind)
		}
	}
	kinds := Kinds()
	if !slices.IsSortedFunc(kinds, func(a, b Info) int { return 0 }) || len(kinds) < 30 {
		t.Errorf("%d kinds", len(kinds))
	}
}
