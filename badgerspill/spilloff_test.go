package badgerspill

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/internal/marker"
	"github.com/badgerspill/badgerspill/spillfile/vfs/vfstest"
)

// failRemoves lets removes of a file fail.
func failRemoves(name string) func(op, path string) error {
	return func(op, path string) error {
		if op == "remove" && filepath.Base(path) == name {
			return errTest
		}
		return nil
	}
}

// TestNeverLeavesNoInterlockWithoutASpill: an interlock whose spill is gone would be an error of
// every later Open. While it cannot be removed, or is kept for an unfinished drop, the spill stays.
func TestNeverLeavesNoInterlockWithoutASpill(t *testing.T) {
	t.Run("a drop is unfinished at Close", func(t *testing.T) {
		f := open(t)
		f.spillOne("a", "v")
		require.NoError(t, f.SetSpillPolicy(Never))
		eventually(t, "the hand-over", func() bool { return f.routerState() == Direct })
		f.hooks.set(failRemoves(marker.DropName))
		require.ErrorIs(t, f.DropPrefix([]byte("a")), errDropStays)
		require.NoError(t, f.Close())
		f.hooks.clear()
		g := openAt(t, f.opt.Dir, noSpill)
		require.Equal(t, absent, g.get("a"))
		g.put("a", "later")
		require.NoError(t, g.Close())
		noneLeft(t, f.opt.Dir)
	})
	t.Run("it cannot be removed at Close", func(t *testing.T) {
		f := open(t)
		f.spillOne("a", "v")
		f.hooks.set(failRemoves(marker.InterlockName))
		require.NoError(t, f.SetSpillPolicy(Never))
		eventually(t, "the hand-over", func() bool { return f.routerState() == Direct })
		require.ErrorIs(t, f.Close(), errTest)
		f.hooks.clear()
		g := openAt(t, f.opt.Dir)
		require.Equal(t, "v", g.get("a"))
	})
	t.Run("it cannot be removed at Open, with a spill that is replayed", func(t *testing.T) {
		f := open(t)
		require.NoError(t, f.Close())
		dir := f.opt.Dir
		text := filepath.Join(dir, "spill") + "\n"
		require.NoError(t, os.WriteFile(filepath.Join(dir, marker.InterlockName), []byte(text), 0o600))
		_, err := tryOpen(t, dir, noSpill, func(opt *Options) {
			hooks := &hookFS{vfstest.Faults{FS: opt.fs()}}
			hooks.set(failRemoves(marker.InterlockName))
			opt.seams.fs = hooks
		})
		require.ErrorIs(t, err, errTest)
		openAt(t, dir, noSpill)
		noneLeft(t, dir)
	})
}

// TestNoTurnOnceThereIsNoSpill: the turn for the rate was decided on, and is on disk, when the
// spill is turned off.
func TestNoTurnOnceThereIsNoSpill(t *testing.T) {
	f := open(t, spillRate(40))
	release := f.holdPrepare()
	require.NoError(t, f.SetSpillPolicy(Never))
	release()
	eventually(t, "the end of the turn", func() bool { return !f.turning.Load() })
	require.Zero(t, f.pipe.Counters.SpillStarts[CauseRate].Load())
	f.put("k", "v")
	require.Equal(t, Direct, f.routerState())
	require.Equal(t, "v", f.inBadger("k"))
}
