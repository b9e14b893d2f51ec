package badgerspill

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/internal/marker"
)

func keepSpill(opt *Options) { opt.KeepSpillOnClose = true }

// noneLeft fails unless nothing of a spill is in the database's directory.
func noneLeft(t *testing.T, dir string) {
	t.Helper()
	for _, name := range []string{"spill", marker.IdentityName, marker.InterlockName} {
		_, err := os.Lstat(filepath.Join(dir, name))
		require.ErrorIs(t, err, fs.ErrNotExist, name)
	}
}

// leftSpill returns a directory whose spill holds what is returned, and Badger nothing.
func leftSpill(t *testing.T, killed bool, changes ...func(*Options)) (dir string, want map[string]string) {
	t.Helper()
	f := open(t, append(changes, keepSpill, sorted)...)
	want = f.spillMany(40, 20, 200)
	if killed {
		return crash(t, f.opt.Dir), want
	}
	require.NoError(t, f.Close())
	return f.opt.Dir, want
}

// TestNeverReplaysWhatIsThere: Open with Never has replayed a spill when it returns, and nothing of
// it is left. The spill can be turned on again.
func TestNeverReplaysWhatIsThere(t *testing.T) {
	for _, row := range []struct {
		name   string
		killed bool
		change func(*Options)
	}{
		{"closed", false, func(*Options) {}},
		{"killed", true, func(*Options) {}},
		{"killed, synced, encrypted", true, func(opt *Options) {
			opt.SyncWrites, opt.EncryptionKey, opt.IndexCacheSize = true, make([]byte, 32), 8<<20
		}},
		{"kept at Close", true, keepSpill},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir, want := leftSpill(t, row.killed, row.change)
			f := openAt(t, dir, noSpill, row.change)
			noneLeft(t, dir)
			f.requireAll(want)
			for k, v := range want {
				require.Equal(t, v, f.inBadger(k))
			}
			require.Equal(t, Direct, f.routerState())
			require.Equal(t, Never, f.Opts().SpillPolicy)
			f.put("direct", "v")
			require.NoError(t, f.SetSpillPolicy(Auto))
			f.spillOne("spilled", "v")
			again := openAt(t, crash(t, dir), row.change)
			want["direct"], want["spilled"] = "v", "v"
			again.requireAll(want)
		})
	}
}

// TestNeverManaged: timestamps tell nothing about order there.
func TestNeverManaged(t *testing.T) {
	managed := func(opt *Options) { opt.managed = true }
	f := open(t, managed, keepSpill, func(opt *Options) { opt.SpillPolicy = Always })
	for _, ts := range []uint64{7, 3, 5} {
		txn := f.NewTransactionAt(ts, true)
		require.NoError(t, txn.Set([]byte("k"), fmt.Append(nil, ts)))
		require.NoError(t, txn.CommitAt(ts, nil))
	}
	require.NoError(t, f.Close())
	g := openAt(t, f.opt.Dir, managed, noSpill)
	noneLeft(t, f.opt.Dir)
	for _, ts := range []uint64{3, 5, 7} {
		txn := g.NewTransactionAt(ts, false)
		item, err := txn.Get([]byte("k"))
		require.NoError(t, err)
		require.Equal(t, ts, item.Version())
		txn.Discard()
	}
}

// TestNeverWithAReplayThatFails: Open fails and says why, and the spill stays as it was.
func TestNeverWithAReplayThatFails(t *testing.T) {
	dir, want := leftSpill(t, true)
	opt := testOptions(dir)
	noSpill(&opt)
	opt.seams.engine = func(e engine) engine {
		s := &stubEngine{engine: e}
		s.mu.onLoad = func(int, []entry) error { return errTest }
		return s
	}
	_, err := Open(opt)
	require.ErrorIs(t, err, errTest)
	require.ErrorContains(t, err, "stays")
	require.FileExists(t, filepath.Join(dir, marker.InterlockName))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = OpenContext(ctx, opt)
	require.ErrorIs(t, err, context.Canceled)

	f := openAt(t, dir)
	f.requireAll(want)
	require.EqualValues(t, 41, f.SpillStats().SpillPending, "none is missing")
}

// TestNeverKilled: a process that is killed at any operation while Open with Never replays and
// removes the spill loses nothing, and the next Open, whatever its policy, goes on.
func TestNeverKilled(t *testing.T) {
	dir, want := leftSpill(t, true)
	type copied struct{ step, dir string }
	var mu sync.Mutex
	var copies []copied
	var failure error
	seen := map[string]int{}
	hooks := &hookFS{}
	hooks.set(func(op, path string) error {
		mu.Lock()
		defer mu.Unlock()
		c := copied{op + " " + filepath.Base(path), filepath.Join(t.TempDir(), "copy")}
		kind := op + " " + filepath.Ext(path)
		// of the segments some, of all else every one
		if seen[kind]++; filepath.Ext(path) != "" && seen[kind]%8 != 1 {
			return nil
		}
		failure = errors.Join(failure, copyTree(dir, c.dir))
		copies = append(copies, c)
		return nil
	})
	f := openAt(t, dir, noSpill, func(opt *Options) { hooks.FS = opt.fs(); opt.seams.fs = hooks })
	hooks.clear()
	noneLeft(t, dir)
	require.NoError(t, f.Close())
	require.NoError(t, failure)
	removed := false
	for i, c := range copies {
		removed = removed || c.step == "remove MANIFEST"
		// two policies in turn, and not for ever
		if i%4 > 1 && !strings.HasPrefix(c.step, "remove ") {
			continue
		}
		t.Log(c.step)
		g := openAt(t, c.dir, []func(*Options){noSpill, func(*Options) {}}[i%2])
		g.requireAll(want)
		require.NoError(t, g.Close())
	}
	require.True(t, removed, "the manifest is removed among them")
}

// TestNeverFaults: whatever fails once while the spill is removed, nothing is lost.
func TestNeverFaults(t *testing.T) {
	for _, name := range []string{"MANIFEST", marker.IdentityName, "spill"} {
		t.Run(name, func(t *testing.T) {
			dir, want := leftSpill(t, false)
			failed := false
			hooks := &hookFS{}
			hooks.set(func(op, path string) error {
				if op == "remove" && filepath.Base(path) == name {
					failed = true
					return errTest
				}
				return nil
			})
			f, err := tryOpen(t, dir, noSpill, func(opt *Options) { hooks.FS = opt.fs(); opt.seams.fs = hooks })
			require.True(t, failed)
			hooks.clear()
			if name == "spill" { // the directory may be a mount: it stays, empty
				require.NoError(t, err)
				require.NoError(t, f.Close())
			} else {
				require.ErrorIs(t, err, errTest)
			}
			f = openAt(t, dir, noSpill)
			f.requireAll(want)
			require.NoError(t, f.Close())
			openAt(t, dir).requireAll(want)
		})
	}
}

// TestNeverReadOnly: nothing is written, and what the spill holds is read.
func TestNeverReadOnly(t *testing.T) {
	dir, want := leftSpill(t, false)
	f := openAt(t, dir, noSpill, func(opt *Options) { opt.ReadOnly = true })
	f.requireAll(want)
	require.FileExists(t, filepath.Join(dir, marker.InterlockName))
	require.NoError(t, f.SetSpillPolicy(Auto))
	require.NoError(t, f.Close())
	openAt(t, dir).requireAll(want)
}

// TestSpillTurnedOffIsGoneAfterClose: while the database is open its empty files stay.
func TestSpillTurnedOffIsGoneAfterClose(t *testing.T) {
	f := open(t)
	f.spillOne("k", "v")
	require.NoError(t, f.SetSpillPolicy(Never))
	eventually(t, "it is replayed", func() bool { return f.routerState() == Direct })
	require.Equal(t, "v", f.inBadger("k"))
	require.NoError(t, f.Close())
	noneLeft(t, f.opt.Dir)
	require.Equal(t, "v", openAt(t, f.opt.Dir).get("k"))
}

// TestAlwaysFromNowOn: what is in flight to Badger is hedged, what comes is spilled, and with Auto
// commits return to Badger.
func TestAlwaysFromNowOn(t *testing.T) {
	for _, before := range []SpillPolicy{Auto, Never} {
		t.Run(before.String(), func(t *testing.T) {
			f := open(t, eager, func(opt *Options) { opt.SpillPolicy = before })
			f.stub.hold()
			first := f.putAsync("first", "v")
			eventually(t, "it is in flight", func() bool { return f.stub.waiting() == 1 })
			require.NoError(t, f.SetSpillPolicy(Always))
			require.NoError(t, receive(t, "the first commit", first), "from the spill")
			f.put("second", "v")
			require.EqualValues(t, 1, f.SpillStats().CommitsHedged)
			require.EqualValues(t, 1, f.SpillStats().CommitsSpilled)
			require.EqualValues(t, 1, f.SpillStats().SpillStarts["policy"])
			f.stub.release()
			f.drained()
			require.Equal(t, Spilling, f.routerState(), "there is no hand-over under Always")
			require.NoError(t, f.SetSpillPolicy(Auto))
			eventually(t, "the hand-over", func() bool { return f.routerState() == Direct })
			f.put("third", "v")
			require.Equal(t, "v", f.inBadger("third"))
		})
	}
}

// TestPolicyWhileDropping: the policy does not change under a drop, which ends in the state that it
// was made for.
func TestPolicyWhileDropping(t *testing.T) {
	f := open(t)
	f.put("k", "v")
	var during error
	f.hooks.set(func(op, path string) error {
		if op == "rename" && filepath.Base(path) == marker.DropName && during == nil {
			during = f.SetSpillPolicy(Always)
		}
		return nil
	})
	require.NoError(t, f.DropAll())
	f.hooks.clear()
	require.ErrorIs(t, during, ErrBlockedWrites)
	require.Equal(t, Auto, f.Opts().SpillPolicy)
	require.NoError(t, f.SetSpillPolicy(Always))
	f.put("k", "2")
	require.EqualValues(t, 1, f.SpillStats().CommitsSpilled)
}

// TestRateUnderOtherPolicies: the rate of commits counts under Auto only, also after a change.
func TestRateUnderOtherPolicies(t *testing.T) {
	f := open(t, spillRate(40), func(opt *Options) { opt.SpillPolicy = Never })
	f.commitUntil("some commits", func() bool { return f.pipe.Counters.Direct.Load() > 200 })
	require.Equal(t, Direct, f.routerState())
	require.Zero(t, f.SpillStats().CommitRate)
	require.NoError(t, f.SetSpillPolicy(Auto))
	f.commitUntil("the turn", f.spilling)
	require.NoError(t, f.SetSpillPolicy(Never))
	eventually(t, "the hand-over", func() bool { return f.routerState() == Direct })
}
