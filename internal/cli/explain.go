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
			defer out.Flush()
			if len(args) == 0 {
				list(out)
				return nil
			}
			page, ok := manual.Render(args[0], a.host.width())
			if !ok {
				return &usageError{fmt.Sprintf("there is no cause %q", args[0]), hint(args[0])}
			}
			_, err := io.WriteString(out, page)
			return err
		},
	}
}

// list prints every cause by stage.
func list(w io.Writer) {
	var stage cause.Stage
	for _, c := range cause.All() {
		if c.Stage != stage {
			if stage != "" {
				fmt.Fprintln(w)
			}
			stage = c.Stage
			fmt.Fprintln(w, strings.ToUpper(string(stage)))
		}
		fmt.Fprintf(w, "  %-26s %s\n", c.ID, c.Title)
	}
	fmt.Fprintln(w, "\nA page of the manual is shown by: tcpwhy explain CAUSE")
}

// hint names causes that look like what was typed.
func hint(typed string) string {
	var near []string
	for _, id := range manual.IDs() {
		if typed != "" && (strings.Contains(id, typed) || strings.Contains(typed, id)) {
			near = append(near, id)
		}
	}
	if len(near) > 0 && len(near) <= 8 {
		return "Did you mean: " + strings.Join(near, ", ") + "?"
	}
	return "All causes are listed by: tcpwhy explain"
}
