package errtext

import (
	"strings"
	"testing"
)

// BenchmarkOther is the cost of the lines that are no error: what a log is made
// of. The goal is a million lines a second, without allocation.
func BenchmarkOther(b *testing.B) {
	table := lines(b, "others.txt")
	text := make([][]byte, 0, len(table))
	for _, l := range table {
		var found [maxHits]hit
		if machine().scan([]byte(l), &found) == 0 {
			text = append(text, []byte(l))
		}
	}
	size := 0
	for _, l := range text {
		size += len(l)
	}
	b.SetBytes(int64(size / len(text)))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, ok := Recognise(text[i%len(text)]); ok {
			b.Fatal("recognised")
		}
	}
}

// BenchmarkError is the cost of a line that is an error.
func BenchmarkError(b *testing.B) {
	line := []byte(`2026-01-02T03:04:05Z app[77]: dial tcp 192.0.2.7:5432: connect: connection refused`)
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := Recognise(line); !ok {
			b.Fatal("not recognised")
		}
	}
}

// BenchmarkHostile is the cost of the longest lines that repeat what the slow
// path looks for.
func BenchmarkHostile(b *testing.B) {
	for _, part := range []string{":1", "port 1 ", "[::1]:1", "http://a:", "haproxy[1]: a:1 ", "could not be resolved ", "host '"} {
		line := []byte("connection refused lookup no such host " + strings.Repeat(part, MaxLine/len(part)))
		b.Run(part, func(b *testing.B) {
			for b.Loop() {
				Recognise(line)
			}
		})
	}
}

// BenchmarkBuild is what the first line of a process costs beside.
func BenchmarkBuild(b *testing.B) {
	var texts []string
	for _, p := range phrases() {
		texts = append(texts, p.text)
	}
	for b.Loop() {
		build(texts)
	}
}

func TestNoAllocationOnOtherLines(t *testing.T) {
	line := []byte(`192.0.2.9 - - [02/Jan/2026:03:04:05 +0000] "GET /index.html HTTP/1.1" 200 157 "-" "curl/8.5"`)
	Recognise(line)
	if n := testing.AllocsPerRun(100, func() { Recognise(line) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
