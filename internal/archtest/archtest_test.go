// Package archtest holds the tests of the project's own layout: imports go
// down only, and every package says what it is for.
package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/tcpwhy/tcpwhy/"

// layers from the top. A package may import those of lower layers, and of its
// own layer only what sideways allows.
var layers = [][]string{
	{"cmd/tcpwhy", "internal/cli", "internal/report", "."},
	{"internal/probe", "internal/judge", "internal/caplive", "internal/isolate", "internal/capture", "internal/hostside"},
	{"internal/diagnose", "internal/cause", "internal/manual"},
	{"internal/collect", "internal/collect/...", "internal/tcpflow", "internal/capdiff"},
	{"internal/wire", "internal/decap", "internal/pcapfile", "internal/pcapfilter", "internal/afpacket", "internal/rawsock", "internal/netns", "internal/rtnl", "internal/sockdiag", "internal/nft", "internal/nfttrace", "internal/xtables", "internal/bpf", "internal/tcpsock", "internal/errtext", "internal/procinfo", "internal/systemd", "internal/journal", "internal/containers"},
	{"internal/flow", "internal/evidence", "internal/verdict", "internal/htmlstyle", "internal/visible"},
}

// sideways lists the imports within a layer that are allowed, with the reason.
var sideways = map[string]map[string]string{
	"cmd/tcpwhy":               {"internal/cli": "main only calls it"},
	"internal/cli":             {"internal/report": "the command line prints reports", ".": "it explains errors as the library does"},
	".":                        {"internal/report": "a diagnosis is also given as the JSON of the contract"},
	"internal/diagnose":        {"internal/cause": "it reasons over the catalogue", "internal/manual": "fixes come from the manual"},
	"internal/collect/...":     {"internal/collect": "the clock and the request"},
	"internal/collect/returns": {"internal/collect/route": "the way back is a route like any other"},
	"internal/probe":           {"internal/hostside": "a target on this host has its server's side here"},
	"internal/capdiff":         {"internal/tcpflow": "the connections that it compares"},
	"internal/evidence":        {"internal/flow": "evidence names targets and four-tuples"},
	"internal/verdict":         {"internal/evidence": "a verdict cites facts"},
	"internal/afpacket":        {"internal/wire": "a packet is captured to be decoded"},
	"internal/rawsock":         {"internal/wire": "a packet is built to be sent"},
	"internal/rtnl":            {"internal/netns": "handles are opened in a namespace"},
	"internal/nft":             {"internal/netns": "rules are made in a namespace", "internal/xtables": "rules of iptables-nft carry matches and targets of iptables"},
	"internal/pcapfile":        {"internal/wire": "a file holds packets"},
	"internal/bpf":             {"internal/wire": "an event has the flags of a segment"},
}

// side packages stand beside the layers: what they may import of ours.
var side = map[string][]string{
	"internal/lab":                 {"internal/netns", "internal/rtnl", "internal/nft"},
	"internal/sandbox":             {},
	"internal/nettest":             {"internal/netns"},
	"internal/archtest":            {},
	"internal/report/reporttest":   {"internal/report"},
	"internal/tcpflow/flowtest":    {},
	"internal/systemd/systemdtest": {"internal/nettest"},
	"internal/tcpsock/routertest":  {"internal/netns", "internal/nettest", "internal/rtnl", "internal/nft"},
}

// shown are the side packages that people get to see, and who shows them.
var shown = map[string][]string{
	"internal/lab":     {"internal/judge", "internal/cli"},
	"internal/sandbox": {"internal/cli"},
}

func TestImportsGoDown(t *testing.T) {
	for dir, pkg := range packages(t) {
		for imported, file := range pkg.imports {
			if why := forbidden(dir, imported); why != "" {
				t.Errorf("%s: %s must not import %s: %s", file, dir, imported, why)
			}
		}
	}
}

func TestEveryPackageHasOneComment(t *testing.T) {
	for dir, pkg := range packages(t) {
		// A side by side of systems may repeat the package clause, not the comment.
		if pkg.code && len(pkg.comments) != 1 {
			t.Errorf("%s has %d package comments %v, want one that says what it is for and what it may import", dir, len(pkg.comments), pkg.comments)
		}
	}
}

func TestForbiddenIsForbidden(t *testing.T) {
	for _, c := range [][2]string{
		{"internal/evidence", "internal/diagnose"},
		{"internal/cause", "internal/probe"},
		{"internal/collect/path", "internal/collect/connect"},
		{"internal/lab", "internal/collect/route"},
		{"internal/diagnose", "internal/lab"},
		{"internal/probe", "internal/sandbox"},
		{"internal/sandbox", "internal/flow"},
		{"internal/probe", "."},
		{"internal/nowhere", "internal/evidence"},
	} {
		if forbidden(c[0], c[1]) == "" {
			t.Errorf("%s may import %s; the rule has no teeth", c[0], c[1])
		}
	}
}

// forbidden says why an import breaks the layers, "" when it does not.
func forbidden(from, to string) string {
	if allowed, ok := side[from]; ok {
		if slices.Contains(allowed, to) {
			return ""
		}
		return "beside the layers it may import only " + strings.Join(allowed, ", ")
	}
	if _, ok := side[to]; ok {
		if slices.Contains(shown[to], from) {
			return ""
		}
		return "it stands beside the layers: only what is listed may show it to people"
	}
	a, b := layer(from), layer(to)
	switch {
	case a < 0:
		return "the importing package is on no layer: add it to archtest"
	case b < 0:
		return "the imported package is on no layer: add it to archtest"
	case a < b:
		return ""
	case a > b:
		return "imports go down only"
	}
	for pattern, allowed := range sideways {
		if matches(pattern, from) && allowed[to] != "" {
			return ""
		}
	}
	return "packages of one layer do not import each other unless archtest says why"
}

func layer(dir string) int {
	return slices.IndexFunc(layers, func(l []string) bool {
		return slices.ContainsFunc(l, func(p string) bool { return matches(p, dir) })
	})
}

func matches(pattern, dir string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "..."); ok {
		return strings.HasPrefix(dir, prefix)
	}
	return pattern == dir
}

type pkg struct {
	imports  map[string]string // path within the module to the file
	comments []string          // files with a package comment
	code     bool              // there is a file that is no test
}

// packages reads the imports of everything but tests and the test and bench
// trees, which may import what they judge.
func packages(t *testing.T) map[string]*pkg {
	t.Helper()
	root := "../.."
	found := map[string]*pkg{}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && (name == "testdata" || name == ".git" || name == "test" || name == "bench") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		src, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, src, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel(root, path.Dir(filepath.ToSlash(file)))
		if err != nil {
			return err
		}
		p := found[dir]
		if p == nil {
			p = &pkg{imports: map[string]string{}}
			found[dir] = p
		}
		p.code = true
		if describes(f) {
			p.comments = append(p.comments, name)
		}
		for _, s := range f.Imports {
			v, err := strconv.Unquote(s.Path.Value)
			switch {
			case err != nil:
			case v+"/" == module:
				p.imports["."] = file
			case strings.HasPrefix(v, module):
				p.imports[strings.TrimPrefix(v, module)] = file
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 20 {
		t.Fatalf("only %d packages found: the walk is broken", len(found))
	}
	return found
}

func describes(f *ast.File) bool {
	text := f.Doc.Text()
	return strings.HasPrefix(text, "Package ") || strings.HasPrefix(text, "Command ")
}
