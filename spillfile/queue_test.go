package spillfile

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile/vfs/vfstest"
)

// Batches that were enqueued as one, the commits in flight when the log begins, were split where a
// group was full: the first half was acknowledged and the second half failed.
func TestBatchesEnqueuedTogetherFailTogether(t *testing.T) {
	for name, fails := range map[string]bool{"all are written": false, "the write fails": true} {
		t.Run(name, func(t *testing.T) {
			m := vfstest.NewDisk()
			o := faultOptions(m, true, nil)
			outcomes := map[uint64]error{}
			groups := 0
			o.OnCommit = func(batches []*Batch, err error) {
				groups++
				for _, b := range batches {
					outcomes[b.Seq()] = err
				}
			}
			l := mustOpen(t, o)
			var together []*Batch
			r := newRand(t)
			for i := range 5 {
				value := randomValue(r, int(o.SegmentSize))
				together = append(together, newBatch(Entry{Key: []byte{byte('a' + i)}, Value: value}))
			}
			writes := 0
			m.SetFault(func(op, _ string) error {
				if op == "write" {
					writes++
				}
				if writes == 2 && fails { // the header, then the group
					return errInjected
				}
				return nil
			})
			l.EnqueueAll(together, func(i int) uint64 { return uint64(i + 1) }, false)
			err := l.Commit(together[4])
			require.Equal(t, 1, groups)
			require.Len(t, outcomes, 5)
			for seq, outcome := range outcomes {
				require.Equal(t, err, outcome, "sequence %d", seq)
			}
			if fails {
				require.ErrorIs(t, err, errInjected)
				require.Empty(t, dump(t, l))
			} else {
				require.NoError(t, err)
				require.Len(t, dump(t, l), 5)
			}
			m.SetFault(nil)
			require.NoError(t, l.Close())
		})
	}
}

// A segment whose batches are all replayed stayed, and was read, while a commit was in the queue.
// If that commit then went elsewhere the segment hid it.
func TestReplayedSegmentGoesWhileABatchIsQueued(t *testing.T) {
	m := vfstest.NewDisk()
	l := mustOpen(t, faultOptions(m, false, nil))
	mustPut(t, l, 1, "k", "old")
	b := newBatch(Entry{Key: []byte("k"), Value: []byte("new")})
	l.Enqueue(b, 2)
	require.NoError(t, l.MarkReplayed(1))
	require.Zero(t, l.State().LiveSegments)
	_, ok := get(t, l, "k")
	require.False(t, ok)
	require.NoError(t, l.Commit(b))
	v, _ := get(t, l, "k")
	require.Equal(t, "new", v)
	require.NoError(t, l.Close())
	require.Equal(t, map[string]string{"k@2": "new"}, dump(t, mustOpen(t, faultOptions(m.Killed(), false, nil))))
}
