package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/frame"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/burst"
)

const plotHelp = `Plot draws the figure of an earlier run of burst again, from the file that its
--data has written: for light pages, for dark ones, or for both. Each figure
carries the name of that file and its SHA-256, so that it can be seen whether
they belong together.`

func newPlot() *cobra.Command {
	var light, dark string
	cmd := &cobra.Command{
		Use:   "plot FILE",
		Short: "Draw the figure of an earlier burst again",
		Long:  plotHelp,
		Example: `  spillbench burst --data burst.json
  spillbench plot burst.json --light burst.svg --dark burst-dark.svg`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return &frame.UsageError{Err: fmt.Errorf("name one file, not %d", len(args))}
			}
			return nil
		},
		ValidArgsFunction: endingIn("json"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if light == "" && dark == "" {
				return &frame.UsageError{Err: errors.New("nothing to draw: give --light, --dark, or both")}
			}
			return burst.Draw(args[0], light, dark, cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&light, "light", "", "draw on white, to a `file`, .svg")
	f.StringVar(&dark, "dark", "", "draw on black, to a `file`, .svg")
	completeFlag(cmd, "light", endingIn("svg"))
	completeFlag(cmd, "dark", endingIn("svg"))
	return cmd
}
