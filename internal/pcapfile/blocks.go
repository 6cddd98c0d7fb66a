package pcapfile

import (
	"encoding/binary"
	"io"
	"strings"
	"unicode/utf8"
)

// Blocks writes pcapng (draft-ietf-opsawg-pcapng), little-endian. Each block is
// handed to the io.Writer at once. Texts are made valid UTF-8, and cut to what the
// length of an option can hold. It is not safe for concurrent use.
type Blocks struct {
	out        io.Writer
	buf        []byte
	interfaces []Resolution // of the section
}

// Options of the blocks.
const (
	optionComment  = 1 // of any
	optionUserAppl = 4 // of the section
)

const (
	magicOrder = 0x1a2b3c4d
	maxText    = 65000
)

// NewBlocks writes to w, nothing before the first section.
func NewBlocks(w io.Writer) *Blocks { return &Blocks{out: w} }

// Section begins a section, which has no interface yet.
func (w *Blocks) Section(application, comment string) error {
	w.interfaces = w.interfaces[:0]
	w.begin(blockSection)
	w.buf = binary.LittleEndian.AppendUint32(w.buf, magicOrder)
	w.buf = binary.LittleEndian.AppendUint32(w.buf, 1) // version 1.0
	w.buf = binary.LittleEndian.AppendUint64(w.buf, ^uint64(0))
	w.text(optionComment, comment)
	w.text(optionUserAppl, application)
	return w.end()
}

// Interface describes one of a link type (LINKTYPE_), and gives its number in the
// section. Name and comment may be empty. The times of its packets are written in
// the resolution given, or in nanoseconds where that is finer.
func (w *Blocks) Interface(link uint16, name, comment string, times Resolution) (int, error) {
	w.begin(blockInterface)
	w.buf = binary.LittleEndian.AppendUint32(w.buf, uint32(link))
	w.buf = binary.LittleEndian.AppendUint32(w.buf, 0) // no snap length
	w.text(optionComment, comment)
	w.text(optionIfName, name)
	times = times.written()
	w.option(optionTSResol, []byte{byte(times)})
	w.interfaces = append(w.interfaces, times)
	return len(w.interfaces) - 1, w.end()
}

// Captured is a packet to be written.
type Captured struct {
	Time      int64 // ns since 1970
	Interface int   // its number in the section
	Length    int   // before Data was cut
	Data      []byte
	Dir       Direction
	Comment   string
}

// Packet writes one, of an interface that Interface gave the number of.
func (w *Blocks) Packet(p *Captured) error {
	at := w.interfaces[p.Interface].units(p.Time)
	w.begin(blockEnhanced)
	w.buf = binary.LittleEndian.AppendUint32(w.buf, uint32(p.Interface))
	w.buf = binary.LittleEndian.AppendUint32(w.buf, uint32(at>>32))
	w.buf = binary.LittleEndian.AppendUint32(w.buf, uint32(at))
	w.buf = binary.LittleEndian.AppendUint32(w.buf, uint32(len(p.Data)))
	w.buf = binary.LittleEndian.AppendUint32(w.buf, uint32(max(p.Length, len(p.Data))))
	w.buf = append(w.buf, p.Data...)
	w.pad()
	w.text(optionComment, p.Comment)
	switch p.Dir {
	case DirIn:
		w.option(optionEPBFlags, []byte{1, 0, 0, 0})
	case DirOut:
		w.option(optionEPBFlags, []byte{2, 0, 0, 0})
	}
	return w.end()
}

// begin a block, whose length is not known yet.
func (w *Blocks) begin(kind uint32) {
	w.buf = binary.LittleEndian.AppendUint32(w.buf[:0], kind)
	w.buf = binary.LittleEndian.AppendUint32(w.buf, 0)
}

// end the options and the block, and hand it on.
func (w *Blocks) end() error {
	w.option(optionEnd, nil)
	n := uint32(len(w.buf) + 4)
	binary.LittleEndian.PutUint32(w.buf[4:], n)
	w.buf = binary.LittleEndian.AppendUint32(w.buf, n)
	_, err := w.out.Write(w.buf)
	return err
}

func (w *Blocks) option(code uint16, v []byte) {
	w.buf = binary.LittleEndian.AppendUint16(w.buf, code)
	w.buf = binary.LittleEndian.AppendUint16(w.buf, uint16(len(v)))
	w.buf = append(w.buf, v...)
	w.pad()
}

// text adds an option unless it is empty.
func (w *Blocks) text(code uint16, s string) {
	s = strings.ToValidUTF8(s, string(utf8.RuneError))
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "")
	}
	if s != "" {
		w.option(code, []byte(s))
	}
}

// pad to a multiple of 4 bytes.
func (w *Blocks) pad() {
	for len(w.buf)%4 != 0 {
		w.buf = append(w.buf, 0)
	}
}
