package badgerspill

import (
	"math"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/spillfile/vfs/vfstest"
)

// The spill cannot be read among the versions of a key. What Badger has of that key is older, and
// no answer.
func TestIteratorEndsWhereTheSpillCannotBeRead(t *testing.T) {
	for name, seek := range map[string]func(it *Iterator){
		"rewind": func(it *Iterator) { it.Rewind() },
		"seek":   func(it *Iterator) { it.Seek([]byte("k")) },
	} {
		t.Run(name, func(t *testing.T) {
			f := open(t)
			disk := vfstest.NewFaults(f.hooks.FS, nil)
			f.hooks.FS = disk
			f.put("k", "old")
			free := f.occupy(f.share(0.91))
			f.put("k", "new")
			txn := f.NewTransaction(false)
			defer txn.Discard()
			for range 500 { // which txn does not see, and which fill a leaf of the index
				f.put("k", "newer")
			}
			free()
			require.NoError(t, f.log.Seal())
			require.NoError(t, f.log.Sync())
			f.log.NewMerge(spillfile.Position{}, math.MaxInt64).Close() // writes the index

			it := txn.NewIterator(DefaultIteratorOptions)
			var reads atomic.Int64
			disk.Set(func(op, _ string) error { // the second read fails, and all that follow
				if op == "read" && reads.Add(1) > 1 {
					return errTest
				}
				return nil
			})
			defer disk.Set(nil)
			seek(it)
			valid := it.Valid()
			it.Close()
			require.Greater(t, reads.Load(), int64(1), "nothing failed")
			require.False(t, valid, "an old version")
			require.ErrorIs(t, txn.failed(), errTest)
		})
	}
}
