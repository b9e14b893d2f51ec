package badgerspill

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/internal/marker"
	"github.com/badgerspill/badgerspill/spillfile"
)

// failLoads lets Badger take half of each load and fail it with err. It returns the end of that.
func (f *fixture) failLoads(err error) (end func()) {
	f.stub.set(func() {
		f.stub.mu.onLoad = func(_ int, entries []spillfile.Entry) error {
			return errors.Join(f.stub.engine.Load(entries[:len(entries)/2]), err)
		}
	})
	return func() { f.stub.set(func() { f.stub.mu.onLoad = nil }) }
}

// Badger's disk is full for as long as somebody looks. Commits go on, all is readable, it is told,
// and neither Drain nor Close waits for ever; the spill stays for the next Open, and goes when
// there is room.
func TestBadgersDiskFullWhileReplayRuns(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"in key order":        sorted,
		"in order of the log": func(opt *Options) { opt.Tuning.SegmentSize = 16 << 20 },
	} {
		t.Run(name, func(t *testing.T) {
			f := open(t, change)
			f.failLoads(syscall.ENOSPC)
			want := f.spillMany(60, 40, 300)
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			require.ErrorIs(t, f.Drain(ctx), context.DeadlineExceeded)
			cancel()
			failed := receive(t, "the error's event", f.events.failed)
			require.Equal(t, "replay the spill", failed.Op)
			require.ErrorIs(t, failed.Err, syscall.ENOSPC)
			require.ErrorIs(t, f.SpillStats().ReplayError, syscall.ENOSPC)
			require.Positive(t, f.SpillStats().ReplayErrors)
			f.put("meanwhile", "1")
			want["meanwhile"] = "1"
			f.requireAll(want)
			g := openAt(t, crash(t, f.opt.Dir), change)
			g.requireAll(want)
			g.drained()
			g.requireAll(want)

			err := f.Close()
			require.ErrorIs(t, err, syscall.ENOSPC)
			require.ErrorContains(t, err, "stays for the next Open")
			f = openAt(t, f.opt.Dir, change)
			f.requireAll(want)
			room := f.failLoads(syscall.ENOSPC)
			ctx, cancel = context.WithCancel(t.Context())
			defer cancel()
			done := async(func() error { return f.Drain(ctx) })
			require.ErrorIs(t, receive(t, "the error's event", f.events.failed).Err, syscall.ENOSPC)
			room()
			require.NoError(t, receive(t, "end of Drain", done))
			f.direct()
			f.requireAll(want)
			require.NoError(t, f.Close())
			require.NoError(t, plainCheck(f.opt, want))
		})
	}
}

// Badger refuses writes, as it does while something is dropped behind the layer's back. A direct
// commit fails and is not there, one that can go to the spill is acknowledged, and replay waits
// until Badger takes writes again.
func TestBadgerBlocksWrites(t *testing.T) {
	f := open(t, sorted)
	f.put("before", "1")
	block := func() (end func()) {
		sw := f.inner.NewStreamWriter()
		// It blocks writes, and then finds a memtable that is not empty.
		require.ErrorContains(t, sw.PrepareIncremental(), "MemTable has data")
		return sw.Cancel
	}
	end := block()
	require.ErrorIs(t, put(f.DB, "direct", "1"), ErrBlockedWrites)
	require.Equal(t, absent, f.get("direct"))
	want := f.spillMany(60, 40, 300)
	want["before"], want["direct"] = "1", absent
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, f.Drain(ctx), context.DeadlineExceeded)
	require.ErrorIs(t, receive(t, "the error's event", f.events.failed).Err, badger.ErrBlockedWrites)
	f.requireAll(want)
	end()
	f.drained()
	f.direct()
	f.requireAll(want)
	for k, v := range want {
		require.Equal(t, v, f.inBadger(k))
	}
	// Refused while in flight, and hedged.
	f.stub.hold()
	hedged := f.putAsync("hedged", "1")
	eventually(t, "a commit in flight", func() bool { return f.stub.waiting() == 1 })
	free := f.occupy(f.share(0.95))
	f.put("behind", "1")
	free()
	require.NoError(t, receive(t, "the hedged commit", hedged))
	end = block()
	f.stub.release()
	require.Equal(t, "1", f.get("hedged"))
	end()
	f.drained()
	f.direct()
	require.Equal(t, "1", f.inBadger("hedged"))
	require.Equal(t, "1", f.inBadger("behind"))
}

// As long as Badger cannot sync, no file of the spill goes, whoever asks: a power cut, which takes
// from Badger all that it has not synced, would lose it.
func TestNothingIsDroppedBeforeBadgerHasSynced(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"in key order":        sorted,
		"in order of the log": func(opt *Options) { opt.Tuning.SegmentSize = 16 << 20 },
	} {
		t.Run(name, func(t *testing.T) {
			f := open(t, change)
			f.put("before", "1")
			require.NoError(t, f.Sync())
			before := crash(t, f.opt.Dir) // what Badger has synced
			f.stub.set(func() { f.stub.mu.onSync = func() error { return syscall.EIO } })
			want := f.spillMany(60, 40, 300)
			want["before"] = "1"
			files := segments(t, f.opt.Dir)
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			require.ErrorIs(t, f.Drain(ctx), context.DeadlineExceeded)
			require.ErrorIs(t, receive(t, "the error's event", f.events.failed).Err, syscall.EIO)
			require.ErrorIs(t, f.Sync(), syscall.EIO)
			require.ErrorIs(t, f.DropPrefix([]byte("key/")), syscall.EIO)
			require.Equal(t, Spilling, f.routerState())
			require.Subset(t, segments(t, f.opt.Dir), files)
			require.Equal(t, want["key/0001"], f.inBadger("key/0001"), "Badger has it, but who knows for how long")
			f.put("after", "1") // a drop that failed before it began blocks nothing
			want["after"] = "1"
			f.requireAll(want)

			// The power cut: Badger as it was, the spill as it is.
			cut := crash(t, f.opt.Dir)
			require.NoError(t, os.RemoveAll(filepath.Join(before, "spill")))
			for _, name := range []string{"spill", marker.InterlockName, marker.IdentityName} {
				require.NoError(t, os.Rename(filepath.Join(cut, name), filepath.Join(before, name)))
			}
			g := openAt(t, before, change)
			require.Equal(t, absent, g.inBadger("key/0001"))
			g.requireAll(want)
			g.drained()
			g.requireAll(want)

			f.stub.set(func() { f.stub.mu.onSync = nil })
			f.drained()
			f.direct()
			f.requireAll(want)
		})
	}
}

// Badger cannot flush the memtable of an idle database that holds the budget. It is told each time;
// a writer who waits for the memory gives up in time, and gets it once the flush succeeds.
func TestFlushOfAnIdleMemtableFails(t *testing.T) {
	m, on := shared(t, 8<<20)
	idle := open(t, small, noSpill, on, func(opt *Options) { opt.MemTableSize = 4 << 20 })
	busy := openAt(t, t.TempDir(), small, noSpill, on, func(opt *Options) { opt.BlockTimeout = 300 * time.Millisecond })
	fillMemtable(t, idle.DB, "a")
	idle.stub.set(func() { idle.stub.mu.onSeal = func() error { return syscall.ENOSPC } })
	require.NoError(t, m.SetLimit(idle.account.Usage()+4096))
	write := func(i int) error {
		return busy.Update(func(txn *Txn) error { return some(txn, fmt.Sprint(i), 8<<10) })
	}
	require.ErrorIs(t, receive(t, "the writer of the other database", async(func() error {
		for i := range 8 {
			if err := write(i); err != nil {
				return err
			}
		}
		return nil
	})), ErrWriteBlocked)
	failed := receive(t, "the error's event", idle.events.failed)
	require.ErrorIs(t, failed.Err, syscall.ENOSPC)
	require.Contains(t, failed.Op, "memtable")
	require.Zero(t, busy.parked())
	idle.stub.set(func() { idle.stub.mu.onSeal = nil })
	eventually(t, "a commit of the other database", func() bool { return write(100) == nil })
	require.NotEmpty(t, idle.inner.Tables())
	require.Zero(t, m.Leaks())
}
