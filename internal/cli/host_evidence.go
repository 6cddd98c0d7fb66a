package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/tcpwhy/tcpwhy/internal/flow"
	"github.com/tcpwhy/tcpwhy/internal/probe"
	"github.com/tcpwhy/tcpwhy/internal/report"
)

// hear opens what a host tells of itself for the run, and waits for its first
// piece. end must be called.
func (a *app) hear(ctx context.Context, name string, targets []flow.Target, opts *probe.Options) (end func(), err error) {
	const hint = "Make it on the host: tcpwhy host :PORT -o json"
	if len(targets) > 1 {
		return nil, &usageError{"--host-evidence takes one target", "Run it once for each target."}
	}
	in, called := io.NopCloser(a.host.Stdin), "standard input"
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, &usageError{err.Error(), hint}
		}
		in, called = file, name
	}
	feed := probe.NewFeed(report.NewHostReader(in, called).Next)
	first, err := feed.First(ctx)
	var wrong *report.ReadError
	switch {
	case errors.As(err, &wrong):
		err = &usageError{wrong.Error(), wrong.Hint}
	case err != nil && ctx.Err() == nil:
		err = &usageError{fmt.Sprintf("--host-evidence %s: %v", strconv.QuoteToASCII(called), err), hint}
	case err == nil && first.Port != targets[0].Port:
		err = &usageError{fmt.Sprintf("the evidence of the host is about port %d, the target's is %d", first.Port, targets[0].Port), fmt.Sprintf("Make it on the host: tcpwhy host :%d -o json", targets[0].Port)}
	}
	if err != nil {
		in.Close()
		return nil, err
	}
	opts.Host = feed
	return func() { in.Close() }, nil
}
