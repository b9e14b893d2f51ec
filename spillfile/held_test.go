//go:build go1.25

package spillfile

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile/vfs/vfstest"
)

// What a View keeps of dropped segments counts from when the first of them was dropped until it is
// released.
func TestHeldBytesHaveAnAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := mustOpen(t, Options{Dir: "/spill", FS: vfstest.NewDisk(), DatabaseID: testID})
		segmentsOf(t, l, 4)
		old := l.Acquire()
		require.Zero(t, l.State().HeldBytes)
		time.Sleep(time.Hour)
		require.NoError(t, l.MarkReplayed(6))
		first := l.State().HeldBytes
		require.Positive(t, first)
		begin := time.Now()
		time.Sleep(time.Minute)
		require.NoError(t, l.MarkReplayed(12))
		st := l.State()
		require.Greater(t, st.HeldBytes, first)
		require.Equal(t, st.DiskBytes, st.HeldBytes, "there is nothing else")
		require.Equal(t, begin, st.HeldSince)
		old.Release()
		synctest.Wait()
		st = l.State()
		require.Zero(t, st.HeldBytes)
		require.True(t, st.HeldSince.IsZero())
		require.Zero(t, st.DiskBytes)
		require.NoError(t, l.Close())
	})
}
