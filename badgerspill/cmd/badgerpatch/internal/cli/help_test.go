package cli

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/badgerpatch/internal/badgercopy"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/helptest"
)

func TestHelp(t *testing.T) {
	root := t.TempDir()
	code, out, _ := in(t, root, "-help")
	require.Zero(t, code)
	helptest.Fits(t, "badgerpatch", out)
	require.Contains(t, out, "\nFlags:\n  -replace          have the module")
	require.Contains(t, out, "It exits with 0")
}

func TestVersion(t *testing.T) {
	code, out, _ := in(t, t.TempDir(), "-version")
	require.Zero(t, code)
	require.Regexp(t, `^badgerpatch version \S+ for Badger `+badgercopy.Version+"\n$", out)
}

func TestManualPage(t *testing.T) {
	code, shown, _ := in(t, t.TempDir(), "-man")
	require.Zero(t, code)
	require.Equal(t, string(page()), shown)
	require.Contains(t, shown, `\fB\-without mends\fR`)
}
