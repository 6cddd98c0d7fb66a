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
	blocks     *Blocks
	app        string
	interfaces map[string]int // number in the section by name; nil before the first
	buf        []byte
}

// NewWriter starts a file for an application of the given name. Nothing is
// written before the first packet or Conclude.
func NewWriter(w io.Writer, application string) *Writer {
	return &Writer{blocks: NewBlocks(w), app: application}
}

// Write writes one packet; when it returns, all of it has been handed to the
// io.Writer.
func (w *Writer) Write(p Packet) error {
	n, err := w.number(p.Name)
	if err == nil {
		w.buf = appendSLL2(w.buf[:0], &p)
		err = w.blocks.Packet(&Captured{
			Time: p.Time.UnixNano(), Interface: n, Data: w.buf, Length: len(w.buf) + max(p.OriginalLength-len(p.Data), 0),
		})
	}
	if err != nil {
		return fmt.Errorf("write capture: %w", err)
	}
	return nil
}

// Begin makes a whole capture of a file that has no packet yet. The first one
// begins a section of its own.
func (w *Writer) Begin() error {
	if err := w.section("", "any"); err != nil {
		return fmt.Errorf("write capture: %w", err)
	}
	w.interfaces = nil
	return nil
}

// Conclude adds a comment on the capture as a whole, such as the verdict. It
// comes at the end, in a section of its own without packets: a section's
// comment precedes its packets, and when they came it was not known.
func (w *Writer) Conclude(comment string) error {
	if err := w.section(comment, "conclusion"); err != nil {
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
	if w.interfaces == nil {
		return 0, w.section("", name)
	}
	n, err := w.blocks.Interface(linkSLL2, name, "", Nanoseconds)
	if err == nil {
		w.interfaces[name] = n
	}
	return n, err
}

// section begins a section with a first interface: readers of the libpcap kind want
// one, also where no packet follows.
func (w *Writer) section(comment, name string) error {
	if err := w.blocks.Section(w.app, comment); err != nil {
		return err
	}
	n, err := w.blocks.Interface(linkSLL2, name, "", Nanoseconds)
	w.interfaces = map[string]int{name: n}
	return err
}

// linkSLL2 is LINKTYPE_LINUX_SLL2.
const linkSLL2 = 276

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
