package reporttest

import (
	"bytes"
	"fmt"
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

// ValidateDiff says what is wrong with lines that should say what changed
// between two runs: valid UTF-8, each line as the schema demands.
func ValidateDiff(lines []byte) error {
	_, err := validateEach(report.DiffSchema(), lines)
	return err
}

// ValidateHost does the same for what a host tells of itself.
func ValidateHost(lines []byte) error {
	_, err := validateEach(report.HostSchema(), lines)
	return err
}

// validateLines wants one summary among the lines.
func validateLines(text string, lines []byte) error {
	summaries, err := validateEach(text, lines)
	if err == nil && summaries != 1 {
		err = fmt.Errorf("reporttest: %d summaries", summaries)
	}
	return err
}

// validateEach holds each line against a schema and counts the summaries.
func validateEach(text string, lines []byte) (summaries int, err error) {
	if !utf8.Valid(lines) || !bytes.HasSuffix(lines, []byte("\n")) {
		return 0, fmt.Errorf("reporttest: not lines of UTF-8: %.200q", lines)
	}
	schema, err := compile(text)
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(lines) {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(line))
		if err != nil {
			return 0, fmt.Errorf("reporttest: not JSON: %w", err)
		}
		if err := schema.Validate(doc); err != nil {
			return 0, fmt.Errorf("reporttest: not as the schema says: %w\n%.400s", err, line)
		}
		if doc.(map[string]any)["kind"] == "summary" {
			summaries++
		}
	}
	return summaries, nil
}
