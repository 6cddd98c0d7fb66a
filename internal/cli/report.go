package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tcpwhy/tcpwhy/internal/cause"
	"github.com/tcpwhy/tcpwhy/internal/diagnose"
	"github.com/tcpwhy/tcpwhy/internal/report"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

// formats of an answer, as -o names them.
var formats = []string{"text", "json", "html", "md"}

// extensions say which format a file named by --report is.
var extensions = map[string]string{
	".txt": "text", ".json": "json", ".jsonl": "json", ".html": "html", ".htm": "html", ".md": "md", ".markdown": "md",
}

// checkFormat says whether -o is a format that stdout can take.
func (a *app) checkFormat(format string) error {
	for _, f := range formats {
		if f != format {
			continue
		}
		if f == "html" && a.host.Columns > 0 {
			return &usageError{"a page of HTML is nothing for a terminal", "Write it to a file: add  > report.html  or, beside the text, --report report.html"}
		}
		return nil
	}
	return &usageError{fmt.Sprintf("unknown output format %q", format), "Formats are: " + strings.Join(formats, ", ") + "."}
}

// copies are the files that --report asks for.
type copies []struct {
	file   *os.File
	format string
}

// openCopies makes the files before anything is sent: a name that cannot be
// written to is better known at once.
func openCopies(names []string) (copies, error) {
	for _, name := range names {
		if extensions[strings.ToLower(filepath.Ext(name))] == "" {
			return nil, &usageError{fmt.Sprintf("--report %q: its ending names no format", name), "End it in .html, .md, .json or .txt."}
		}
	}
	var out copies
	for _, name := range names {
		file, err := create(name)
		if err != nil {
			return nil, errors.Join(err, out.close())
		}
		out = append(out, struct {
			file   *os.File
			format string
		}{file, extensions[strings.ToLower(filepath.Ext(name))]})
	}
	return out, nil
}

func (c copies) close() (err error) {
	for _, f := range c {
		closing(f.file, &err)
	}
	return err
}

// write writes the diagnoses to every file, for readers elsewhere: 80 columns,
// no colour, all characters.
func (c copies) write(list []*verdict.Diagnosis, verbose bool) error {
	o := report.Options{Unicode: true, Verbose: verbose, Titles: cause.Title, Predicts: diagnose.Predicts}
	for _, f := range c {
		if err := writeReport(f.file, list, f.format, o); err != nil {
			return fmt.Errorf("write the report: %w", err)
		}
	}
	return nil
}

// writeReport writes diagnoses in a format.
func writeReport(w io.Writer, list []*verdict.Diagnosis, format string, o report.Options) error {
	out := bufio.NewWriter(w)
	var err error
	switch format {
	case "html":
		err = report.HTML(out, list, o)
	case "md":
		err = report.Markdown(out, list, o)
	default:
		for i, d := range list {
			if format == "json" {
				err = report.JSON(out, d)
			} else {
				if i > 0 && !o.Quiet {
					fmt.Fprintln(out)
				}
				err = report.Text(out, d, o)
			}
			if err != nil {
				break
			}
		}
	}
	return flush(out, err)
}

// flush ends what was written. Its error counts when there is no other: that of
// an earlier write sticks, and comes back.
func flush(out *bufio.Writer, err error) error {
	if e := out.Flush(); err == nil {
		return e
	}
	return err
}

// options say how reports look on stdout.
func (a *app) options(verbose, quiet bool) report.Options {
	return report.Options{
		Width: a.host.width(), Color: a.host.color(), Unicode: a.host.unicode(), Verbose: verbose, Quiet: quiet,
		Titles: cause.Title, Predicts: diagnose.Predicts,
	}
}

const reportLong = `Shows again what tcpwhy -o json saved, in any format. A file may hold several
targets, one a line; - is standard input. With -v it shows less than -v of the
run itself: the path to a second port and each question to a name server are
not saved, and of what a server that works said the beginning only.

With two files it shows what changed from the first to the second, target by
target: outcome, cause, certainty, addresses, evidence, the path, and times
that differ by more than they usually do.

The exit code is 0 when the report was written, whatever it says.`

func (a *app) report() *cobra.Command {
	var (
		output         string
		copyTo         []string
		quiet, verbose bool
		redact         bool
	)
	cmd := &cobra.Command{
		Use:   "report FILE [FILE]",
		Short: "Show saved JSON again, or what changed between two runs",
		Long:  reportLong,
		Example: `  tcpwhy -o json db.example:5432 > monday.json
  tcpwhy report monday.json
  tcpwhy report --redact -o html monday.json > ticket.html
  tcpwhy report monday.json tuesday.json
  ssh web1.example tcpwhy -o json db.example:5432 | tcpwhy report -`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return &usageError{"report takes one file, or two to compare", "Save one with: tcpwhy -o json TARGET > FILE"}
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) (err error) {
			if err := a.checkFormat(output); err != nil {
				return err
			}
			if quiet && verbose {
				return &usageError{"-q and -v exclude each other", "Choose one of them."}
			}
			if len(args) == 2 && args[0] == "-" && args[1] == "-" {
				return &usageError{"standard input can be read once only", "Name a file for one of the two runs."}
			}
			if len(args) == 2 && len(copyTo) > 0 {
				return &usageError{"--report copies one run, not a comparison", "Choose a format with -o and write standard output to a file."}
			}
			runs := make([][]*verdict.Diagnosis, len(args))
			for i, name := range args {
				if runs[i], err = a.readSaved(name); err != nil {
					return err
				}
			}
			if redact {
				r := report.NewRedactor()
				for _, list := range runs {
					for i := range list {
						list[i] = r.Redact(list[i])
					}
				}
			}
			o := a.options(verbose, quiet)
			if len(args) == 2 {
				return a.compare(runs[0], runs[1], output, o)
			}
			files, err := openCopies(copyTo)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, files.close()) }()
			if err := writeReport(a.host.Stdout, runs[0], output, o); err != nil {
				return fmt.Errorf("write the report: %w", err)
			}
			return files.write(runs[0], verbose)
		},
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.StringVarP(&output, "output", "o", "text", "`FORMAT` on standard output: text, json, html or md")
	fl.StringArrayVar(&copyTo, "report", nil, "write a copy to `FILE`, in the format of its ending: .html, .md, .json, .txt")
	fl.BoolVar(&redact, "redact", false, redactUsage)
	fl.BoolVarP(&quiet, "quiet", "q", false, "print the first line of each answer only")
	fl.BoolVarP(&verbose, "verbose", "v", false, "print everything")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

const redactUsage = "replace addresses, names and users by placeholders, the same by the same"

// readSaved reads saved JSON from a file or standard input.
func (a *app) readSaved(name string) ([]*verdict.Diagnosis, error) {
	r, shown := a.host.Stdin, "standard input"
	if name != "-" {
		shown = name
		file, err := os.Open(name)
		if err != nil {
			return nil, &usageError{err.Error(), "Save a run with: tcpwhy -o json TARGET > FILE"}
		}
		defer file.Close()
		r = file
	}
	list, err := report.Read(r, shown)
	var bad *report.ReadError
	if errors.As(err, &bad) {
		return nil, &usageError{bad.Error(), bad.Hint}
	}
	if err != nil {
		return nil, &usageError{err.Error(), "Name a file that can be read."}
	}
	return list, nil
}

// compare writes what changed between two runs.
func (a *app) compare(before, after []*verdict.Diagnosis, format string, o report.Options) error {
	out := bufio.NewWriter(a.host.Stdout)
	changes := report.Compare(before, after)
	var err error
	switch format {
	case "html":
		err = report.ChangesHTML(out, changes, o)
	case "json":
		err = report.ChangesJSON(out, changes)
	case "md":
		err = report.ChangesMarkdown(out, changes, o)
	default:
		err = report.ChangesText(out, changes, o)
	}
	if err = flush(out, err); err != nil {
		return fmt.Errorf("write the comparison: %w", err)
	}
	return nil
}
