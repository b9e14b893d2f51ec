package badgerspill

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/spillfile/vfs/vfstest"
	"github.com/badgerspill/badgerspill/wbm"
)

// TestManyDatabases: a hundred databases in one process, all of them spilling, on one budget. What
// the layer takes for each beside plain Badger is bounded: descriptors by SpillOpenFiles,
// goroutines and files by what docs/tuning.md says, memory by the budget.
func TestManyDatabases(t *testing.T) {
	const n, keys, segmentSize = 100, 12, minSegmentSize
	small := func(dir string) badger.Options {
		o := badger.DefaultOptions(dir).WithLogger(nil).WithNumCompactors(2).WithBlockCacheSize(1 << 20).WithMetricsEnabled(false)
		o.NumMemtables, o.MemTableSize, o.ValueThreshold, o.ValueLogFileSize = 1, 1<<20, 64<<10, 1<<20
		return o
	}
	budget, err := wbm.New(wbm.Options{Limit: 256 << 20})
	require.NoError(t, err)
	counted := vfstest.NewDescriptors(spillfile.OS)
	root := t.TempDir()
	value := incompressible(2000, 1)
	var all []*DB
	defer func() {
		for _, db := range all {
			_ = db.Close()
		}
	}()
	for i := range n {
		opt := OptionsFrom(small(filepath.Join(root, fmt.Sprint(i))))
		opt.seams.fs, opt.WriteBufferManager, opt.SpillPolicy = counted, budget, Always
		opt.Tuning.SegmentSize, opt.Tuning.SpillOpenFiles, opt.Tuning.QuietRate = segmentSize, spillfile.MinOpenFiles, 1
		db, err := Open(opt)
		require.NoError(t, err)
		all = append(all, db)
	}
	for k := range keys {
		for _, db := range all {
			require.NoError(t, put(db, fmt.Sprint("k", k), value))
		}
	}
	goroutines := layerGoroutines()
	files, segments := 0, 0
	for _, db := range all {
		entries, err := os.ReadDir(db.opt.SpillDir)
		require.NoError(t, err)
		files += len(entries)
		segments += db.SpillStats().Segments
		require.Positive(t, db.SpillStats().SpillPending)
	}
	most := counted.Peak()
	t.Logf("for each database: %d descriptors, %.2f goroutines, %.1f files for %.1f segments; budget %d of %d KiB",
		most/n, float64(goroutines)/n, float64(files)/n, float64(segments)/n, budget.Usage()>>10, budget.Limit()>>10)
	require.LessOrEqual(t, most, n*spillfile.MinOpenFiles)
	require.LessOrEqual(t, goroutines, 5*n)
	require.GreaterOrEqual(t, goroutines, 3*n, "they are not counted")
	require.LessOrEqual(t, files, 2*segments+5*n, "two a segment, and five")
	require.LessOrEqual(t, budget.Usage(), budget.Limit())
	for i, db := range all {
		require.Equal(t, value, get(t, db, fmt.Sprint("k", i%keys)))
		require.NoError(t, db.Close())
	}
	require.Zero(t, budget.Usage())
	require.Zero(t, counted.Open())
}

// layerGoroutines returns how many goroutines there are that code of this module has started, those
// of Badger and of the test's runner not counted.
func layerGoroutines() int {
	buf := make([]byte, 64<<20)
	stacks := string(buf[:runtime.Stack(buf, true)])
	return strings.Count(stacks, "\ncreated by github.com/badgerspill/badgerspill/")
}
