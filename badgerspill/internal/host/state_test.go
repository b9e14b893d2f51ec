package host

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestBadgerIsKnown: a new release of Badger may have named its fields otherwise, and then nothing
// of it is mended.
func TestBadgerIsKnown(t *testing.T) {
	_, db := openEngine(t)
	s := NewState(db)
	require.NotNil(t, s)
	require.EqualValues(t, 1, s.NextTable())
	n, known := s.NextMemtable()
	require.True(t, known)
	require.FileExists(t, MemPath(db.Opts().Dir, n-1))
	s.RaiseTable(5)
	s.RaiseTable(4)
	require.EqualValues(t, 5, s.NextTable())
}

// TestRescue: a panic of a read is to be tried again if Badger had no memtable then and was mended
// since. Any other goes on.
func TestRescue(t *testing.T) {
	_, db := openEngine(t, inMemory)
	s := NewState(db)
	read := func() (panicked any) {
		defer func() { panicked = recover() }()
		txn := db.NewTransactionAt(math.MaxUint64, false)
		defer txn.Discard()
		_, _ = txn.Get([]byte("k"))
		return nil
	}
	require.Nil(t, read())
	s.active.SetZero()
	panicked := read()
	require.NotNil(t, panicked)
	s.Mend()
	require.Nil(t, read())
	s.Rescue(panicked)

	require.PanicsWithValue(t, "another", func() { s.Rescue("another") })
	require.PanicsWithValue(t, "nothing is known", func() { (*State)(nil).Rescue("nothing is known") })
}
