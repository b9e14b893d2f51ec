package spillfile

import (
	"errors"
	"os"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// A power cut took the end of a segment that was not synced, and left the next one. Open drops both.
func TestWalkOfWhatOpenDropsBehindATornSegment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemFS()
		m.setFault(func(op, name string, _ int) error {
			if op == "sync" && name == segmentName(1) {
				return errors.New("not synced")
			}
			return nil
		})
		o := testOptions("spill")
		o.FS = m
		l := mustOpen(t, o)
		mustPut(t, l, 10, "a", "1")
		mustPut(t, l, 20, "b", "2")
		l.Rotate(0)
		mustPut(t, l, 30, "c", "3")
		synctest.Wait()
		cut := m.killed()
		_ = l.Close()
		src := Source{Dir: "spill", FS: cut}
		_, places, _ := walkAll(t, src)
		require.Len(t, places, 3)
		f, err := cut.OpenFile(places[2].File, os.O_RDWR, 0)
		require.NoError(t, err)
		require.NoError(t, f.Truncate(places[2].End-1))

		got, _, n := walkAll(t, src)
		require.Len(t, got, 2, "what Open drops can still be read")
		require.False(t, n.Damaged())
		require.NoError(t, n.OpenError)
		require.EqualValues(t, 1, n.AfterLoss, "and is known to be dropped")
		require.Positive(t, n.TornBytes)
		o.FS = cut
		l = mustOpen(t, o)
		require.Equal(t, n.Commits-n.AfterLoss, l.State().LiveBatches)
		require.NoError(t, l.Close())
	})
}
