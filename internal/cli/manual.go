package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tcpwhy/tcpwhy/internal/manual"
)

const manualLong = `Writes the whole manual into a folder as a static site: an index by stage with
a search, a page for every cause and every topic. It needs no server (open
index.html), no network, and works without script.

The folder is made if it is not there. One that holds anything else than an
earlier copy is left alone unless --force is given; even then nothing is removed
from it, and only files of the site's own names are overwritten.`

func (a *app) manual() *cobra.Command {
	var dir string
	var force bool
	cmd := &cobra.Command{
		Use:     "manual --html DIR",
		Short:   "Write the manual as a static site",
		Long:    manualLong,
		Example: "  tcpwhy manual --html ./manual",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return &usageError{fmt.Sprintf("manual takes no %q", args[0]), "Write the site with: tcpwhy manual --html DIR (one page is shown by: tcpwhy explain CAUSE)"}
			}
			if dir == "" {
				return &usageError{"no folder given", "Write the site with: tcpwhy manual --html DIR (one page is shown by: tcpwhy explain CAUSE)"}
			}
			return nil
		},
		RunE: func(*cobra.Command, []string) error {
			n, err := manual.WriteSite(dir, force)
			var taken *manual.TakenError
			switch {
			case errors.As(err, &taken):
				return &usageError{taken.Error(), "Name a new folder, or add --force to write between what is there."}
			case err != nil:
				return &usageError{err.Error(), "Name a folder that can be written to."}
			}
			fmt.Fprintf(a.host.Stdout, "%d files in %s; begin with index.html\n", n, dir)
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "html", "", "the folder `DIR` to write to")
	cmd.Flags().BoolVar(&force, "force", false, "write even if the folder holds other files")
	return cmd
}
