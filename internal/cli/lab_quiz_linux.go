package cli

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tcpwhy/tcpwhy/internal/isolate"
	"github.com/tcpwhy/tcpwhy/internal/judge"
	"github.com/tcpwhy/tcpwhy/internal/lab"
)

func (l *labs) quiz() *cobra.Command {
	var stage string
	var seed int
	f := &shellFlags{}
	cmd := &cobra.Command{
		Use:   "quiz",
		Short: "Find a hidden fault yourself",
		Long: `Make a fault at random and tell nobody which. It opens a shell on the client, as
lab shell does; when you know what it is, say so with: answer CAUSE. The lab
then tells the truth and the evidence that gives it away.`,
		Example: `  tcpwhy lab quiz
  tcpwhy lab quiz --stage listener
  tcpwhy lab quiz --seed 42                the same one again`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return &usageError{"lab quiz chooses the fault itself", "One of your choice is made by: tcpwhy lab shell " + args[0]}
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.labFlags.check(); err != nil {
				return err
			}
			scenarios, err := atStage(stage)
			if err != nil {
				return err
			}
			if seed == 0 {
				if err := cmd.Flags().Set("seed", strconv.Itoa(1+rand.IntN(99999))); err != nil {
					return err
				}
			}
			draw := lots(scenarios, f, seed)
			c, err := draw()
			if err != nil {
				return err
			}
			return l.isolated(cmd, args, func(ctx context.Context, cell *isolate.Cell) error {
				if err := l.attached(ctx, cell, f.request()); err != nil || ctx.Err() != nil {
					return err
				}
				return l.guess(ctx, cell, seed)
			}, func(ctx context.Context) error {
				r := &room{labs: l, c: c, secret: true, another: draw, started: "Making a fault, and proving that it is there ..."}
				return r.serve(ctx)
			})
		},
	}
	f.common(cmd.Flags())
	stageFlag(cmd, &stage)
	cmd.Flags().IntVar(&seed, "seed", 0, "the same `N` draws the same fault; 0 draws any")
	return cmd
}

// lots draws cases, the same ones for the same seed. Nothing wrong is drawn only
// where it is asked for.
func lots(scenarios []lab.Scenario, f *shellFlags, seed int) func() (judge.Case, error) {
	faults := slices.DeleteFunc(slices.Clone(scenarios), func(s lab.Scenario) bool {
		return s.Stage == "healthy" || f.ipv4 && !slices.Contains(s.Families, lab.V4) || f.ipv6 && !slices.Contains(s.Families, lab.V6)
	})
	if len(faults) == 0 {
		faults = scenarios
	}
	// A cause with many scenarios is not likelier than others.
	byCause := make(map[string][]lab.Scenario)
	for _, s := range faults {
		byCause[s.Cause] = append(byCause[s.Cause], s)
	}
	causes := slices.Sorted(maps.Keys(byCause))
	draw := rand.New(rand.NewPCG(uint64(seed), 0))
	return func() (judge.Case, error) {
		of := byCause[causes[draw.IntN(len(causes))]]
		return f.of(of[draw.IntN(len(of))], judge.Root)
	}
}

// guess lets the person answer after the shell, as often as wanted.
func (l *labs) guess(ctx context.Context, cell *isolate.Cell, seed int) error {
	ask := func(op string, args ...string) (isolate.Reply, error) {
		conn, err := cell.Connect()
		if err != nil {
			return isolate.Reply{}, err
		}
		defer conn.Close()
		return isolate.Ask(conn, isolate.Request{Op: op, Args: args})
	}
	if r, err := ask(opSolved); err != nil || r.Code == exitWorks {
		return nil
	}
	lines := typed(ctx)
	for {
		fmt.Fprint(l.host.Stderr, "\nWhich cause is it? (a cause, list, or Enter to be told) ")
		said, ok := "", false
		select {
		case said, ok = <-lines:
			said = strings.TrimPrefix(strings.TrimSpace(said), "answer ")
		case <-ctx.Done():
			fmt.Fprintln(l.host.Stderr)
			return l.interrupted()
		}
		if !ok {
			fmt.Fprintln(l.host.Stderr)
		}
		if said == "list" {
			list(l.host.Stderr, l.host.width())
			continue
		}
		var r isolate.Reply
		var err error
		if said == "" {
			r, err = ask(opWhy)
		} else {
			r, err = ask(opAnswer, said)
		}
		switch {
		case err != nil:
			return nil // the lab has ended
		case r.Error != "":
			l.complain(r.Error, r.Hint)
		default:
			fmt.Fprint(l.host.Stderr, r.Text)
		}
		if said == "" || r.Error == "" && r.Code == 0 {
			fmt.Fprintf(l.host.Stderr, "\nThe same one again: tcpwhy lab quiz --seed %d\n", seed)
			return nil
		}
	}
}

// typed are the lines of standard input. A read of a terminal cannot be cut
// short: what does it may last until the program ends.
func typed(ctx context.Context) <-chan string {
	lines := make(chan string)
	go func() {
		defer close(lines)
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			select {
			case lines <- in.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	return lines
}
