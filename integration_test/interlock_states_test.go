package integration_test

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
)

// What interlock_test.go shows of one database, for other kinds of database, other states and other
// ways to write past it.

// plainRefused requires that plain Badger does not open the directory, in any mode, that its error
// names the interlock, and that the attempt has changed nothing.
func plainRefused(t *testing.T, o badger.Options) {
	t.Helper()
	content := func() map[string]string {
		all := tree(t, o.Dir)
		if o.ValueDir != o.Dir {
			maps.Copy(all, tree(t, o.ValueDir))
		}
		// Badger's pid file
		maps.DeleteFunc(all, func(path, _ string) bool { return filepath.Base(path) == "LOCK" })
		return all
	}
	before := content()
	for _, readOnly := range []bool{false, true} {
		for _, open := range []func(badger.Options) (*badger.DB, error){badger.Open, badger.OpenManaged} {
			_, err := open(o.WithReadOnly(readOnly))
			require.ErrorContains(t, err, interlockFile)
		}
	}
	require.Equal(t, before, content())
}

func TestInterlockOfEveryKindOfDatabase(t *testing.T) {
	rows := []struct {
		name   string
		change func(t *testing.T, o badgerspill.Options) badgerspill.Options
	}{
		{"as it is", func(t *testing.T, o badgerspill.Options) badgerspill.Options { return o }},
		{"values elsewhere", func(t *testing.T, o badgerspill.Options) badgerspill.Options {
			o = o.WithValueDir(t.TempDir()).WithValueThreshold(1)
			return o
		}},
		{"the spill elsewhere", func(t *testing.T, o badgerspill.Options) badgerspill.Options {
			return o.WithSpillDir(filepath.Join(t.TempDir(), "spill"))
		}},
		{"encrypted", func(t *testing.T, o badgerspill.Options) badgerspill.Options {
			o = o.WithEncryptionKey([]byte("0123456789abcdef")).WithIndexCacheSize(1 << 20)
			return o
		}},
		{"synced", func(t *testing.T, o badgerspill.Options) badgerspill.Options {
			o = o.WithSyncWrites(true)
			return o
		}},
		{"Dir is a link", func(t *testing.T, o badgerspill.Options) badgerspill.Options {
			require.NoError(t, os.MkdirAll(o.Dir, 0o700))
			link := filepath.Join(t.TempDir(), "link")
			require.NoError(t, os.Symlink(o.Dir, link))
			o = o.WithDir(link).WithValueDir(link)
			return o
		}},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			base := r.change(t, layer(filepath.Join(t.TempDir(), "db")).WithStallThreshold(-1).WithSpillRate(-1))
			lies := filepath.Join(base.Dir, interlockFile)
			db := openSpill(t, base) // direct: no interlock
			set(t, db, "a", "old")
			require.NoFileExists(t, lies)
			require.NoError(t, db.Close())
			requirePlain(t, base.Badger(), map[string]string{"a": "old"})

			o := spilled(base).WithDrainOnClose(false)
			db = openSpill(t, o)
			require.NoFileExists(t, lies)
			set(t, db, "b", "new")
			require.FileExists(t, lies, "before the first acknowledgement")
			require.NoError(t, db.Close())
			plainRefused(t, o.Badger())

			// Whichever the policy is then: what is spilled is there, and the interlock with it.
			want := map[string]string{"a": "old", "b": "new"}
			for _, policy := range []badgerspill.SpillPolicy{badgerspill.Auto, badgerspill.Always} {
				db = openSpill(t, base.WithSpillPolicy(policy).WithDrainOnClose(false).WithQuiet(1, time.Hour))
				requireAll(t, db, want)
				require.NoError(t, db.Close())
				plainRefused(t, o.Badger())
			}
			readOnly := o.WithReadOnly(true)
			db = openSpill(t, readOnly)
			requireAll(t, db, want)
			require.FileExists(t, lies)
			require.NoError(t, db.Close())
			plainRefused(t, o.Badger())

			// it is gone when the spill is empty
			for _, policy := range []badgerspill.SpillPolicy{badgerspill.Never, badgerspill.Always} {
				db = openSpill(t, o.WithSpillPolicy(policy))
				require.NoError(t, db.Drain(context.Background()))
				require.NoError(t, db.Close())
				require.NoFileExists(t, lies)
				requirePlain(t, base.Badger(), want)
			}
		})
	}
}

// TestInterlockRemovedWhileOpen: the next Open does not trust what it finds, and finds nothing
// wrong.
func TestInterlockRemovedWhileOpen(t *testing.T) {
	o := spilled(layer(filepath.Join(t.TempDir(), "db"))).WithDrainOnClose(false)
	db := openSpill(t, o)
	set(t, db, "a", "1")
	require.NoError(t, os.Remove(filepath.Join(o.Dir, interlockFile)))
	set(t, db, "b", "2")
	require.NoError(t, db.Close())
	db = openSpill(t, o)
	requireAll(t, db, map[string]string{"a": "1", "b": "2"})
	require.NoError(t, db.Close())
	plainRefused(t, o.Badger())
}

// TestForeignWritesOfEveryKind: the interlock is removed and plain Badger writes once, at a version
// that the spill has, too: only what was written tells the two apart.
func TestForeignWritesOfEveryKind(t *testing.T) {
	key := func(k string) []byte { return []byte(k) }
	// Badger has a@1; the spill has a="new"@2, e=""@3 (empty), d deleted @4, t="new"@5 with a time
	// to live and a byte of the user.
	const expires = 4_000_000_000
	spillSome := func(t *testing.T, db *badgerspill.DB) {
		set(t, db, "a", "new")
		set(t, db, "e", "")
		require.NoError(t, db.Update(func(txn *badgerspill.Txn) error { return txn.Delete(key("d")) }))
		e := badgerspill.NewEntry(key("t"), key("new")).WithMeta(7)
		e.ExpiresAt = expires
		require.NoError(t, db.Update(func(txn *badgerspill.Txn) error { return txn.SetEntry(e) }))
	}
	update := func(write func(txn *badger.Txn) error) func(*testing.T, *badger.DB) {
		return func(t *testing.T, p *badger.DB) { require.NoError(t, p.Update(write)) }
	}
	// what the spill has at 2
	noop := update(func(txn *badger.Txn) error { return txn.Set(key("a"), key("new")) })
	// at version 2+n
	after := func(n int, then func(*testing.T, *badger.DB)) func(*testing.T, *badger.DB) {
		return func(t *testing.T, p *badger.DB) {
			steps := []func(txn *badger.Txn) error{
				func(txn *badger.Txn) error { return txn.Set(key("a"), key("new")) },
				func(txn *badger.Txn) error { return txn.Set(key("e"), nil) },
				func(txn *badger.Txn) error { return txn.Delete(key("d")) },
			}
			for _, step := range steps[:n] {
				require.NoError(t, p.Update(step))
			}
			then(t, p)
		}
	}
	entry := func(k, v string, meta byte, expiresAt uint64) *badger.Entry {
		e := badger.NewEntry(key(k), key(v)).WithMeta(meta)
		e.ExpiresAt = expiresAt
		return e
	}
	rows := []struct {
		name    string
		write   func(t *testing.T, p *badger.DB)
		foreign bool
	}{
		{"nothing", func(*testing.T, *badger.DB) {}, false},
		{"exactly what the spill has", noop, false},
		{"all that the spill has", after(3, update(func(txn *badger.Txn) error { return txn.SetEntry(entry("t", "new", 7, expires)) })), false},
		{"another value", update(func(txn *badger.Txn) error { return txn.Set(key("a"), key("foreign")) }), true},
		{"another value of that length", update(func(txn *badger.Txn) error { return txn.Set(key("a"), key("now")) }), true},
		{"another key", update(func(txn *badger.Txn) error { return txn.Set(key("b"), key("new")) }), true},
		{"a large value", update(func(txn *badger.Txn) error { return txn.Set(key("a"), make([]byte, 5000)) }), true},
		{"a deletion of what was set", update(func(txn *badger.Txn) error { return txn.Delete(key("a")) }), true},
		{"a deletion of what was set to nothing", after(1, update(func(txn *badger.Txn) error { return txn.Delete(key("e")) })), true},
		{"nothing as the value of what was deleted", after(2, update(func(txn *badger.Txn) error { return txn.Set(key("d"), nil) })), true},
		{"another byte of the user", after(3, update(func(txn *badger.Txn) error { return txn.SetEntry(entry("t", "new", 8, expires)) })), true},
		{"another time to live", after(3, update(func(txn *badger.Txn) error { return txn.SetEntry(entry("t", "new", 7, expires+1)) })), true},
		{"no time to live", after(3, update(func(txn *badger.Txn) error { return txn.SetEntry(entry("t", "new", 7, 0)) })), true},
		{"two keys at once, one of them the spill's", update(func(txn *badger.Txn) error {
			return errors.Join(txn.Set(key("a"), key("new")), txn.Set(key("z"), key("foreign")))
		}), true},
		{"a batch", func(t *testing.T, p *badger.DB) {
			wb := p.NewWriteBatch()
			require.NoError(t, wb.Set(key("z"), key("foreign")))
			require.NoError(t, wb.Flush())
		}, true},
		{"more than the spill has", after(3, func(t *testing.T, p *badger.DB) {
			for i := range 5 {
				require.NoError(t, p.Update(func(txn *badger.Txn) error { return txn.Set(fmt.Appendf(nil, "z%d", i), key("foreign")) }))
			}
		}), true},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			o := spilled(layer(filepath.Join(t.TempDir(), "db"))).WithDrainOnClose(false)
			db := openSpill(t, o.WithDrainOnClose(true))
			set(t, db, "a", "old")
			require.NoError(t, db.Close())
			db = openSpill(t, o)
			spillSome(t, db)
			require.NoError(t, db.Close())
			require.NoError(t, os.Remove(filepath.Join(o.Dir, interlockFile)))
			p, err := badger.Open(o.Badger())
			require.NoError(t, err)
			r.write(t, p)
			require.NoError(t, p.Close())

			before := hashes(t, filepath.Join(o.Dir, "spill"))
			for range 2 {
				db, err = badgerspill.Open(o)
				if !r.foreign {
					require.NoError(t, err)
					want := map[string]string{"a": "new", "e": "", "t": "new"}
					requireAll(t, db, want)
					require.NoError(t, db.Drain(context.Background()))
					requireAll(t, db, want)
					require.NoError(t, db.Close())
					continue
				}
				if err == nil {
					require.NoError(t, db.Close())
				}
				require.ErrorIs(t, err, badgerspill.ErrForeignWrites)
				require.ErrorContains(t, err, "badgerspill discard")
				require.Equal(t, before, hashes(t, filepath.Join(o.Dir, "spill")), "nothing is dropped")
				plainRefused(t, o.Badger())
			}
		})
	}
}

var plainKills = flag.Int("plainkills", 1, "children killed in each state before plain Badger is tried")

// killedPlain requires that plain Badger has all that a killed child has acknowledged, see
// kill_test.go.
func killedPlain(t *testing.T, p *badger.DB, acked *[killWriters]uint64) {
	t.Helper()
	require.NoError(t, p.View(func(txn *badger.Txn) error {
		number := func(key []byte) uint64 {
			it, err := txn.Get(key)
			if errors.Is(err, badger.ErrKeyNotFound) {
				return 0
			}
			require.NoError(t, err)
			v, err := it.ValueCopy(nil)
			require.NoError(t, err)
			return binary.BigEndian.Uint64(v)
		}
		for w := range killWriters {
			last := number(fmt.Appendf(nil, "last/%d", w))
			require.GreaterOrEqual(t, last, acked[w], "writer %d: acknowledged commits are missing", w)
			for n := last + 1 - min(last, killKeep); n <= last; n++ {
				require.Equal(t, n, number(pairKey('a', w, n)))
				require.Equal(t, n, number(pairKey('b', w, n)))
			}
			require.Zero(t, number(pairKey('a', w, last-killKeep)), "deleted")
		}
		return nil
	}))
}

// TestPlainBadgerAfterAKill: a process is killed in any state. Plain Badger refuses what it has
// left, and names the interlock, or it serves all that was acknowledged. And if somebody removes
// the interlock and writes nothing, that is no foreign write, however much of the spill Badger has
// already.
func TestPlainBadgerAfterAKill(t *testing.T) {
	for mode, m := range killModes {
		t.Run(m.Name, func(t *testing.T) {
			rng := random(t)
			dir := filepath.Join(t.TempDir(), "db")
			var acked [killWriters]uint64
			outcomes := map[string]int{}
			for range *plainKills {
				killOnce(t, rng, dir, mode, &acked)
				require.NoError(t, removeEmpty(dir))
				lies := filepath.Join(dir, interlockFile)
				p, err := badger.Open(killOptions(dir, mode).Badger())
				switch {
				case err == nil:
					outcomes["served"]++
					killedPlain(t, p, &acked)
					require.NoError(t, p.Close())
				default:
					outcomes["refused"]++
					require.ErrorContains(t, err, interlockFile)
					require.FileExists(t, lies)
					if rng.IntN(2) == 0 {
						outcomes["removed by hand"]++
						require.NoError(t, os.Remove(lies))
						p, err := badger.Open(killOptions(dir, mode).Badger())
						require.NoError(t, err)
						require.NoError(t, p.Close())
					}
				}
				killCheck(t, dir, mode, &acked) // Open must not say ErrForeignWrites
			}
			t.Log(outcomes)
		})
	}
}

// removeEmpty removes logs that a kill has left without a size, at which plain Badger fails for
// reasons of its own.
func removeEmpty(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".mem") && !strings.HasSuffix(path, ".vlog") {
			return err
		}
		if info, err := d.Info(); err != nil || info.Size() > 0 {
			return err
		}
		return os.Remove(path)
	})
}
