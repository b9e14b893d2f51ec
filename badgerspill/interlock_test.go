package badgerspill

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/internal/marker"
)

// The removal of the interlock failed once. Nobody tried again, and plain Badger stayed locked out
// of a directory whose spill was empty.
func TestInterlockIsRemovedAtTheNextTry(t *testing.T) {
	f := open(t)
	f.spillOne("k", "v")
	var tries atomic.Int32
	f.hooks.set(func(op, path string) error {
		if op == "remove" && strings.HasSuffix(path, marker.InterlockName) && tries.Add(1) == 1 {
			return errTest
		}
		return nil
	})
	f.drained()
	f.drained()
	require.Equal(t, Direct, f.routerState())
	eventually(t, "the interlock is gone", func() bool { return !interlocked(f.DB) })
	require.Greater(t, tries.Load(), int32(1))
}
