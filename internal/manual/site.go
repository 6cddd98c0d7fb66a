package manual

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/tcpwhy/tcpwhy/internal/htmlstyle"
)

//go:embed site/site.gohtml site/site.css site/search.js
var siteFiles embed.FS

// generator marks the files of a site, so that a later one may take their place.
const generator = `<meta name="generator" content="tcpwhy manual">`

// TakenError is a folder that holds something that WriteSite would not touch.
type TakenError struct{ Dir, Name string }

func (e *TakenError) Error() string {
	return fmt.Sprintf("%s holds %q, which is no part of an earlier copy of the manual", e.Dir, e.Name)
}

// WriteSite writes the manual as a static site into a folder, which is made if
// it is not there, and returns the number of files. A folder that holds
// anything but an earlier site is refused with a *TakenError unless force is
// set. Nothing is removed, nothing outside the folder is written, not even
// through a symbolic link in it.
func WriteSite(dir string, force bool) (int, error) {
	files, err := Site()
	if err != nil {
		return 0, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return 0, err
	}
	defer root.Close()
	if !force {
		if err := ours(root, dir); err != nil {
			return 0, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := root.WriteFile(name, files[name], 0o644); err != nil {
			return 0, err
		}
	}
	return len(files), nil
}

// ours says whether a folder holds files of an earlier site only.
func ours(root *os.Root, dir string) error {
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			return &TakenError{dir, e.Name()}
		}
		is, err := isOurs(root, e.Name())
		if err != nil {
			return err
		}
		if !is {
			return &TakenError{dir, e.Name()}
		}
	}
	return nil
}

// isOurs says whether a file bears the mark of a site, which stands at its top.
func isOurs(root *os.Root, name string) (bool, error) {
	file, err := root.Open(name)
	if err != nil {
		return false, err
	}
	defer file.Close()
	head, err := io.ReadAll(io.LimitReader(file, 4096))
	return bytes.Contains(head, []byte(generator)), err
}

// Site makes the files of the static site by name: index.html, and a page for
// every cause and topic. The pages need nothing but each other.
func Site() (map[string][]byte, error) {
	style, err := siteFiles.ReadFile("site/site.css")
	if err != nil {
		return nil, err
	}
	search, err := siteFiles.ReadFile("site/search.js")
	if err != nil {
		return nil, err
	}
	t, err := template.New("site").Funcs(template.FuncMap{"inline": inlineHTML}).ParseFS(siteFiles, "site/site.gohtml")
	if err != nil {
		return nil, err
	}
	pages := sitePages()
	sheet := htmlstyle.Sheet(string(style))
	script, err := siteScript(string(search), pages)
	if err != nil {
		return nil, err
	}
	frame := siteFrame{Style: template.CSS(sheet), Policy: htmlstyle.Policy(sheet, ""), Generator: template.HTML(generator)}
	files := map[string][]byte{}
	make := func(name, kind string, data any) error {
		var b bytes.Buffer
		if err := t.ExecuteTemplate(&b, kind, data); err != nil {
			return fmt.Errorf("manual: making %s: %w", name, err)
		}
		files[name] = b.Bytes()
		return nil
	}
	var errs []error
	for i := range pages {
		pages[i].siteFrame = frame
		errs = append(errs, make(pages[i].File(), "page", &pages[i]))
	}
	index := siteIndex{siteFrame: frame, Script: template.JS(script)}
	index.Policy = htmlstyle.Policy(sheet, script)
	for _, p := range pages {
		if n := len(index.Groups); n == 0 || index.Groups[n-1].Name != p.Group {
			index.Groups = append(index.Groups, siteGroup{Name: p.Group, About: groups[p.Group]})
		}
		g := &index.Groups[len(index.Groups)-1]
		g.Pages = append(g.Pages, p)
	}
	errs = append(errs, make("index.html", "index", index))
	return files, errors.Join(errs...)
}

// groups are the headings of the index with what stands below them: the stages
// of a connection, then the topics.
var groups = map[string]string{
	"name":     "The name gives no address, or a wrong one.",
	"local":    "This host cannot send.",
	"path":     "Something between here and the host is in the way.",
	"host":     "The host is down, or its kernel refuses.",
	"listener": "Nothing answers on the port.",
	"session":  "It connects, and then it fails.",
	"none":     "It works, or nothing fits.",
	"topics":   "How things work.",
}

// siteScript is the search with its index: for every page its file, its title,
// all its names, and the words of all that is on it, each once.
func siteScript(search string, pages []sitePage) (string, error) {
	type entry struct {
		File  string `json:"f"`
		ID    string `json:"i"`
		Title string `json:"t"`
		Names string `json:"n"` // lower case
		Words string `json:"w"`
	}
	var list []entry
	for _, p := range pages {
		text, _ := View{Width: 1000}.Render(p.ID)
		names := strings.ToLower(p.ID + ", " + p.Title + ", " + strings.Join(p.Aliases, ", "))
		seen := map[string]bool{}
		var words []string
		for w := range strings.FieldsSeq(strings.ToLower(text)) {
			if w = strings.Trim(w, `.,;:()"'`); len(w) > 1 && !seen[w] {
				seen[w] = true
				words = append(words, w)
			}
		}
		list = append(list, entry{p.File(), p.ID, p.Title, names, strings.Join(words, " ")})
	}
	index, err := json.Marshal(list) // escapes <, > and &: nothing in it ends the script
	if err != nil {
		return "", err
	}
	return "const pages = " + string(index) + ";\n" + search, nil
}
