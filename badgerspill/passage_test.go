package badgerspill

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/replay"
	"github.com/badgerspill/badgerspill/spillfile"
)

// spillMany leaves a spill of n entries of 1 KiB, in many segments, in dir.
func spillMany(t *testing.T, dir string, n int, changes ...func(*Options)) {
	t.Helper()
	f := openAt(t, dir, append([]func(*Options){func(opt *Options) {
		opt.SpillPolicy, opt.KeepSpillOnClose, opt.Tuning.SegmentSize = Always, true, 1<<20
	}}, changes...)...)
	random := rand.NewChaCha8([32]byte{3})
	value := make([]byte, 1<<10)
	for i := range n {
		_, _ = random.Read(value)
		f.put(fmt.Sprintf("key%06d", i*7919%n), string(value))
	}
	require.NoError(t, f.Close())
}

// given counts the bytes of values that Badger is given, and interrupts when it has got so many.
type given struct {
	bytes       atomic.Int64
	interruptAt atomic.Int64
	interrupt   chan struct{}
	hold        chan struct{} // no more is given until it is closed; nil: goes on
}

func (g *given) on(f *fixture) {
	f.stub.set(func() {
		f.stub.mu.onLoad = func(_ int, entries []spillfile.Entry) error {
			for i := range entries {
				g.bytes.Add(int64(len(entries[i].Value)))
			}
			return nil
		}
		f.stub.mu.afterLoad = func(int) {
			if at := g.interruptAt.Load(); at > 0 && g.bytes.Load() >= at {
				g.interruptAt.Store(0)
				close(g.interrupt)
				if g.hold != nil {
					<-g.hold
				}
			}
		}
	})
}

// until starts a drain and waits until n more bytes were given, or the drain is over; the drain
// goes on.
func (g *given) until(t *testing.T, f *fixture, n int64) (drained <-chan error) {
	t.Helper()
	g.interrupt = make(chan struct{})
	g.interruptAt.Store(g.bytes.Load() + n)
	g.on(f)
	done := async(func() error { return f.Drain(f.ctx) })
	limit := time.NewTimer(waitLimit)
	defer limit.Stop()
	select {
	case <-g.interrupt:
	case err := <-done:
		require.NoError(t, err)
	case <-limit.C:
		require.FailNow(t, "neither interrupted nor drained")
	}
	return done
}

const passageEntries = 40_000

// TestInterruptedChunk: each Close in the middle of a chunk makes one batch be given twice at most,
// and all of it arrives.
func TestInterruptedChunk(t *testing.T) {
	bounded(t)
	dir := t.TempDir()
	spillMany(t, dir, passageEntries)
	keep := func(opt *Options) { opt.KeepSpillOnClose = true }
	random := rand.New(rand.NewPCG(1, 2))
	var g given
	const interruptions = 8
	for range interruptions {
		f := openAt(t, dir, keep)
		require.Equal(t, Spilling, f.routerState())
		g.until(t, f, 1<<20+random.Int64N(3<<20))
		require.NoError(t, f.Close())
	}
	f := openAt(t, dir)
	g.on(f)
	f.drained()
	f.direct()
	require.LessOrEqual(t, g.bytes.Load(), int64(passageEntries<<10+interruptions*2*replay.DefaultBatchBytes))
	for i := range passageEntries {
		require.Len(t, f.inBadger(fmt.Sprintf("key%06d", i)), 1<<10)
	}
	f.put("key000000", "newer")
	require.NoError(t, f.Close())
	g2 := openAt(t, dir)
	require.Equal(t, "newer", g2.get("key000000"))
}

// TestKilledInAChunk: what a kill makes be given twice is what lay in memtables, although nothing
// was synced for it.
func TestKilledInAChunk(t *testing.T) {
	bounded(t)
	dir := t.TempDir()
	memtables := func(opt *Options) {
		opt.MemTableSize, opt.ValueThreshold, opt.MemoryLimit = 4<<20, 512<<10, 1<<30
		// nothing moves while the directory is copied
		opt.NumCompactors, opt.NumLevelZeroTablesStall = 0, 100
	}
	spillMany(t, dir, passageEntries, memtables)
	var g given
	f := openAt(t, dir, memtables)
	g.hold = make(chan struct{})
	g.until(t, f, 30<<20)
	eventually(t, "what is sealed is flushed", func() bool { return !f.memtables.Flushing() })
	killed := crash(t, dir)
	before := g.bytes.Load()
	close(g.hold)
	require.NoError(t, f.Close())

	h := openAt(t, killed, memtables)
	g.bytes.Store(0)
	g.on(h)
	h.drained()
	h.direct()
	again := before + g.bytes.Load() - passageEntries<<10
	t.Logf("%d of %d bytes given again", again, before)
	require.Less(t, again, int64(7*4<<20), "the memtables that are not flushed, of which there are six at most")
	for i := range passageEntries {
		require.Len(t, h.inBadger(fmt.Sprintf("key%06d", i)), 1<<10)
	}
}

// TestPlaceAfterADrop: what was dropped does not come back by a place, and nothing is left out by
// one.
func TestPlaceAfterADrop(t *testing.T) {
	bounded(t)
	dir := t.TempDir()
	spillMany(t, dir, 4000)
	var g given
	f := openAt(t, dir, withLogger(&logLines{})) // which hears of progress
	g.until(t, f, 1<<20)
	require.NoError(t, f.DropAll())
	for i := range 4000 {
		f.put(fmt.Sprintf("key%06d", i), "new")
	}
	require.NoError(t, f.Close())
	h := openAt(t, dir)
	for i := range 4000 {
		require.Equal(t, "new", h.get(fmt.Sprintf("key%06d", i)))
	}
}

// openMidway opens a database whose replay was interrupted in the middle of a chunk, and closed.
func openMidway(t *testing.T) (*fixture, *given) {
	t.Helper()
	bounded(t)
	dir := t.TempDir()
	spillMany(t, dir, 8000)
	keep := func(opt *Options) { opt.KeepSpillOnClose = true }
	g := new(given)
	f := openAt(t, dir, keep)
	g.until(t, f, 2<<20)
	require.NoError(t, f.Close())
	return openAt(t, dir, keep), g
}

// TestNoPlaceOfWhatBadgerLost: when Badger may have lost what it was given nothing says that it has
// it.
func TestNoPlaceOfWhatBadgerLost(t *testing.T) {
	f, g := openMidway(t)
	_, ok := f.log.Place()
	require.True(t, ok)
	g.until(t, f, 2<<20)
	f.badgerFailed(errTest)
	_, ok = f.log.Place()
	require.False(t, ok, "it was noted before the loss was noticed, and goes")
	require.ErrorIs(t, f.Health(), ErrBadgerFailed)
	_ = f.Close()
	f = openAt(t, f.opt.Dir)
	_, ok = f.log.Place()
	require.False(t, ok)
	var again given
	again.on(f)
	f.drained()
	require.EqualValues(t, 8000<<10, again.bytes.Load(), "all of it is given again")
}
