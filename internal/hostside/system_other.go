//go:build !linux

package hostside

import (
	"context"
	"errors"
	"runtime"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

func namespace() (uint32, error) { return 0, errors.ErrUnsupported }

// system names the system.
func system() string { return runtime.GOOS }

func diverted() []string { return nil }

// ruleAsItIs knows no rules here.
func ruleAsItIs(context.Context) func(family, table, chain string, handle uint64) *evidence.Rule {
	return nil
}
