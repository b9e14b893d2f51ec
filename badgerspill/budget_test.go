package badgerspill

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/integration_test/kit"
	"github.com/badgerspill/badgerspill/wbm"
)

// Many databases share a budget, and each holds less than was worth a seal: nothing was ever freed,
// and all writers hung.
func TestManySmallHoldersOfOneBudget(t *testing.T) {
	bounded(t)
	m, err := wbm.New(wbm.Options{Limit: 512 << 10})
	require.NoError(t, err)
	dbs := make([]*DB, 20)
	defer func() {
		var wg kit.WaitGroup
		for _, db := range dbs {
			if db != nil {
				wg.Go(func() { _ = db.Close() })
			}
		}
		wg.Wait()
	}()
	for i := range dbs {
		opt := testOptions(t.TempDir())
		small(&opt)
		noSpill(&opt)
		opt.NumCompactors, opt.ValueLogFileSize, opt.BlockCacheSize = 0, 1<<20, 1<<20
		opt.WriteBufferManager = m
		dbs[i], err = Open(opt)
		require.NoError(t, err)
	}
	value := incompressible(1000, 1)
	var written int64
	for round := 0; written < 2*m.Limit(); round++ {
		for i, db := range dbs {
			what := fmt.Sprintf("commit to database %d in round %d: %d of %d bytes used", i, round, m.Usage(), m.Limit())
			require.NoError(t, receive(t, what, async(func() error { return put(db, key(round), value) })))
			written += int64(len(value))
		}
	}
}

// fillIndex spills commits of long keys until the index takes so many bytes.
func fillIndex(t *testing.T, f *fixture, bytes int64) {
	t.Helper()
	f.spillOne("first", "x")
	for i := 0; f.account.UsageByKind(wbm.SpillIndex) < bytes; i++ {
		wb := f.NewWriteBatch()
		for j := range 200 {
			require.NoError(t, wb.Set(fmt.Appendf(nil, "%0500d/%d", i, j), []byte("v")))
		}
		require.NoError(t, wb.Flush())
	}
}

// The index of the spill alone was above the soft limit, at which replay pauses. Only replay frees
// it: nothing did, however quiet it was.
func TestReplayWithAnIndexAboveTheSoftLimit(t *testing.T) {
	f := open(t, small, eager, func(o *Options) { o.Tuning.SoftLimitRatio, o.NumMemtables = 0.3, 4 })
	f.stub.set(func() { f.stub.mu.onLoad = func(int, []entry) error { return errTest } })
	f.hooks.set(func(op, path string) error { // its files cannot be written
		if op == "write" && strings.HasSuffix(path, ".idx.tmp") {
			return errTest
		}
		return nil
	})
	fillIndex(t, f, f.manager.SoftLimit()+1000)
	f.stub.set(func() { f.stub.mu.onLoad = nil })
	f.wakeReplay()
	eventually(t, "the spill is replayed", f.log.Empty)
}

// Opened again with a budget that is smaller than the index of what it finds, the database neither
// replayed nor took commits.
func TestReopenWithABudgetBelowTheIndex(t *testing.T) {
	f := open(t, func(o *Options) { o.ValueThreshold, o.KeepSpillOnClose = 1<<10, true })
	fillIndex(t, f, 5<<19)
	require.NoError(t, f.Close())
	g := openAt(t, f.opt.Dir, small, eager)
	require.Greater(t, int64(5<<19), g.manager.Limit())
	t.Cleanup(func() { g.DB.opt.KeepSpillOnClose = true }) // a failure must not hang here
	g.drained()
	require.NoError(t, receive(t, "a commit", g.putAsync("new", "v")))
	require.Equal(t, "v", g.get("new"))
}
