package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tcpwhy/tcpwhy"
	"github.com/tcpwhy/tcpwhy/internal/errtext"
	"github.com/tcpwhy/tcpwhy/internal/manual"
)

const explainLong = `Shows a page of the manual, or explains an error: a cause or a topic by its
name, an error by its name or number, or the very text that a program printed.
An error text gives what it proves, what it leaves open, the causes that remain,
and the command that would tell more. Nothing is sent.

With - the text comes from standard input: every kind of error among the lines
is explained once, as soon as it is seen.`

const explainExamples = `  tcpwhy explain
  tcpwhy explain no-listener
  tcpwhy explain ECONNREFUSED
  tcpwhy explain 10061
  tcpwhy explain 'dial tcp 192.0.2.7:5432: i/o timeout'
  some-program 2>&1 | tcpwhy explain -
  tcpwhy explain --search conntrack`

// explaining is one call of explain.
type explaining struct {
	*app
	output  string
	search  string
	verbose bool
}

func (a *app) explain() *cobra.Command {
	e := &explaining{app: a}
	cmd := &cobra.Command{
		Use:     "explain [CAUSE | ERROR | -]",
		Short:   "Show the manual: all causes, one page, or what an error means",
		Long:    explainLong,
		Example: explainExamples,
		Args:    cobra.ArbitraryArgs,
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return slices.Concat(manual.IDs(), manual.Topics(), errtext.Names()), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("search") && strings.TrimSpace(e.search) == "" {
				return &usageError{"--search needs a word", "For example: tcpwhy explain --search conntrack"}
			}
			return e.run(args)
		},
	}
	fl := cmd.Flags()
	fl.StringVarP(&e.output, "output", "o", "text", "`FORMAT` of the answer: text, md or json (one object a line)")
	fl.StringVar(&e.search, "search", "", "list the pages that hold every one of these `WORDS`")
	fl.BoolVarP(&e.verbose, "verbose", "v", false, "list every cause that an error leaves")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(explainFormats, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

var explainFormats = []string{"text", "md", "json"}

func (e *explaining) run(args []string) error {
	if !slices.Contains(explainFormats, e.output) {
		return &usageError{fmt.Sprintf("unknown output format %q", e.output), "Formats are: " + strings.Join(explainFormats, ", ") + "."}
	}
	switch what := strings.Join(args, " "); {
	case e.search != "" && len(args) > 0:
		return &usageError{"--search looks through all pages and takes no other word", "Leave out the one or the other."}
	case e.search != "":
		return e.found(e.search)
	case what == "-":
		return e.stream(e.host.Stdin)
	case len(args) == 0:
		return e.paged(e.list)
	case strings.TrimSpace(what) == "":
		return &usageError{"there is nothing to explain in an empty text", "All causes are listed by: tcpwhy explain"}
	default:
		return e.one(what)
	}
}

// one explains a word or a text.
func (e *explaining) one(what string) error {
	if ms := errtext.Lookup(what); len(ms) > 0 {
		return e.paged(func(w *page) error { return e.errno(w, what, ms) })
	}
	if id, ok := manual.Lookup(what); ok {
		return e.paged(func(w *page) error { return e.manualPage(w, what, id) })
	}
	if x, ok := tcpwhy.ExplainKind(strings.ToLower(what)); ok {
		return e.paged(func(w *page) error { return e.errorText(w, what, x) })
	}
	// An argument of several lines is read as a text of several lines is.
	for line := range strings.Lines(what) {
		if x, ok := tcpwhy.ExplainText([]byte(line)); ok {
			return e.paged(func(w *page) error { return e.errorText(w, strings.TrimRight(line, "\r\n"), x) })
		}
	}
	return &usageError{fmt.Sprintf("%s is neither one cause, nor a topic, nor an error that is known", e.quote(what)), hint(what)}
}

// quote bounds and escapes what was typed.
func (e *explaining) quote(s string) string { return `"` + e.visible(s, 80) + `"` }

// hint names what looks like the thing that was typed.
func hint(typed string) string {
	names := slices.Concat(manual.IDs(), manual.Topics())
	if len(typed) > 3 {
		names = append(names, errtext.Names()...)
	}
	if like := near(typed, names...); like != nil {
		return "Did you mean: " + strings.Join(like, ", ") + "? (tcpwhy explain --search WORD looks through all pages)"
	}
	return "All causes are listed by: tcpwhy explain (and searched by: tcpwhy explain --search WORD)"
}
