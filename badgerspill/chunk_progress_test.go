package badgerspill

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A chunk comes in key order, so its versions say little about what of it is in an SSTable. A
// memtable of it that an iterator pins must not stop replay for as long as the iterator is open.
func TestChunkGoesOnBesideAPinnedMemtable(t *testing.T) {
	f := open(t, small, func(opt *Options) { opt.Tuning.SegmentSize, opt.SpillPolicy = 256<<10, Always })
	f.put("first", "1")
	defer pin(t, f.DB)()
	f.spillOne("second", "2")
	f.spillMany(6000, 6000, 900)
	f.drained()
}

// A checkpoint comes after so much of the spill, not after so much of what is left of it: room must
// come free also where nearly all is left out.
func TestCheckpointsCountWhatIsLeftOut(t *testing.T) {
	f := open(t, func(opt *Options) { opt.SpillCapacity, opt.Tuning.ReplayHighWater = 1<<20, 0.95 })
	f.spillMany(700, 7, 900)
	require.Greater(t, f.spill.Usage(), int64(600<<10))
	f.drained()
	require.GreaterOrEqual(t, f.SpillStats().EntriesCoalesced, int64(600))
	require.GreaterOrEqual(t, f.replayer.Stats().Checkpoints, int64(3))
}
