package cli

import (
	"github.com/spf13/cobra"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/frame"
)

// New returns the command.
func New() *cobra.Command {
	return frame.Root("spillbench", "Measure package badgerspill against plain Badger, Pebble and a bare log",
		newBurst(), newBench(), newPlot(), newBurstChild(), newBenchChild())
}
