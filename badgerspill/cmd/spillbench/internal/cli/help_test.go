package cli

import (
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/frame"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/helptest"
)

func TestHelpFitsATerminal(t *testing.T) {
	asked := 0
	var ask func(cmd *cobra.Command, path ...string)
	ask = func(cmd *cobra.Command, path ...string) {
		code, stdout, stderr := command(t, append(path, "--help")...)
		require.Zero(t, code, stderr)
		helptest.Fits(t, cmd.CommandPath(), stdout)
		asked++
		for _, verb := range cmd.Commands() {
			ask(verb, append(path[:len(path):len(path)], verb.Name())...)
		}
	}
	root := New()
	root.InitDefaultCompletionCmd()
	ask(root)
	require.GreaterOrEqual(t, asked, 8)
}

func TestVersion(t *testing.T) {
	code, stdout, stderr := command(t, "--version")
	require.Zero(t, code, stderr)
	require.Regexp(t, `^spillbench version \S+ on Badger `, stdout)
	require.Contains(t, stdout, badgerspill.BadgerBuild().String())
}

func TestManualPage(t *testing.T) {
	code, page, stderr := command(t, "man")
	require.Zero(t, code, stderr)
	require.Equal(t, string(frame.Manual(New())), page)
	require.Contains(t, page, ".SS spillbench burst [flags]")
	require.Contains(t, page, ".SS spillbench bench CASE [flags]")
	require.NotContains(t, page, "child")
	helptest.SameAsCommitted(t, "../../../../..", "spillbench", page)
}
