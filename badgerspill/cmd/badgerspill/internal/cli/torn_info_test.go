//go:build unix

package cli

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Open refuses a damaged spill. So info must not say that it will cut anything off.
func TestInfoOfADamagedSpillPromisesNoCut(t *testing.T) {
	d := spilled(t, 100, nil)
	segments := d.segments(t)
	indexes, err := filepath.Glob(filepath.Join(d.dir, "spill", "*.idx"))
	require.NoError(t, err)
	for _, path := range indexes { // as a kill leaves it that comes early
		flip(t, path, -1)
	}
	flip(t, segments[0], -10)
	in := infoOf(t, d.dir)
	require.Equal(t, "corrupt", in.Health)
	require.Zero(t, in.Spill.TornBytes)
}
