package badgerspill

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// Managed, timestamps in any order, everything to the spill: the next Open took what it held for
// the work of plain Badger (ErrForeignWrites) and refused, for good.
func TestManagedAlwaysTakesTimestampsInAnyOrder(t *testing.T) {
	putAt := func(t *testing.T, db *DB, key, value string, ts uint64) {
		txn := db.NewTransactionAt(ts, true)
		defer txn.Discard()
		require.NoError(t, txn.Set([]byte(key), []byte(value)))
		require.NoError(t, txn.CommitAt(ts, nil))
	}
	for _, killed := range []bool{false, true} {
		t.Run(fmt.Sprintf("killed %v", killed), func(t *testing.T) {
			bounded(t)
			opt := testOptions(t.TempDir())
			opt.SpillPolicy, opt.KeepSpillOnClose = Always, true
			db, err := OpenManaged(opt)
			require.NoError(t, err)
			defer db.Close()
			putAt(t, db, "a", "1", 100)
			require.NoError(t, db.Drain(t.Context()))
			putAt(t, db, "b", "2", 50)
			if killed {
				opt = withDir(opt, crash(t, opt.Dir))
			} else {
				require.NoError(t, db.Close())
			}
			again, err := OpenManaged(opt)
			require.NoError(t, err)
			defer again.Close()
			txn := again.NewTransactionAt(math.MaxUint64, false)
			defer txn.Discard()
			for k, want := range map[string]string{"a": "1", "b": "2"} {
				got, err := read(txn, k)
				require.NoError(t, err)
				require.Equal(t, want, got)
			}
		})
	}
}
