package netns

import (
	"maps"
	"strings"
	"testing"
)

func TestMounts(t *testing.T) {
	const text = `22 1 0:20 / /proc rw - proc proc rw
40 35 0:4 net:[4026532245] /run/netns/a rw shared:9 - nsfs nsfs rw
41 35 0:4 net:[4026532246] /run/a\040b\134 rw - nsfs nsfs rw
42 35 0:4 mnt:[4026532247] /run/snapd/ns/a.mnt rw - nsfs nsfs rw
43 35 0:4 net:[4026532248] /run/fake rw - tmpfs tmpfs rw
44 35 0:4 net:[x] /run/fake rw - nsfs nsfs rw
45 35 0:4 net:[4026532249] -
- nsfs
`
	want := map[string]uint64{"/run/netns/a": 4026532245, `/run/a b\`: 4026532246}
	if got := maps.Collect(mounts(strings.NewReader(text))); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func FuzzMounts(f *testing.F) {
	f.Add("40 35 0:4 net:[4026532245] /run/netns/a rw shared:9 - nsfs nsfs rw\n")
	f.Add(`40 35 0:4 net:[1] \ rw - nsfs`)
	f.Fuzz(func(t *testing.T, text string) {
		for path, inode := range mounts(strings.NewReader(text)) {
			if path == "" || inode == 0 {
				t.Errorf("%q: %q, %d", text, path, inode)
			}
		}
	})
}
