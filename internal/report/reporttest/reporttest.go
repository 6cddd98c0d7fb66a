// Package reporttest checks in tests what package report writes for programs.
// It is a package of its own so that the validator is not linked into the
// binary. It may import report only, and only tests may import it.
package reporttest

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/tcpwhy/tcpwhy/internal/report"
)

// Validate says what is wrong with a line that should be one diagnosis in
// JSON: exactly one line, valid UTF-8, and as the schema demands.
func Validate(line []byte) error {
	if !utf8.Valid(line) {
		return fmt.Errorf("reporttest: not valid UTF-8: %q", line)
	}
	if n := bytes.Count(line, []byte("\n")); n != 1 || line[len(line)-1] != '\n' {
		return fmt.Errorf("reporttest: %d line ends in what should be one line", n)
	}
	schema, err := compile(report.Schema())
	if err != nil {
		return err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(line))
	if err != nil {
		return fmt.Errorf("reporttest: not JSON: %w", err)
	}
	if err := schema.Validate(doc); err != nil {
		return fmt.Errorf("reporttest: not as the schema says: %w", err)
	}
	return nil
}

// compiled keeps the schemas by their text.
var compiled sync.Map

func compile(text string) (*jsonschema.Schema, error) {
	if s, ok := compiled.Load(text); ok {
		return s.(*jsonschema.Schema), nil
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("reporttest: the schema is not JSON: %w", err)
	}
	const url = "urn:tcpwhy:schema"
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource(url, doc); err != nil {
		return nil, fmt.Errorf("reporttest: adding the schema: %w", err)
	}
	s, err := c.Compile(url)
	if err != nil {
		return nil, fmt.Errorf("reporttest: compiling the schema: %w", err)
	}
	compiled.Store(text, s)
	return s, nil
}
