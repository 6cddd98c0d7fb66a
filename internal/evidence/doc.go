// Package evidence holds what was observed, and nothing of what it means.
//
// There are two forms. The raw form (Set and what it contains) is what the
// collectors return: typed, complete, with times. The flat form (Fact) is a
// vocabulary of few keys with few values each, derived from the raw form by
// package diagnose; the catalogue of causes predicts facts. A fact that could
// not be had is a NotChecked with the reason; it never counts as "no".
//
// All times are offsets from the start of the run. It imports only flow.
package evidence
