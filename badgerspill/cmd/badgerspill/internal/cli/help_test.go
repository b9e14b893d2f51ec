package cli

import (
	"runtime/debug"
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
	require.GreaterOrEqual(t, asked, 14)
}

func TestHelpNamesTheExitCodes(t *testing.T) {
	code, stdout, _ := command(t)
	require.Zero(t, code)
	require.Regexp(t, `(?m)^Exit codes:\n  0    .*\n  1    .*\n  2    .*\n(       .*\n)*  130  `, stdout)
}

func TestVersion(t *testing.T) {
	build, found := debug.ReadBuildInfo()
	require.True(t, found)
	own := build.Main.Version
	if own == "" {
		own = "(devel)"
	}
	for _, flag := range []string{"--version", "-version", "-v"} {
		code, stdout, stderr := command(t, flag)
		require.Zero(t, code, stderr)
		require.Equal(t, "badgerspill version "+own+" on Badger "+badgerspill.BadgerBuild().String()+"\n", stdout)
	}
	// A test does not know its dependencies, and an executable does.
	require.Regexp(t, `^badgerspill version \S+ on Badger v4\.\d+\.\d+`, ok(t, "--version"))
}

func TestHelpWithOneDash(t *testing.T) {
	_, long, _ := command(t, "info", "--help")
	code, short, _ := command(t, "info", "-help")
	require.Zero(t, code)
	require.Equal(t, long, short)
}

func TestManualPage(t *testing.T) {
	code, page, stderr := command(t, "man")
	require.Zero(t, code, stderr)
	require.Equal(t, string(frame.Manual(New())), page)
	for _, verb := range New().Commands() {
		if verb.Hidden {
			require.NotContains(t, page, "badgerspill "+verb.Name())
			continue
		}
		require.Contains(t, page, ".SS badgerspill "+verb.Name()+" ")
	}
	require.Contains(t, page, `\fB\-y, \-\-yes\fR`)
	require.Contains(t, page, "(default 16777216)")
	require.Contains(t, page, ".SH EXIT STATUS\n.TP\n\\fB0\\fR\n")
	helptest.SameAsCommitted(t, "../../../../..", "badgerspill", page)
}
