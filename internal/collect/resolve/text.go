package resolve

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

const (
	maxFile = 1 << 20 // bytes read of a configuration file
	maxText = 200     // bytes kept of a text from outside
)

// readBounded reads up to maxFile bytes, in whole lines.
func readBounded(path string) (data []byte, cut bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	if data, err = io.ReadAll(io.LimitReader(f, maxFile+1)); err != nil {
		return nil, false, fmt.Errorf("read %s: %w", path, err)
	}
	if len(data) <= maxFile {
		return data, false, nil
	}
	return data[:bytes.LastIndexByte(data[:maxFile], '\n')+1], true, nil
}

// clean makes text from outside printable, on one line and bounded.
func clean(s string) string {
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "") + "…"
	}
	if strings.IndexFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) < 0 {
		return s
	}
	q := strconv.Quote(s)
	return q[1 : len(q)-1]
}

// validName holds a name to letters, digits, hyphens, underscores and dots,
// as res_hnok(3) of the C library does, and to 253 bytes.
func validName(s string) bool {
	s = strings.TrimSuffix(s, ".")
	if s == "" || s[0] == '-' || len(s) > 253 {
		return false
	}
	for i := range len(s) {
		c := s[i] | 0x20
		if (c < 'a' || c > 'z') && (s[i] < '0' || s[i] > '9') && strings.IndexByte("-_.", s[i]) < 0 {
			return false
		}
	}
	return true
}
