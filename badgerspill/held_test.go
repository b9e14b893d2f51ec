package badgerspill

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestHeldBytes: a transaction that is left open keeps files of the spill that are replayed. The
// statistics name them, and they go when it ends.
func TestHeldBytes(t *testing.T) {
	f := open(t, func(opt *Options) { opt.SpillPolicy = Always })
	for i := range 100 {
		f.put(fmt.Sprint("k", i), incompressible(1000, i))
	}
	forgotten := f.NewTransaction(false)
	defer forgotten.Discard()
	it := forgotten.NewIterator(DefaultIteratorOptions)
	it.Rewind()
	require.True(t, it.Valid())
	require.Zero(t, f.SpillStats().SpillHeld)
	require.Zero(t, f.SpillStats().OldestHolder)
	f.drained()
	st := f.SpillStats()
	require.Greater(t, st.SpillHeld, int64(100_000))
	require.LessOrEqual(t, st.SpillHeld, st.SpillBytes)
	require.Positive(t, st.OldestHolder)
	require.Zero(t, st.SpillPending)
	n := 0
	for ; it.Valid(); it.Next() {
		n++
	}
	require.Equal(t, 100, n)
	it.Close()
	require.Positive(t, f.SpillStats().SpillHeld, "the transaction has it still")
	forgotten.Discard()
	eventually(t, "it is gone", func() bool { return f.SpillStats().SpillHeld == 0 })
	require.Zero(t, f.SpillStats().OldestHolder)
}
