package pcapfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// ErrFormat is the error for what is no capture at all.
var ErrFormat = errors.New("not a capture")

// maxWindow bounds the memory of zstd; its command line uses up to 128 MiB
// unless told otherwise.
const maxWindow = 128 << 20

// begin finds out compression and format.
func (r *Reader) begin(follow bool) error {
	head, err := r.head(4)
	if err != nil {
		return err
	}
	if c := compression(head); c != "" {
		if follow {
			return fmt.Errorf("it is compressed (%s), and cannot be followed while it grows; write it uncompressed", c)
		}
		if err := r.decompress(c); err != nil {
			return fmt.Errorf("%s: %w", c, err)
		}
		if head, err = r.head(4); err != nil {
			return err
		}
		if c := compression(head); c != "" {
			return fmt.Errorf("%w: it is compressed twice (%s inside); decompress it once", ErrFormat, c)
		}
	}
	if len(head) == 4 && binary.LittleEndian.Uint32(head) == blockSection {
		r.format = &pcapng{}
		return nil
	}
	if head, err = r.head(pcapHeader); err != nil {
		return err
	}
	r.format, err = newPcap(head)
	if err != nil {
		return err
	}
	r.tail = r.tail[:copy(r.tail, r.tail[pcapHeader:])]
	r.offset = pcapHeader
	return nil
}

// head gives the first n bytes, or fewer where there are no more.
func (r *Reader) head(n int) ([]byte, error) {
	for len(r.tail) < n {
		b := make([]byte, n-len(r.tail))
		k, err := r.src.Read(b)
		r.tail = append(r.tail, b[:k]...)
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, r.failed(err, int64(len(r.tail)))
		}
	}
	return r.tail[:min(n, len(r.tail))], nil
}

// compression names the compression whose magic number b begins with.
func compression(b []byte) string {
	switch {
	case len(b) >= 2 && b[0] == 0x1f && b[1] == 0x8b:
		return "gzip"
	case len(b) < 4:
		return ""
	case binary.LittleEndian.Uint32(b) == 0xfd2fb528:
		return "zstd"
	case binary.LittleEndian.Uint32(b) == 0x184d2204:
		return "lz4"
	}
	return ""
}

func (r *Reader) decompress(name string) error {
	src := io.MultiReader(bytes.NewReader(r.tail), r.src)
	r.tail = nil
	switch name {
	case "gzip":
		z, err := gzip.NewReader(src)
		if err != nil {
			return err
		}
		r.src = z
		r.close = append(r.close, z.Close)
	case "zstd":
		z, err := zstd.NewReader(src, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderConcurrency(2))
		if err != nil {
			return err
		}
		r.src = z
		r.close = append(r.close, func() error { z.Close(); return nil })
	case "lz4":
		r.src = lz4.NewReader(src)
	}
	r.unpacks = true
	return nil
}
