package badgerspill

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestLostTablesAreNoticed: a compaction of Badger loses tables, here since files with their names
// came between a look and it. From there on nothing is replayed, what the spill has stays there,
// and the database says so.
func TestLostTablesAreNoticed(t *testing.T) {
	skipMended(t)
	f := open(t, small, inTree, compacting, unguarded)
	f.blockTables(8)
	for i := 0; f.guard.Failed() == nil; i++ {
		err := put(f.DB, key(i%500), incompressible(60<<10, i))
		if err != nil {
			require.ErrorIs(t, err, ErrBadgerFailed)
		}
		if i%20 == 0 { // what is in the spill compacts nothing
			_ = f.drainNow(t.Context(), nil)
		}
		require.Less(t, i, 5000)
	}
	failed := receive(t, "the event", f.events.failed)
	require.ErrorIs(t, failed.Err, ErrBadgerFailed)
	require.ErrorContains(t, failed.Err, "levels.go:897")
	f.put("k", "1") // to the spill
	require.Equal(t, Spilling, f.routerState())
	require.Equal(t, "1", f.get("k"))
	require.ErrorIs(t, f.drainNow(t.Context(), nil), ErrBadgerFailed)
	require.ErrorIs(t, f.Flatten(1), ErrBadgerFailed)
	require.ErrorIs(t, f.Close(), ErrBadgerFailed)
	g := openAt(t, f.opt.Dir, small, inTree)
	require.Equal(t, "1", g.get("k"))
	g.drained()
	g.direct()
	require.Equal(t, "1", g.inBadger("k"))
}

// TestSpillKeepsWhatBadgerMayHaveLost: a checkpoint lets go of nothing after tables were lost, nor
// while that cannot be told.
func TestSpillKeepsWhatBadgerMayHaveLost(t *testing.T) {
	f := open(t)
	f.spillOne("k", "1")
	f.badgerFailed(errors.New("lost"))
	before := f.log.State().LiveBatches
	require.ErrorIs(t, feedGuard{f.DB}.Lost(), ErrBadgerFailed)
	require.ErrorIs(t, f.drainNow(t.Context(), nil), ErrBadgerFailed)
	require.Equal(t, before, f.log.State().LiveBatches)
	require.ErrorIs(t, f.Close(), ErrBadgerFailed)
	require.Equal(t, "1", openAt(t, f.opt.Dir).get("k"))
}

// TestNoTablesAreLostInOrdinaryCompactions: no false alarm, and Badger's lines are those that are
// counted.
func TestNoTablesAreLostInOrdinaryCompactions(t *testing.T) {
	f := open(t, small, inTree, compacting, eager)
	for i := range 600 {
		f.put(key(i*7919%300), incompressible(20<<10, i))
		switch i % 200 {
		case 150:
			require.NoError(t, f.Flatten(3))
		case 199:
			require.NoError(t, f.DropPrefix([]byte("key/00")))
		}
	}
	require.NoError(t, f.lost.Check())
	require.NoError(t, f.guard.Failed())
	require.Positive(t, f.lost.Compared())
}
