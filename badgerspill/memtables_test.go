package badgerspill

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// fillMemtable writes 1 MiB and a bit in transactions of 64 KiB.
func fillMemtable(t *testing.T, db *DB, prefix string) {
	t.Helper()
	for i := range 18 {
		writeSome(t, db, fmt.Sprintf("%s/%02d", prefix, i), 64<<10)
	}
}

// writeSome writes about so many bytes of budget in one transaction, to keys of its own.
func writeSome(t *testing.T, db *DB, prefix string, bytes int) {
	t.Helper()
	require.NoError(t, db.Update(func(txn *Txn) error { return some(txn, prefix, bytes) }))
}

func some(txn *Txn, prefix string, bytes int) error {
	value := make([]byte, 900)
	for i := range bytes / 1000 {
		if err := txn.Set(fmt.Appendf(nil, "%s/%04d", prefix, i), value); err != nil {
			return err
		}
	}
	return nil
}
