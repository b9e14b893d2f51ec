package badgerspill

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestUnsyncedBadgerIsNotTrusted: Badger could not sync the value log for a write, and only says so
// in its log. That commit fails, the next ones go to the spill, and nothing is replayed until the
// database is opened again.
func TestUnsyncedBadgerIsNotTrusted(t *testing.T) {
	synced := func(opt *Options) { opt.SyncWrites = true }
	f := open(t, synced)
	f.put("before", "1")
	require.NoError(t, f.Sync())
	f.unsynced.Line("Error while curlf sync: %v\n", []any{errTest})
	failed := receive(t, "the event", f.events.failed)
	require.ErrorIs(t, failed.Err, ErrBadgerFailed)
	require.ErrorIs(t, failed.Err, errTest)
	require.ErrorContains(t, failed.Err, "may not survive a power cut")
	var health *HealthError
	require.ErrorAs(t, f.Health(), &health)
	require.Equal(t, HealthStopped, health.State)
	require.ErrorIs(t, health, ErrBadgerFailed)

	f.put("after", "1")
	require.Equal(t, Spilling, f.routerState())
	require.Equal(t, "1", f.get("before"))
	require.Equal(t, "1", f.get("after"))
	require.ErrorIs(t, f.Sync(), ErrBadgerFailed)
	require.ErrorIs(t, f.drainNow(t.Context(), nil), ErrBadgerFailed)
	require.ErrorIs(t, f.Close(), ErrBadgerFailed)
	g := openAt(t, f.opt.Dir, synced)
	require.NoError(t, g.Sync())
	require.Equal(t, "1", g.get("after"))
	g.drained()
	g.direct()
	require.Equal(t, "1", g.inBadger("after"))
}

// TestCommitInAnUnsyncedGroup: the line comes while Badger writes the group, and Badger says then
// that all is well. Who committed is told otherwise.
func TestCommitInAnUnsyncedGroup(t *testing.T) {
	f := open(t, noSpill, func(opt *Options) { opt.SyncWrites = true })
	f.stub.hold()
	done := f.putAsync("k", "1")
	eventually(t, "sent", func() bool { return f.stub.waiting() == 1 })
	f.unsynced.Line("Error while curlf sync: %v\n", []any{errTest})
	f.stub.release()
	require.ErrorIs(t, receive(t, "the commit", done), ErrBadgerFailed)
	require.ErrorIs(t, put(f.DB, "k", "2"), ErrBadgerFailed)
}

// TestSyncThatFailsWhileReplayed: the spill keeps what Badger may not have on its disk, although
// the next sync would succeed.
func TestSyncThatFailsWhileReplayed(t *testing.T) {
	f := open(t)
	f.spillOne("k", "1")
	before := f.log.State().LiveBatches
	require.Positive(t, before)
	failed := false
	f.stub.set(func() {
		f.stub.mu.onSync = func() error {
			if failed {
				return nil
			}
			failed = true
			f.unsynced.Note(errTest) // as the engine does
			return errTest
		}
	})
	require.Error(t, f.drainNow(t.Context(), nil))
	require.ErrorIs(t, f.drainNow(t.Context(), nil), ErrBadgerFailed)
	require.Equal(t, before, f.log.State().LiveBatches)
	require.ErrorIs(t, f.Close(), ErrBadgerFailed)
	require.True(t, failed)
	g := openAt(t, f.opt.Dir)
	require.Equal(t, "1", g.get("k"))
	g.drained()
}
