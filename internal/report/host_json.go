package report

import (
	"bufio"
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// HostSchemaID is the value of "schema" in every object about a host. Within a
// version fields are only ever added.
const HostSchemaID = "tcpwhy.host/1"

//go:embed schema/tcpwhy.host-1.schema.json
var hostSchema string

// HostSchema returns the JSON Schema (draft 2020-12) of what HostJSON writes.
func HostSchema() string { return hostSchema }

// maxHostLine bounds a line of host evidence.
const maxHostLine = 64 << 20

type hostDocument struct {
	Schema     string           `json:"schema"`
	Complete   bool             `json:"complete"`
	Outcome    verdict.Outcome  `json:"outcome,omitempty"` // of a port only
	Verdict    *jsonVerdict     `json:"verdict,omitempty"` // the same
	Addresses  []jsonAddress    `json:"addresses"`
	Evidence   []jsonFact       `json:"evidence"`
	NotChecked []jsonNotChecked `json:"not_checked"`
	Host       *evidence.Host   `json:"host"`
}

// HostJSON writes what a host told of itself, with what it shows, as one line.
func HostJSON(w io.Writer, d *verdict.HostDiagnosis) error {
	doc := hostDocument{Schema: HostSchemaID, Complete: d.Host.Complete, Outcome: d.Outcome,
		Addresses: []jsonAddress{}, Evidence: []jsonFact{}, NotChecked: []jsonNotChecked{}, Host: &d.Host}
	if d.Host.Port != 0 {
		v := newVerdict(&d.Verdict)
		doc.Verdict = &v
	}
	for i := range d.Addresses {
		a := &d.Addresses[i]
		doc.Addresses = append(doc.Addresses, jsonAddress{Addr: a.Addr.Addr(), Outcome: a.Outcome, Verdict: newVerdict(&a.Verdict), Packets: []jsonPacket{}})
	}
	for _, f := range d.Facts {
		doc.Evidence = append(doc.Evidence, jsonFact{f.ID, f.Key, f.Value, f.Source, millis(f.At), f.Addr.Addr(), f.Text})
	}
	for _, n := range d.NotChecked {
		doc.NotChecked = append(doc.NotChecked, jsonNotChecked{n.Check, n.Reason, n.How})
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(doc); err != nil {
		return fmt.Errorf("report: encoding the host's evidence: %w", err)
	}
	_, err := w.Write(escapeUnprintable(b.Bytes()))
	return err
}

// HostReader reads the lines that HostJSON wrote, as they come.
type HostReader struct {
	name string
	r    *bufio.Reader
	line int
}

// NewHostReader reads from r; name is what errors call it.
func NewHostReader(r io.Reader, name string) *HostReader {
	return &HostReader{name: name, r: bufio.NewReaderSize(r, 64<<10)}
}

const remakeHost = "Make it on the host: tcpwhy host :PORT -o json > FILE"

// Next reads the next line; io.EOF after the last one. Any other error but one of
// the reader itself is a *ReadError.
func (h *HostReader) Next() (*evidence.Host, error) {
	var line []byte
	for len(bytes.TrimSpace(line)) == 0 {
		var err error
		if line, err = h.read(); err != nil {
			return nil, err
		}
	}
	var doc struct {
		Schema string         `json:"schema"`
		Host   *evidence.Host `json:"host"`
	}
	if err := json.Unmarshal(line, &doc); err != nil {
		return nil, &ReadError{h.name, h.line, "no evidence of a host: " + plainError(err), remakeHost}
	}
	switch {
	case doc.Schema != HostSchemaID:
		return nil, &ReadError{h.name, h.line, fmt.Sprintf("its schema is %q, not %q", escape(doc.Schema, true, 60), HostSchemaID), remakeHost}
	case doc.Host == nil:
		return nil, &ReadError{h.name, h.line, "it holds no evidence", remakeHost}
	case doc.Host.Port == 0:
		return nil, &ReadError{h.name, h.line, "it is about all ports of the host", "Name the port there: tcpwhy host :PORT -o json"}
	}
	return doc.Host, nil
}

func (h *HostReader) read() ([]byte, error) {
	var line []byte
	h.line++
	for {
		part, err := h.r.ReadSlice('\n')
		if len(line)+len(part) > maxHostLine {
			return nil, &ReadError{h.name, h.line, fmt.Sprintf("the line is longer than %d MiB", maxHostLine>>20), remakeHost}
		}
		line = append(line, part...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(line) > 0, err == nil:
			return line, nil
		default:
			return nil, err
		}
	}
}
