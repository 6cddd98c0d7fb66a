package cli

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tcpwhy/tcpwhy/internal/cause"
	"github.com/tcpwhy/tcpwhy/internal/lab"
	"github.com/tcpwhy/tcpwhy/internal/verdict"
)

func (l *labs) list() *cobra.Command {
	var stage string
	var t talk
	cmd := &cobra.Command{
		Use:   "list",
		Short: "What the lab makes, and what is seen of it",
		Example: `  tcpwhy lab list
  tcpwhy lab list --stage path`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return &usageError{"lab list takes no names", "One stage is listed by: tcpwhy lab list --stage path"}
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			scenarios, err := atStage(stage)
			if err == nil {
				err = t.check()
			}
			if err != nil {
				return err
			}
			out := bufio.NewWriter(l.host.Stdout)
			if t.output == "json" {
				if err := listJSON(out, stage, scenarios); err != nil {
					return err
				}
				return out.Flush()
			}
			listText(out, l.host.width(), stage, scenarios)
			return out.Flush()
		},
	}
	stageFlag(cmd, &stage)
	t.flags(cmd, "")
	return cmd
}

// unmadeAt are the causes of a stage that the lab does not make.
func unmadeAt(stage string) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(lab.Unmade)), func(id string) bool {
		c, ok := cause.Get(verdict.CauseID(id))
		return stage != "" && ok && string(c.Stage) != stage
	})
}

// shows is what is seen of a scenario, the title of its cause where it does not
// say.
func shows(s lab.Scenario) string {
	text := s.Shows
	if text == "" {
		text = title(s.Cause)
	}
	if s.Loss > 0 {
		text = strings.TrimSuffix(text, ".") + ". " + lossOf(s) + "."
	}
	return text
}

// lossOf says how much of its packets a scenario loses.
func lossOf(s lab.Scenario) string {
	return fmt.Sprintf("%d %% of all packets are lost, either way", s.Loss)
}

// title is the catalogue's for a cause.
func title(id string) string {
	if id == string(verdict.None) {
		return "nothing is wrong"
	}
	return cause.Title(verdict.CauseID(id))
}

func listText(w io.Writer, width int, stage string, scenarios []lab.Scenario) {
	head := ""
	for _, s := range scenarios {
		if s.Stage != head {
			if head != "" {
				fmt.Fprintln(w)
			}
			head = s.Stage
			fmt.Fprintln(w, strings.ToUpper(head))
		}
		entry(w, width, s.Name, shows(s))
	}
	if ids := unmadeAt(stage); len(ids) > 0 {
		fmt.Fprintln(w, "\nNOT MADE")
		for _, id := range ids {
			entry(w, width, id, lab.Unmade[id])
		}
	}
	fmt.Fprintln(w, "\nOne is made and diagnosed by: tcpwhy lab run NAME\nA shell beside it is opened by: tcpwhy lab shell NAME")
}

// entry prints a name with a text beside it, or below it where it is long.
func entry(w io.Writer, width int, name, text string) {
	const column = 31 // where texts begin
	fmt.Fprintf(w, "  %-*s", column-2, name)
	if len(name) > column-3 {
		fmt.Fprintf(w, "\n%*s", column, "")
	}
	fmt.Fprintln(w, strings.Join(wrap(text, width-column), "\n"+strings.Repeat(" ", column)))
}

func listJSON(w io.Writer, stage string, scenarios []lab.Scenario) error {
	type made struct {
		Name     string   `json:"name"`
		Cause    string   `json:"cause"`
		Stage    string   `json:"stage"`
		Shows    string   `json:"shows"`
		Topology string   `json:"topology"`
		Families []string `json:"families"`
	}
	type not struct {
		Cause  string `json:"cause"`
		Reason string `json:"reason"`
	}
	doc := struct {
		Schema    string `json:"schema"`
		Scenarios []made `json:"scenarios"`
		Unmade    []not  `json:"unmade"`
	}{"tcpwhy.lab-list/1", []made{}, []not{}}
	for _, s := range scenarios {
		m := made{Name: s.Name, Cause: s.Cause, Stage: s.Stage, Shows: shows(s), Topology: s.Topology.Name}
		for _, f := range s.Families {
			m.Families = append(m.Families, f.String())
		}
		doc.Scenarios = append(doc.Scenarios, m)
	}
	for _, id := range unmadeAt(stage) {
		doc.Unmade = append(doc.Unmade, not{id, lab.Unmade[id]})
	}
	return json.NewEncoder(w).Encode(doc)
}
