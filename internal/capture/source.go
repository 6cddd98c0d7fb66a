package capture

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/tcpwhy/tcpwhy/internal/pcapfile"
	"github.com/tcpwhy/tcpwhy/internal/tcpflow"
)

// Source is one capture.
type Source struct {
	Name string
	// Open opens it for reading from its beginning.
	Open func() (*pcapfile.Reader, error)
	// Again says that it can be opened more than once.
	Again bool

	set []member // of a file set; Open is nil then
}

// reader is what a source is read through.
type reader interface {
	tcpflow.Reader
	io.Closer
}

func (s *Source) open() (reader, error) {
	if s.set != nil {
		return &setReader{set: s.set}, nil
	}
	return s.Open()
}

// FromFile is a file, which may grow while it is followed.
func FromFile(name string, follow bool) Source {
	info, err := os.Stat(name)
	return Source{Name: name, Again: err == nil && info.Mode().IsRegular(), Open: func() (*pcapfile.Reader, error) {
		return pcapfile.Open(name, pcapfile.ReadOptions{Follow: follow})
	}}
}

// FromStream is a stream, such as standard input, of the given name.
func FromStream(name string, r io.Reader) Source {
	return Source{Name: name, Open: func() (*pcapfile.Reader, error) { return pcapfile.NewReader(r, pcapfile.ReadOptions{}) }}
}

// links names the link types at the beginning of a capture, where looking
// there takes nothing from it.
func (s *Source) links(ctx context.Context) []string {
	if !s.Again || s.set != nil {
		return nil
	}
	var b pcapfile.Batch
	if s.begin(ctx, &b) != nil {
		return nil // reading all of it tells
	}
	return links(&b)
}

// begin reads the first packets.
func (s *Source) begin(ctx context.Context, b *pcapfile.Batch) error {
	f, err := pcapfile.Open(s.Name, pcapfile.ReadOptions{})
	if err != nil {
		return err
	}
	defer f.Close()
	return f.ReadBatch(ctx, b)
}

func links(b *pcapfile.Batch) (out []string) {
	for i := range b.Records {
		if name := linkName(b.Records[i].Link); !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// linkNames are those of https://www.tcpdump.org/linktypes.html.
var linkNames = map[uint16]string{
	0: "BSD loopback", 1: "Ethernet", 9: "PPP", 12: "raw IP", 14: "raw IP", 50: "PPP in HDLC framing", 51: "PPPoE", 101: "raw IP",
	105: "IEEE 802.11", 108: "OpenBSD loopback", 113: "Linux cooked v1", 127: "IEEE 802.11 with radiotap", 228: "raw IPv4",
	229: "raw IPv6", 239: "NFLOG", 276: "Linux cooked v2",
}

func linkName(n uint16) string {
	if s := linkNames[n]; s != "" {
		return s
	}
	return fmt.Sprintf("link type %d", n)
}
