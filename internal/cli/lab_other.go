//go:build !linux

package cli

import (
	"runtime"

	"github.com/spf13/cobra"
)

// lab is the command of the lab, which says that there is none here.
func (a *app) lab() *cobra.Command {
	return &cobra.Command{
		Use:                "lab",
		Short:              "Faults made real on this machine, to learn from (Linux)",
		DisableFlagParsing: true,
		Args:               cobra.ArbitraryArgs,
		RunE: func(*cobra.Command, []string) error {
			return &usageError{"the lab is made of Linux's network namespaces, which " + runtime.GOOS + " does not have", "Run it on Linux, for example in a virtual machine or a container."}
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
}
