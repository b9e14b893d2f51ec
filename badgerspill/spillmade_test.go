package badgerspill

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/internal/pipeline"
)

// TestTurnedOnSpillEndsTheWaitForBadger: a commit that waits because Badger has as many as it takes
// goes to the spill once there is one.
func TestTurnedOnSpillEndsTheWaitForBadger(t *testing.T) {
	for _, row := range []struct {
		name      string
		threshold time.Duration
	}{
		{"stalls are hedged", 5 * time.Millisecond},
		{"stalls are not hedged", -1},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := open(t, noSpill, func(opt *Options) { opt.StallThreshold = row.threshold })
			f.stub.hold()
			defer f.stub.release()
			var sent []<-chan error
			for i := range pipeline.MaxInFlight {
				sent = append(sent, f.putAsync(key(i), "v"))
			}
			eventually(t, "Badger's queue is full", func() bool { return f.stub.waiting() == pipeline.MaxInFlight })
			waits := f.putAsync("waits", "v")
			eventually(t, "it waits for an answer", func() bool {
				return f.pipe.Status().Waiting
			})
			require.NoError(t, f.giveSpill(1<<20))
			require.NoError(t, receive(t, "the commit that waits", waits))
			for _, c := range sent {
				require.NoError(t, receive(t, "a commit in flight", c))
			}
			require.Equal(t, "v", f.get("waits"))
		})
	}
}

// TestSpillIsNotMadeBesideClose: Close waits for a spill that is being made. Else it would be made,
// or given up, when another process has the directory.
func TestSpillIsNotMadeBesideClose(t *testing.T) {
	f := open(t, noSpill)
	begun, openingEnded := make(chan struct{}, 1), make(chan struct{})
	f.hooks.set(func(op, path string) error {
		if op == "syncdir" && path == f.opt.Dir && len(begun) == 0 { // of the identity
			begun <- struct{}{}
			<-openingEnded
		}
		return nil
	})
	set := async(func() error { return f.giveSpill(1 << 20) })
	eventually(t, "the identity is written", func() bool { return len(begun) == 1 })
	closed := async(f.Close)
	never(t, 50*time.Millisecond, "closed beside a spill that is being made", func() bool { return len(closed) > 0 })
	close(openingEnded)
	err := receive(t, "SetSpillPolicy", set)
	require.True(t, err == nil || errors.Is(err, ErrDBClosed), "%v", err)
	require.NoError(t, receive(t, "Close", closed))
	again := openAt(t, f.opt.Dir)
	again.spillOne("k", "v")
	require.Equal(t, "v", again.get("k"))
}

// TestSpillThatWasAlmostMade: the manifest was there when making the spill failed.
func TestSpillThatWasAlmostMade(t *testing.T) {
	f := open(t, noSpill)
	spill := filepath.Join(f.opt.Dir, "spill")
	f.hooks.set(func(op, path string) error {
		if op == "syncdir" && path == spill {
			return errTest
		}
		return nil
	})
	require.ErrorIs(t, f.giveSpill(1<<20), errTest)
	f.hooks.clear()
	require.NoError(t, f.giveSpill(1<<20))
	f.spillOne("k", "v")
	require.Equal(t, "v", openAt(t, crash(t, f.opt.Dir)).get("k"))
}
