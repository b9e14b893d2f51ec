package badgerspill

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/internal/host"
)

// Replay filled Badger's log, which is mapped, ahead of what the spill had synced. A power cut left
// there more than in the spill, and Open refused with ErrForeignWrites, for good.
func TestSpillIsSyncedBeforeBadgerGetsIt(t *testing.T) {
	f := open(t)
	f.spillOne("a", "1")
	paths := segments(t, f.opt.Dir)
	require.Len(t, paths, 1)
	before, err := os.Stat(paths[0])
	require.NoError(t, err)
	f.put("b", "2")
	_, err = f.feed.Replay(t.Context(), 1<<20)
	require.NoError(t, err)
	dir := crash(t, f.opt.Dir)
	// The pages that nobody has synced were never written.
	torn := filepath.Join(dir, "spill", filepath.Base(paths[0]))
	require.NoError(t, os.Truncate(torn, max(before.Size(), f.log.State().Synced.Offset)))
	g, err := tryOpen(t, dir)
	require.NoError(t, err)
	require.Equal(t, "1", g.get("a"))
	require.Equal(t, "2", g.get("b"))
}

// The rest that a hand-over loads carries no transaction markers, and Badger had not synced it when
// the spill was dropped: a power cut left half of a transaction. A direct commit, as a control, is
// whole or gone.
func TestTransactionStaysWholeAfterHandOver(t *testing.T) {
	for _, direct := range []bool{true, false} {
		t.Run(fmt.Sprintf("direct %v", direct), func(t *testing.T) {
			f := open(t)
			unsynced := direct
			f.stub.set(func() {
				f.stub.mu.afterLoad = func(int) { unsynced = true }
				f.stub.mu.onSync = func() error { unsynced = false; return nil }
			})
			if !direct {
				f.spillOne("x", "y")
			}
			require.NoError(t, f.Update(func(txn *Txn) error {
				_ = txn.Set([]byte("half/1"), []byte("first-value"))
				return txn.Set([]byte("half/2"), []byte("second-value"))
			}))
			if !direct {
				eventually(t, "the hand-over", func() bool {
					done, err := f.feed.HandOver(t.Context())
					require.NoError(t, err)
					return done
				})
				require.Equal(t, "second-value", f.inBadger("half/2"))
			}
			dir := crash(t, f.opt.Dir)
			cut := unsynced && cutMemtables(t, dir, "second-value")
			require.Equal(t, direct, cut)
			g := openAt(t, dir)
			require.Equal(t, direct, g.get("half/1") == absent)
			require.Equal(t, direct, g.get("half/2") == absent)
		})
	}
}

// cutMemtables zeroes the logs of Badger's memtables from where mark is: pages that were not
// written.
func cutMemtables(t *testing.T, dir, mark string) (cut bool) {
	t.Helper()
	numbers, err := host.MemNumbers(dir)
	require.NoError(t, err)
	for _, n := range numbers {
		log, err := os.ReadFile(host.MemPath(dir, n))
		require.NoError(t, err)
		if at := bytes.LastIndex(log, []byte(mark)); at >= 0 {
			clear(log[at:])
			require.NoError(t, os.WriteFile(host.MemPath(dir, n), log, 0o600))
			cut = true
		}
	}
	return cut
}
