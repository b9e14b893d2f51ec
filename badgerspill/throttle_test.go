package badgerspill

import (
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// crowded is a spill of 1 MiB with room for 80 to 100 KiB, too little memory to replay it, and
// commits that wait for their turn. 20 KiB pass in half a second, and the first waits for a debt
// besides.
func crowded(t *testing.T) (f *fixture, slowed []<-chan error, free func()) {
	f = open(t, func(opt *Options) { opt.SpillCapacity = 1 << 20 })
	free = f.occupy(f.share(0.95))
	f.put("a", incompressible(400<<10, 1))
	f.put("b", incompressible(400<<10, 2))
	require.Zero(t, f.SpillStats().CommitsSlowed, "the mark was not passed before")
	f.put("c", incompressible(120<<10, 3)) // no debt before this
	require.Zero(t, f.SpillStats().CommitsSlowed)
	for i := range 30 {
		slowed = append(slowed, f.putAsync(key(i), incompressible(20<<10, i)))
	}
	eventually(t, "commits are slowed", func() bool { return f.spill.Stats().CommitsSlowed == 30 })
	return f, slowed, free
}

func TestCommitsAreSlowedBeforeTheSpillIsFull(t *testing.T) {
	f, slowed, free := crowded(t)
	require.Zero(t, f.spill.Stats().Parked)
	require.False(t, f.feed.Pending().Full, "slowed commits do not make replay ignore the soft limit")
	require.Zero(t, f.stub.loads())

	// All would take 15 s, and the last of them would find the spill full. Room lets them go.
	free()
	f.drained()
	for i, done := range slowed {
		require.NoError(t, receive(t, "a slowed commit", done))
		require.Equal(t, incompressible(20<<10, i), f.get(key(i)))
	}
	st := f.SpillStats()
	require.EqualValues(t, 30, st.CommitsSlowed)
	require.Positive(t, st.SlowedTime)
	require.Zero(t, st.CommitsBlocked)
	require.Zero(t, st.BlockedTime)
	require.Zero(t, f.manager.Leaks())
}

func TestCloseEndsSlowedCommits(t *testing.T) {
	f, slowed, _ := crowded(t)
	require.NoError(t, receive(t, "Close", async(f.Close)))
	refused := 0
	for _, done := range slowed {
		if err := receive(t, "a slowed commit", done); err != nil {
			require.ErrorIs(t, err, ErrBlockedWrites)
			refused++
		}
	}
	require.GreaterOrEqual(t, refused, 20)
}

// Near the wall commits are slowed so much that nobody parks for a long time. Replay uses the
// memory above the soft limit before that.
func TestReplayUsesMemoryBeforeTheSpillIsFull(t *testing.T) {
	f := open(t, func(opt *Options) { opt.SpillCapacity, opt.Tuning.ReplayHighWater = 1<<20, 1 })
	f.occupy(f.share(0.95))
	for i := 0; !f.feed.Pending().Full; i++ {
		require.Less(t, i, 200)
		require.Zero(t, f.stub.loads())
		f.put(key(i), incompressible(8<<10, i))
	}
	require.Zero(t, f.spill.Stats().WritersBlocked)
	i := 0
	eventually(t, "replay above the soft limit", func() bool {
		if !f.feed.Pending().Full { // what was reserved and not used has made the difference
			f.put(key(i), incompressible(8<<10, i))
			i++
		}
		return f.stub.loads() > 0
	})
	require.Zero(t, f.spill.Stats().WritersBlocked)
}

// TestSmallSpillFreesRoomInPieces: a spill that gives its room back only when all of it is replayed
// makes those who are slowed wait for that.
func TestSmallSpillFreesRoomInPieces(t *testing.T) {
	f := open(t, func(opt *Options) { opt.SpillCapacity, opt.Tuning.ReplayHighWater = 32<<20, 0.1 })
	free := f.occupy(f.share(0.95))
	for i := range 64 {
		f.put(key(i), incompressible(128<<10, i))
	}
	paths := segments(t, f.opt.Dir)
	require.Greater(t, len(paths), 4)
	for _, path := range paths {
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.LessOrEqual(t, info.Size(), int64(2<<20))
	}
	full := f.spill.Usage()
	held := make(chan struct{})
	release := sync.OnceFunc(func() { close(held) })
	t.Cleanup(release)
	f.stub.set(func() {
		f.stub.mu.onLoad = func(n int, _ []entry) error {
			// 1 MiB each, a piece is up to 2 MiB; a checkpoint comes after 2 MiB or more
			if n == 5 {
				<-held
			}
			return nil
		}
	})
	free()
	drained := async(func() error { return f.Drain(f.ctx) })
	eventually(t, "the fifth load", func() bool { return f.stub.loads() == 5 })
	eventually(t, "room for a segment", func() bool { return f.spill.Usage() <= full-1<<20 })
	require.GreaterOrEqual(t, f.spill.Usage(), full-5<<20)
	release()
	require.NoError(t, receive(t, "end of Drain", drained))
}

func TestSpillPiece(t *testing.T) {
	for _, row := range []struct{ capacity, piece int64 }{
		{0, 1 << 30}, {1, 4 << 10}, {64 << 10, 4 << 10}, {127 << 10, 4 << 10}, {128 << 10, 8 << 10},
		{512 << 20, 32 << 20}, {1<<30 + 1, 64 << 20}, {DefaultSpillCapacity, 512 << 20},
	} {
		require.Equal(t, row.piece, spillPiece(row.capacity), "capacity %d", row.capacity)
	}
}
