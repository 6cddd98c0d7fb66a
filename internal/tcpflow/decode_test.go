package tcpflow

import (
	"bytes"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/pcapfile"
	"github.com/tcpwhy/tcpwhy/internal/tcpflow/flowtest"
)

// decoded gives a batch that has been decoded once, and so has its size.
func decoded(tb testing.TB) (*decoder, *batch) {
	tb.Helper()
	var capture bytes.Buffer
	if _, err := flowtest.Write(&capture, flowtest.Config{Connections: 300, Seconds: 1, Seed: 1, Snaplen: 128}); err != nil {
		tb.Fatal(err)
	}
	r, err := pcapfile.NewReader(&capture, pcapfile.ReadOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	d, b := &decoder{}, &batch{}
	if err := r.ReadBatch(tb.Context(), &b.Batch); err != nil {
		tb.Fatal(err)
	}
	d.decode(b)
	return d, b
}

func TestDecodeAllocatesNothing(t *testing.T) {
	d, b := decoded(t)
	if n := testing.AllocsPerRun(5, func() { d.decode(b) }); n != 0 {
		t.Errorf("%v allocations for %d packets", n, len(b.Records))
	}
}

// BenchmarkDecode turns records into packets, sorted by shard; one operation
// is one packet.
func BenchmarkDecode(b *testing.B) {
	d, batch := decoded(b)
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += len(batch.Records) {
		d.decode(batch)
	}
}
