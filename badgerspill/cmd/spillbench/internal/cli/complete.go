package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/frame"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/burst"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/engine"
)

// completeFlag has a shell complete the value of a flag that cmd has.
func completeFlag(cmd *cobra.Command, flag string, complete cobra.CompletionFunc) {
	// It fails for a flag that is not there, or twice.
	_ = cmd.RegisterFlagCompletionFunc(flag, complete)
}

// engines completes a list of engines; both stands alone.
func engines() cobra.CompletionFunc {
	list := frame.WordList(engine.Names()...)
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		words, directive := list(cmd, args, typed)
		if !strings.Contains(typed, ",") {
			words = append([]string{burst.Both}, words...)
		}
		return words, directive
	}
}

func directories(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveFilterDirs
}

func files(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveDefault
}

// endingIn completes to files of these endings.
func endingIn(endings ...string) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return endings, cobra.ShellCompDirectiveFilterFileExt
	}
}
