package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/frame"
)

// New returns the command.
func New() *cobra.Command {
	return frame.Root("badgerspill", "Operate databases of package badgerspill, the layer over Badger that absorbs write bursts",
		newInfo(), newVerify(), newDrain(), newDump(), newSalvage(), newDiscard(), newPlan())
}

// oneDirectory is for verbs whose argument is a database.
func oneDirectory(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return &frame.UsageError{Err: fmt.Errorf("name the directory of one database, not %d", len(args))}
	}
	return nil
}
