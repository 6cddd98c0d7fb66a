package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// BindSchemaID is the value of "schema" of what BindJSON writes.
const BindSchemaID = "tcpwhy.bind/1"

// BindText writes whether a server could bind an address, and who is in the way.
func BindText(w io.Writer, t *evidence.BindTrial, o Options) error {
	p := newPage(o)
	answer, color := bindAnswer(t)
	if o.Quiet {
		p.raw(p.paint(color, p.clean(answer)))
	} else {
		p.prose(0, indent, color, answer)
		p.blank()
		p.section("why")
		for _, f := range t.Findings {
			p.item("", f)
		}
		p.listeners("in the way", t.Holders, 8)
		p.section("fix")
		for _, f := range t.Fix {
			p.how(f)
		}
	}
	_, err := w.Write(append(bytes.TrimRight(p.buf.Bytes(), "\n"), '\n'))
	return err
}

func bindAnswer(t *evidence.BindTrial) (text, sgr string) {
	switch {
	case t.Errno == "" && t.WithReuse == "":
		return fmt.Sprintf("a server can bind %v", t.Addr), sgrGreen
	case t.WithReuse == "":
		return fmt.Sprintf("a server can bind %v if it sets SO_REUSEADDR; without, %s", t.Addr, t.Errno), sgrYellow
	}
	return fmt.Sprintf("a server cannot bind %v: %s", t.Addr, t.WithReuse), sgrRed
}

// BindJSON writes the same as one line.
func BindJSON(w io.Writer, t *evidence.BindTrial) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(struct {
		Schema string `json:"schema"`
		*evidence.BindTrial
	}{BindSchemaID, t}); err != nil {
		return fmt.Errorf("report: encoding the bind trial: %w", err)
	}
	_, err := w.Write(escapeUnprintable(b.Bytes()))
	return err
}
