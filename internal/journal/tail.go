package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

const (
	maxTail  = 128 << 10 // bytes read at the end of a file
	maxLines = 500
)

// Tail reads the last lines of a plain log file, oldest first, at most 500 of
// the last 128 KiB. It opens nothing but regular files, follows no link (who owns
// the directory of a log is not always who may read the rest), and does not wait.
func Tail(path string) ([][]byte, error) {
	// A FIFO in the place of a log would wait for its writer: look before.
	if info, err := os.Lstat(path); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", shown(path))
	}
	f, err := os.OpenFile(path, os.O_RDONLY|nonblock|nofollow, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", shown(path))
	}
	from := max(0, info.Size()-maxTail)
	b := make([]byte, info.Size()-from)
	n, err := f.ReadAt(b, from)
	if err != nil && !errors.Is(err, io.EOF) { // it may have been truncated since
		return nil, err
	}
	b = b[:n]
	if from > 0 { // the first line is not whole
		b = b[bytes.IndexByte(b, '\n')+1:]
	}
	lines := bytes.Split(bytes.TrimRight(b, "\n"), []byte("\n"))
	lines = lines[max(0, len(lines)-maxLines):]
	for i := range lines {
		lines[i] = lines[i][:min(len(lines[i]), maxMessage)]
	}
	if len(lines) == 1 && len(lines[0]) == 0 {
		return nil, nil
	}
	return lines, nil
}
