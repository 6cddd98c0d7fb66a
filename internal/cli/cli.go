// Package cli is the command line: flags, help, where output goes, exit codes.
// It wires the services to the report and knows nothing of causes itself.
//
// Output rules: stdout carries the answer, stderr the talk (progress, errors).
// Colour and drawing appear only on a terminal, and never with NO_COLOR set.
// Every error names what was wrong and ends with what to do.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/tcpwhy/tcpwhy/internal/flow"
	"github.com/tcpwhy/tcpwhy/internal/probe"
)

// The exit codes, the same for every command.
const (
	exitWorks     = 0 // it works, or is as --expect says
	exitFails     = 1 // it fails and the report says why
	exitUsage     = 2 // the call was wrong
	exitNotSure   = 3 // it fails and the cause could not be narrowed
	exitOurselves = 4 // tcpwhy itself failed
)

// Host is the world around the command line.
type Host struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(string) string
	// Columns is the width of the terminal on stdout, 0 when it is none.
	Columns int
	// Live says that stderr is a terminal.
	Live bool
}

// System is the process's own world.
func System() Host {
	h := Host{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv}
	if w, _, err := term.GetSize(int(os.Stdout.Fd())); err == nil {
		h.Columns = max(w, 40)
	}
	h.Live = term.IsTerminal(int(os.Stderr.Fd())) && os.Getenv("TERM") != "dumb"
	return h
}

// color says whether SGR sequences may be written to stdout.
func (h *Host) color() bool {
	return h.Columns > 0 && h.Getenv("NO_COLOR") == "" && h.Getenv("TERM") != "dumb"
}

// unicode says whether the locale's characters are UTF-8. See locale(7) for the
// order of the variables.
func (h *Host) unicode() bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := strings.ToLower(h.Getenv(name)); v != "" {
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return false
}

// width of the text on stdout, in columns.
func (h *Host) width() int {
	if h.Columns > 0 {
		return min(h.Columns, 100)
	}
	return 80
}

// usageError is a wrong call.
type usageError struct {
	problem string
	hint    string
}

func (e *usageError) Error() string { return e.problem }

// Main runs the command line and returns the exit code.
func Main(args []string, h Host) (code int) {
	defer func() {
		if p := recover(); p != nil {
			fmt.Fprintf(h.Stderr, "tcpwhy: internal error: %v\nThis is a mistake in tcpwhy. Please report it with the command that was run.\n", p)
			code = exitOurselves
		}
	}()
	if n := probe.OpenFiles(); n < leastFiles {
		fmt.Fprintf(h.Stderr, "tcpwhy: the limit of open files is %d, too few to work with\nRaise it: ulimit -n 256\n", n)
		return exitOurselves
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The first signal asks for the verdict so far, the second ends at once.
	context.AfterFunc(ctx, stop)

	app := &app{host: h, code: exitWorks}
	root := app.root()
	root.SetArgs(args)
	root.SetErr(h.Stderr)
	if err := root.ExecuteContext(ctx); err != nil {
		return app.fail(err)
	}
	return app.code
}

// app is one call of the program.
type app struct {
	host Host
	code int
}

// fail prints an error and what to do, and returns its exit code.
func (a *app) fail(err error) int {
	var (
		usage  *usageError
		target *flow.TargetError
	)
	switch {
	case errors.As(err, &target):
		a.complain(target.Error())
		return exitUsage
	case errors.As(err, &usage):
		a.complain(usage.problem, usage.hint)
		return exitUsage
	}
	hint := "If nothing above is in the way, this is a mistake in tcpwhy: please report it."
	if errors.Is(err, syscall.ENOSPC) {
		hint = "Make room there, or write elsewhere: what was written is not complete."
	}
	a.complain(err.Error(), hint)
	return exitOurselves
}

// complain writes lines to stderr, in ASCII where the locale knows no more.
func (a *app) complain(lines ...string) {
	text := "tcpwhy: " + strings.Join(lines, "\n") + "\n"
	if !a.host.unicode() {
		text = ascii(text)
	}
	io.WriteString(a.host.Stderr, text)
}

// ascii escapes what is not ASCII, as strconv.QuoteToASCII does.
func ascii(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r < utf8.RuneSelf {
			b.WriteRune(r)
			continue
		}
		q := strconv.QuoteRuneToASCII(r)
		b.WriteString(q[1 : len(q)-1])
	}
	return b.String()
}

// leastFiles is what the Go runtime and one connect need.
const leastFiles = 8
