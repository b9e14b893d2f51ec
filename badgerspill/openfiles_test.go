package badgerspill

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/spillfile/vfs/vfstest"
)

// TestBurstWithFewDescriptors: a burst into hundreds of small segments, its reads, a reopening, and
// its replay take no more descriptors than SpillOpenFiles.
func TestBurstWithFewDescriptors(t *testing.T) {
	dir := t.TempDir()
	counted := vfstest.NewDescriptors(spillfile.OS)
	change := func(opt *Options) {
		opt.seams.fs = counted
		opt.SpillPolicy, opt.KeepSpillOnClose = Always, true
		opt.Tuning.SegmentSize, opt.Tuning.SpillOpenFiles, opt.Tuning.ReplayHighWater = minSegmentSize, spillfile.MinOpenFiles, 1
	}
	const keys = 300
	value := func(i int) string { // that does not compress
		b := make([]byte, 3000)
		r := rand.New(rand.NewPCG(uint64(i), 1))
		for j := range b {
			b[j] = byte(r.Uint32())
		}
		return string(b)
	}
	read := func(f *fixture) {
		for i := range keys {
			require.Equal(t, value(i), f.get(fmt.Sprint("k", i)))
		}
	}
	f := openAt(t, dir, change)
	for i := range keys {
		f.put(fmt.Sprint("k", i), value(i))
	}
	require.Greater(t, f.SpillStats().Segments, 10*spillfile.MinOpenFiles)
	read(f)
	require.NoError(t, f.Close())
	f = openAt(t, dir, change)
	read(f)
	f.drained()
	read(f)
	require.NoError(t, f.Close())
	require.LessOrEqual(t, counted.Peak(), spillfile.MinOpenFiles)
	require.Zero(t, counted.Open())
}
