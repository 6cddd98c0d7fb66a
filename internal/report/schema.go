package report

import _ "embed"

//go:embed schema/tcpwhy.diagnosis-1.schema.json
var schema string

// Schema returns the JSON Schema (draft 2020-12) of what JSON writes.
func Schema() string { return schema }
