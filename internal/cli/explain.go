package cli

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tcpwhy/tcpwhy/internal/cause"
	"github.com/tcpwhy/tcpwhy/internal/manual"
)

func (a *app) explain() *cobra.Command {
	return &cobra.Command{
		Use:   "explain [CAUSE]",
		Short: "Show the manual: all causes, or the page of one",
		Example: `  tcpwhy explain
  tcpwhy explain no-listener`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return &usageError{"explain takes one cause", "All causes are listed by: tcpwhy explain"}
			}
			return nil
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return manual.IDs(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			out := bufio.NewWriter(a.host.Stdout)
			if len(args) == 0 {
				list(out, a.host.width())
				return out.Flush()
			}
			page, ok := manual.Render(args[0], a.host.width())
			if !ok {
				return &usageError{fmt.Sprintf("there is no cause %q", args[0]), hint(args[0])}
			}
			out.WriteString(page)
			return out.Flush() // tells of an error of the writes before, too
		},
	}
}

// list prints every cause by stage.
func list(w io.Writer, width int) {
	const column = 29 // where titles begin
	var stage cause.Stage
	for _, c := range cause.All() {
		if c.Stage != stage {
			if stage != "" {
				fmt.Fprintln(w)
			}
			stage = c.Stage
			fmt.Fprintln(w, strings.ToUpper(string(stage)))
		}
		fmt.Fprintf(w, "  %-*s", column-2, c.ID)
		at := column
		for i, word := range strings.Fields(c.Title) {
			switch {
			case i == 0:
			case at+1+len(word) > width:
				fmt.Fprintf(w, "\n%*s", column, "")
				at = column
			default:
				fmt.Fprint(w, " ")
				at++
			}
			fmt.Fprint(w, word)
			at += len(word)
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w, "\nA page of the manual is shown by: tcpwhy explain CAUSE")
}

// hint names causes that look like what was typed.
func hint(typed string) string {
	var near []string
	for _, id := range manual.IDs() {
		if typed != "" && (strings.Contains(id, typed) || strings.Contains(typed, id) || distance(id, typed) <= 2) {
			near = append(near, id)
		}
	}
	if len(near) > 0 && len(near) <= 8 {
		return "Did you mean: " + strings.Join(near, ", ") + "?"
	}
	return "All causes are listed by: tcpwhy explain"
}

// distance is the number of letters to insert, delete or replace to make one
// word of the other (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := last
			if a[i] != b[j] {
				cost++
			}
			last = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
