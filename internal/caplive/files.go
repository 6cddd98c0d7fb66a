package caplive

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/pcapfile"
)

// Files is where packets are kept: one file, or with Size or Every a row of
// them whose names have a number before the ending. Only their owner may read
// them. A nil *Files keeps nothing.
type Files struct {
	Path        string
	Application string
	// Size and Every begin another file when the one is as large, or as old; 0
	// does not.
	Size  int64
	Every time.Duration
	// Keep removes the oldest file when there would be more; 0 keeps all. Files of
	// earlier runs are not touched, but for those with the same name.
	Keep int

	names  []string
	number int
	file   *os.File
	size   int64
	since  time.Time
	w      *pcapfile.Writer
}

func (f *Files) rotates() bool { return f.Size > 0 || f.Every > 0 }

// Names are the files that there are now.
func (f *Files) Names() []string {
	if f == nil {
		return nil
	}
	return slices.Clone(f.names)
}

// begin opens the first file, so that it is there and is whole from the start.
func (f *Files) begin() error {
	if f == nil {
		return nil
	}
	return f.open(time.Now())
}

func (f *Files) open(now time.Time) error {
	f.number++
	name := f.Path
	if f.rotates() {
		ext := filepath.Ext(name)
		name = fmt.Sprintf("%s-%04d%s", strings.TrimSuffix(name, ext), f.number, ext)
	}
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write capture: %w", err)
	}
	f.file, f.size, f.since = file, 0, now
	f.names = append(f.names, name)
	f.w = pcapfile.NewWriter(f, f.Application)
	if err := f.w.Begin(); err != nil {
		return err
	}
	if f.Keep > 0 && len(f.names) > f.Keep {
		if err := os.Remove(f.names[0]); err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("remove the oldest capture: %w", err)
		}
		f.names = f.names[1:]
	}
	return nil
}

// Write counts what goes to the file; it is for the pcapng writer.
func (f *Files) Write(b []byte) (int, error) {
	n, err := f.file.Write(b)
	f.size += int64(n)
	return n, err
}

// write keeps a packet.
func (f *Files) write(p pcapfile.Packet) error {
	if f == nil {
		return nil
	}
	if err := f.turn(p.Time); err != nil {
		return err
	}
	return f.w.Write(p)
}

// turn begins another file if it is time.
func (f *Files) turn(now time.Time) error {
	if f == nil || !(f.Size > 0 && f.size >= f.Size) && !(f.Every > 0 && now.Sub(f.since) >= f.Every) {
		return nil
	}
	if err := f.close(); err != nil {
		return err
	}
	return f.open(now)
}

func (f *Files) close() error {
	if f == nil || f.file == nil {
		return nil
	}
	err := f.file.Close()
	f.file = nil
	if err != nil {
		return fmt.Errorf("write capture: %w", err)
	}
	return nil
}
