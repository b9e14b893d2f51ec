package badgerspill

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile"
)

// Tables of level 0 that replay in key order makes overlap, all of them: see tie.
func TestReplayedTablesOverlap(t *testing.T) {
	for _, valueSize := range []int{0, 30, 5_000, 200_000} {
		t.Run(fmt.Sprintf("values of %d bytes", valueSize), func(t *testing.T) {
			opt := testOptions(t.TempDir())
			opt.MemTableSize, opt.ValueThreshold = 2<<20, 250<<10
			opt.NumCompactors, opt.NumLevelZeroTables, opt.NumLevelZeroTablesStall, opt.CompactL0OnClose = 0, 1_000, 2_000, false
			db, err := badger.OpenManaged(opt.Options)
			require.NoError(t, err)
			e := &badgerEngine{db: db, opt: &opt}
			value := bytes.Repeat([]byte("v"), valueSize)
			var entries []spillfile.Entry
			n := min(120_000, (12<<20)/(valueSize+100))
			for i := range n {
				entries = append(entries, spillfile.Entry{Key: fmt.Appendf(nil, "key-%08d", i), Value: value, Version: 7})
				if len(entries) == n/7 || i == n-1 {
					require.NoError(t, e.load(entries))
					entries = entries[:0]
				}
			}
			require.NoError(t, db.Close())
			db, err = badger.OpenManaged(opt.Options)
			require.NoError(t, err)
			defer db.Close()
			tables := db.Tables()
			require.Greater(t, len(tables), 2)
			for _, a := range tables {
				require.Zero(t, a.Level)
				for _, b := range tables {
					require.LessOrEqual(t, bytes.Compare(a.Left, b.Right), 0, "%q and %q", a.Left, b.Right)
				}
			}
		})
	}
}
