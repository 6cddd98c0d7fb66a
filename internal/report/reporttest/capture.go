package reporttest

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/tcpwhy/tcpwhy/internal/report"
)

// ValidateCapture says what is wrong with lines that should be what is written
// about captures: valid UTF-8, each line as the schema demands, and no more than
// one summary.
func ValidateCapture(lines []byte) error {
	return validateLines(report.CaptureSchema(), lines)
}

// ValidateCompare does the same for what is written about two captures.
func ValidateCompare(lines []byte) error {
	return validateLines(report.CompareSchema(), lines)
}

func validateLines(text string, lines []byte) error {
	if !utf8.Valid(lines) || !bytes.HasSuffix(lines, []byte("\n")) {
		return fmt.Errorf("reporttest: not lines of UTF-8: %.200q", lines)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		return fmt.Errorf("reporttest: the schema is not JSON: %w", err)
	}
	const url = "urn:tcpwhy:lines"
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource(url, doc); err != nil {
		return fmt.Errorf("reporttest: adding the schema: %w", err)
	}
	schema, err := c.Compile(url)
	if err != nil {
		return fmt.Errorf("reporttest: compiling the schema: %w", err)
	}
	summaries := 0
	for line := range bytes.Lines(lines) {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(line))
		if err != nil {
			return fmt.Errorf("reporttest: not JSON: %w", err)
		}
		if err := schema.Validate(doc); err != nil {
			return fmt.Errorf("reporttest: not as the schema says: %w\n%.400s", err, line)
		}
		if doc.(map[string]any)["kind"] == "summary" {
			summaries++
		}
	}
	if summaries != 1 {
		return fmt.Errorf("reporttest: %d summaries", summaries)
	}
	return nil
}
