package pcapfile_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/pcapfile"
)

// TestResolution: what is read in a resolution and written in the same is the same
// number of units, down to nanoseconds; what is finer is written in those.
func TestResolution(t *testing.T) {
	const second = 1_700_000_000
	for r := range 256 {
		res := pcapfile.Resolution(r)
		perSecond := float64(1)
		for range r & 0x7f {
			perSecond *= map[bool]float64{true: 2, false: 10}[r&0x80 != 0]
		}
		fine := perSecond > 1e9
		var file bytes.Buffer
		file.Write(section(le))
		file.Write(block(le, 1, u16(le, 1, 0), u32(le, 0), option(le, 9, []byte{byte(r)})))
		stamps := []uint64{0, 1, 2, 3, 999}
		if perSecond < 1<<32 {
			for i := range uint64(50) {
				stamps = append(stamps, second*uint64(perSecond)+i, second*uint64(perSecond)+i*uint64(perSecond)/50)
			}
		}
		for _, s := range stamps {
			file.Write(enhanced(le, 0, s, "x"))
		}
		want := file.Bytes()
		in, err := pcapfile.NewReader(bytes.NewReader(want), pcapfile.ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var b pcapfile.Batch
		if err := in.ReadBatch(t.Context(), &b); err != nil || len(b.Interfaces) != 1 || b.Interfaces[0].Resolution != res {
			t.Fatalf("%#x: %v, %+v", r, err, b.Interfaces)
		}
		var out bytes.Buffer
		w := pcapfile.NewBlocks(&out)
		if err := w.Section("", ""); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Interface(1, "", "", res); err != nil {
			t.Fatal(err)
		}
		for i := range b.Records {
			if err := w.Packet(&pcapfile.Captured{Time: b.Records[i].Time, Data: b.Packet(&b.Records[i])}); err != nil {
				t.Fatal(err)
			}
		}
		again, err := pcapfile.NewReader(&out, pcapfile.ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		raw := bytes.Clone(out.Bytes())
		var c pcapfile.Batch
		if err := again.ReadBatch(t.Context(), &c); err != nil || len(c.Records) != len(stamps) {
			t.Fatalf("%#x: %v, %d packets", r, err, len(c.Records))
		}
		if got := c.Interfaces[0].Resolution; !fine && got != res || fine && got != pcapfile.Nanoseconds {
			t.Errorf("%#x is written as %#x", r, got)
		}
		for i, s := range stamps {
			if c.Records[i].Time != b.Records[i].Time {
				t.Errorf("%#x: %d becomes %d", r, b.Records[i].Time, c.Records[i].Time)
			}
			if one := enhanced(le, 0, s, "x"); !fine && !bytes.Contains(raw, one[8:28]) {
				t.Errorf("%#x: the time stamp %d is another", r, s)
			}
		}
	}
}

// TestBefore1970: an offset may make times that are negative, and that no time stamp
// can tell.
func TestBefore1970(t *testing.T) {
	for _, res := range []pcapfile.Resolution{0, 6, 9, 0x80 | 10, 0x80 | 29} {
		file := join(section(le), block(le, 1, u16(le, 1, 0), u32(le, 0), option(le, 9, []byte{byte(res)}), offset(le, -1000)), enhanced(le, 0, 3, "x"))
		got, err := read(t, file, pcapfile.ReadOptions{})
		if len(got) != 1 {
			t.Fatal(err)
		}
		var at, back int64
		fmt.Sscan(got[0], &at)
		var out bytes.Buffer
		w := pcapfile.NewBlocks(&out)
		w.Section("", "")
		w.Interface(1, "", "", res)
		w.Packet(&pcapfile.Captured{Time: at, Data: []byte("x")})
		again, _ := read(t, out.Bytes(), pcapfile.ReadOptions{})
		if len(again) != 1 {
			t.Fatalf("%#x: %q", res, again)
		}
		fmt.Sscan(again[0], &back)
		if at >= 0 || res <= pcapfile.Nanoseconds && back != at {
			t.Errorf("%#x: %d becomes %d", res, at, back)
		}
	}
}
