//go:build !linux

package firewall

import (
	"context"
	"runtime"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// Read reads nothing on this system and says so.
func Read(_ context.Context, env collect.Env, _ []Query) (evidence.Firewall, []evidence.NotChecked, error) {
	n := []evidence.NotChecked{{Check: "firewall rules", Reason: "not supported on " + runtime.GOOS}}
	return evidence.Firewall{At: env.Clock.Now(), Unread: n}, n, nil
}
