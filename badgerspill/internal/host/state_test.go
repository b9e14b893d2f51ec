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

// TestCollect: a collection that meets the moment without a memtable is an error that matches
// ErrHeld, and keeps no lock. Any other panic goes on.
func TestCollect(t *testing.T) {
	_, db := openEngine(t, inMemory)
	s := NewState(db)
	get := func() {
		txn := db.NewTransactionAt(math.MaxUint64, false)
		defer txn.Discard()
		_, _ = txn.Get([]byte("k"))
	}
	for name, row := range map[string]struct {
		read func()
		mend func() // what who has written does
	}{
		"as it begins":     {func() { db.MaxVersion() }, func() {}}, // it has Badger's lock
		"while it goes on": {get, s.Mend},
	} {
		t.Run(name, func(t *testing.T) {
			s.active.SetZero()
			reading := make(chan struct{})
			mended := make(chan struct{})
			go func() {
				defer close(mended)
				<-reading
				row.mend()
			}()
			err := s.Collect(func() error {
				defer close(reading)
				row.read()
				return nil
			})
			<-mended
			require.ErrorIs(t, err, ErrHeld)
			require.True(t, s.lock.TryLock(), "the lock is kept")
			s.lock.Unlock()
			require.NoError(t, s.Collect(func() error { get(); db.MaxVersion(); return nil }))
		})
	}
	require.ErrorIs(t, s.Collect(func() error { return ErrFailed }), ErrFailed)
	require.PanicsWithValue(t, "another", func() { _ = s.Collect(func() error { panic("another") }) })
}
