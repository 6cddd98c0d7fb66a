// Package pcapfile reads captures, pcap and pcapng, and writes pcapng
// (draft-ietf-opsawg-pcapng) with the link type LINUX_SLL2, which tells
// direction and interface, so that tcpdump and Wireshark show what this program
// saw.
//
// It imports no other package of ours.
package pcapfile

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// Packet is a packet with what a cooked capture knows about it; the fields are
// those of sockaddr_ll in packet(7).
type Packet struct {
	Time           time.Time
	Interface      int    // index, not negative
	Name           string // of the interface
	EtherType      uint16
	HardwareType   uint16
	PacketType     uint8 // 0 to us, 1 broadcast, 2 multicast, 3 to another host, 4 from us
	HardwareAddr   []byte
	Data           []byte // from the network header on
	OriginalLength int    // before Data was cut
}

// Writer writes one capture. It is not safe for concurrent use.
type Writer struct {
	out        io.Writer
	app        string
	ng         *pcapgo.NgWriter
	interfaces map[string]int // number in the file by name
	buf        []byte
}

// NewWriter starts a file for an application of the given name. Nothing is
// written before the first packet or Conclude.
func NewWriter(w io.Writer, application string) *Writer {
	return &Writer{out: w, app: application}
}

// Write writes one packet; when it returns, all of it has been handed to the
// io.Writer.
func (w *Writer) Write(p Packet) error {
	n, err := w.number(p.Name)
	if err != nil {
		return fmt.Errorf("write capture: %w", err)
	}
	w.buf = appendSLL2(w.buf[:0], &p)
	info := gopacket.CaptureInfo{
		Timestamp:      p.Time,
		CaptureLength:  len(w.buf),
		Length:         len(w.buf) + max(p.OriginalLength-len(p.Data), 0),
		InterfaceIndex: n,
	}
	if err := w.ng.WritePacket(info, w.buf); err != nil {
		return fmt.Errorf("write capture: %w", err)
	}
	return w.flush()
}

// Conclude adds a comment on the capture as a whole, such as the verdict. It
// comes at the end, in a section of its own without packets: a section's
// comment precedes its packets, and when they came it was not known.
func (w *Writer) Conclude(comment string) error {
	if err := w.section(comment, "conclusion"); err != nil {
		return fmt.Errorf("write capture: %w", err)
	}
	return w.flush()
}

func (w *Writer) flush() error {
	if err := w.ng.Flush(); err != nil {
		return fmt.Errorf("write capture: %w", err)
	}
	return nil
}

// number gives an interface's number in the file, and describes it there when
// it is new. The first one begins the file.
func (w *Writer) number(name string) (int, error) {
	if n, ok := w.interfaces[name]; ok {
		return n, nil
	}
	if w.ng == nil {
		return 0, w.section("", name)
	}
	n, err := w.ng.AddInterface(describe(name))
	if err == nil {
		w.interfaces[name] = n
	}
	return n, err
}

// section begins a section with a first interface; a pcapng section without
// one is legal, but the library writes none.
func (w *Writer) section(comment, name string) (err error) {
	w.ng, err = pcapgo.NewNgWriterInterface(w.out, describe(name), pcapgo.NgWriterOptions{
		SectionInfo: pcapgo.NgSectionInfo{Application: w.app, Comment: clip(comment)},
	})
	w.interfaces = map[string]int{name: 0}
	return err
}

func describe(name string) pcapgo.NgInterface {
	return pcapgo.NgInterface{Name: name, LinkType: layers.LinkTypeLinuxSLL2}
}

// clip bounds a comment to what the 16 bits of an option's length can hold.
func clip(s string) string { return s[:min(len(s), 65000)] }

// appendSLL2 appends the packet behind its cooked header,
// https://www.tcpdump.org/linktypes/LINKTYPE_LINUX_SLL2.html.
func appendSLL2(b []byte, p *Packet) []byte {
	var addr [8]byte
	n := copy(addr[:], p.HardwareAddr)
	b = binary.BigEndian.AppendUint16(b, p.EtherType)
	b = append(b, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(p.Interface))
	b = binary.BigEndian.AppendUint16(b, p.HardwareType)
	b = append(b, p.PacketType, byte(n))
	b = append(b, addr[:]...)
	return append(b, p.Data...)
}
