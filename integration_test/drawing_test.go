package integration_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The command draws; a program that embeds the database must not carry a plotting library and its fonts.
func TestOnlyTheCommandDraws(t *testing.T) {
	draws := func(dir string) bool {
		for _, i := range imports(t, dir) {
			if strings.HasPrefix(i, "gonum.org/") {
				return true
			}
		}
		return false
	}
	for _, dir := range []string{"wbm", "spillfile", "replay", "badgerspill"} {
		require.False(t, draws(dir), dir)
	}
	require.True(t, draws("badgerspill/cmd/badgerspill"), "the check can fail")
}
