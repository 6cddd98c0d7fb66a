package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/tcpwhy/tcpwhy/internal/hostside"
	"github.com/tcpwhy/tcpwhy/internal/report"
)

// hostWatch shows the attempts as they come, until Ctrl-C.
func (a *app) hostWatch(ctx context.Context, f *hostFlags) error {
	out := report.NewAttempts(a.host.Stdout, a.options(f.verbose, f.quiet), f.output == "json")
	w, err := hostside.Start(ctx, f.options, hostside.WatchOptions{Changed: out.Attempt, OnlyAttempts: true})
	if err != nil {
		return cannotWatch(err)
	}
	for _, n := range w.NotChecked() {
		a.complain(n.Check+": "+n.Reason, n.How)
	}
	out.Begin(f.options.Port)
	select {
	case <-ctx.Done():
	case <-out.Broken():
	}
	w.Stop()
	if err := out.End(w.Summary()); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}

// cannotWatch says why a watch does not begin.
func cannotWatch(err error) error {
	problem := strings.ReplaceAll(err.Error(), "\n", "; ")
	switch {
	case errors.Is(err, fs.ErrPermission):
		return &usageError{problem, "Run it with sudo."}
	case errors.Is(err, errors.ErrUnsupported):
		return &usageError{problem, "Without it the host's side is told by: tcpwhy host :PORT"}
	}
	return err
}
