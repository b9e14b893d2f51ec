package badgerspill

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/ristretto/v2/z"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/internal/host"
	"github.com/badgerspill/badgerspill/badgerspill/internal/marker"
	"github.com/badgerspill/badgerspill/integration_test/kit"
)

func TestUpkeepPairs(t *testing.T) {
	const (
		together = iota // the second runs beside the first
		waits
		refused
	)
	for _, tt := range []struct {
		name          string
		first, second upkeepKind
		want          int
	}{
		{"two backups", upkeepShared, upkeepShared, together},
		{"Flatten beside a backup", upkeepShared, upkeepFlatten, together},
		{"a drop beside a backup", upkeepShared, upkeepDrop, waits},
		{"a backup beside Flatten", upkeepFlatten, upkeepShared, together},
		{"two Flattens", upkeepFlatten, upkeepFlatten, waits},
		{"a drop beside Flatten", upkeepFlatten, upkeepDrop, waits},
		{"a backup beside a drop", upkeepDrop, upkeepShared, waits},
		{"Flatten beside a drop", upkeepDrop, upkeepFlatten, waits},
		{"two drops", upkeepDrop, upkeepDrop, refused},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bounded(t)
			var u upkeep
			end, err := u.begin(t.Context(), tt.first)
			require.NoError(t, err)
			began := async(func() error {
				end, err := u.begin(t.Context(), tt.second)
				if err == nil {
					end()
				}
				return err
			})
			switch tt.want {
			case together:
				require.NoError(t, receive(t, "its turn", began))
			case waits:
				eventually(t, "waiting", func() bool { u.mu.Lock(); defer u.mu.Unlock(); return u.changed != nil })
				require.Empty(t, began)
				end()
				require.NoError(t, receive(t, "its turn", began))
			case refused:
				require.ErrorIs(t, receive(t, "its turn", began), ErrBlockedWrites)
			}
			end()
			u.refuse()
			u.settle()
			_, err = u.begin(t.Context(), tt.second)
			require.ErrorIs(t, err, ErrDBClosed)
		})
	}
}

// TestUpkeepWhoWaitsKeepsNobodyAway: a callback of a backup may call what is shared while a drop
// waits for the backup.
func TestUpkeepWhoWaitsKeepsNobodyAway(t *testing.T) {
	bounded(t)
	var u upkeep
	end, err := u.begin(t.Context(), upkeepShared)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	drop := async(func() error { _, err := u.begin(ctx, upkeepDrop); return err })
	eventually(t, "waiting", func() bool { u.mu.Lock(); defer u.mu.Unlock(); return u.drop })
	inner, err := u.begin(t.Context(), upkeepShared)
	require.NoError(t, err)
	inner()
	cancel()
	require.ErrorIs(t, receive(t, "the drop", drop), context.Canceled)
	end()
	end, err = u.begin(t.Context(), upkeepDrop) // it has not left its claim
	require.NoError(t, err)
	end()
}

// TestMaintenanceInPairs runs all maintenance at once, and then Close beside all of it. What was
// acknowledged and was not to be dropped is there afterwards, by plain Badger, too.
func TestMaintenanceInPairs(t *testing.T) {
	for _, all := range []bool{false, true} {
		t.Run(map[bool]string{false: "keys that no drop is to take stay", true: "with DropAll and StreamWriters"}[all], func(t *testing.T) {
			f := open(t, eager, func(opt *Options) {
				opt.MemTableSize, opt.ValueThreshold, opt.ValueLogFileSize = 1<<20, 1<<10, 1<<20
				opt.NamespaceOffset = 0
			})
			var backup bytes.Buffer
			f.put("loaded", "1")
			_, err := f.Backup(&backup, 0)
			require.NoError(t, err)
			stop := make(chan struct{})
			var wg kit.WaitGroup
			loop := func(name string, fn func(i int) error, passes ...error) {
				wg.Go(func() {
					for i := 0; ; i++ {
						select {
						case <-stop:
							return
						default:
						}
						err := fn(i)
						ok := err == nil || errors.Is(err, ErrDBClosed) || errors.Is(err, ErrBlockedWrites)
						for _, pass := range passes {
							ok = ok || errors.Is(err, pass)
						}
						if !ok {
							t.Errorf("%s: %v", name, err)
							return
						}
						if errors.Is(err, ErrDBClosed) {
							return
						}
					}
				})
			}
			var mu sync.Mutex
			want := map[string]string{}
			value := incompressible(2<<10, 1)
			for w := range 2 {
				loop("write", func(i int) error {
					k, v := fmt.Sprintf("keep/%d/%05d", w, i), value[:100+i%1900]
					if err := put(f.DB, k, v); err != nil {
						return err
					}
					mu.Lock()
					defer mu.Unlock()
					want[k] = v
					return put(f.DB, fmt.Sprintf("drop/%d/%05d", w, i), v)
				}, ErrConflict)
			}
			for range 2 {
				loop("Flatten", func(int) error { return f.Flatten(2) })
				loop("RunValueLogGC", func(int) error { return f.RunValueLogGC(0.01) }, ErrNoRewrite, ErrRejected)
				loop("Backup", func(int) error { _, err := f.Backup(io.Discard, 0); return err }, context.Canceled)
			}
			loop("DropPrefix", func(int) error { return f.DropPrefix([]byte("drop/")) })
			loop("BanNamespace", func(i int) error { return f.BanNamespace(uint64(i % 100)) })
			loop("Load", func(int) error { return f.Load(bytes.NewReader(backup.Bytes()), 2) })
			loop("VerifyChecksum", func(int) error { return f.VerifyChecksum() })
			if all {
				loop("DropAll", func(int) error { time.Sleep(10 * time.Millisecond); return f.DropAll() })
				loop("StreamWriter", func(i int) error {
					sw := f.NewStreamWriter()
					defer sw.Cancel()
					if err := sw.Prepare(); err != nil {
						return err
					}
					buf := z.NewBuffer(1<<10, "test")
					defer func() { _ = buf.Release() }()
					badger.KVToBuffer(&pb.KV{Key: []byte("streamed"), Value: []byte("1"), Version: 1}, buf)
					if err := sw.Write(buf); err != nil || i%2 == 0 {
						return err
					}
					return sw.Flush()
				})
			}
			time.Sleep(2 * time.Second) // as long as they run
			require.NoError(t, f.Close())
			close(stop)
			wg.Wait()
			if all {
				openAt(t, f.opt.Dir).put("after", "1")
				return
			}
			require.NotEmpty(t, want)
			require.NoError(t, plainCheck(f.opt, want))
		})
	}
}

// TestCloseEndsAStream that has somebody slow to send to.
func TestCloseEndsAStream(t *testing.T) {
	f := open(t)
	for i := range 100 {
		f.put(key(i), "v")
	}
	begun, openingEnded := make(chan struct{}, 1), make(chan struct{})
	stream := f.NewStream()
	stream.Send = func(*z.Buffer) error {
		begun <- struct{}{}
		<-openingEnded
		return nil
	}
	done := async(func() error { return stream.Orchestrate(t.Context()) })
	receive(t, "Send", begun)
	closed := async(f.Close)
	eventually(t, "closing", func() bool { return f.ctx.Err() != nil })
	never(t, 100*time.Millisecond, "closed beside Send", func() bool { return len(closed) > 0 })
	close(openingEnded)
	<-done // nil if that was all
	require.NoError(t, receive(t, "Close", closed))
	require.ErrorIs(t, f.NewStream().Orchestrate(t.Context()), ErrDBClosed)
}

// TestCloseCancelsAStreamWriter: in Badger what it does later resumes what Close has stopped.
func TestCloseCancelsAStreamWriter(t *testing.T) {
	f := open(t)
	f.put("k", "v")
	sw := f.NewStreamWriter()
	require.NoError(t, sw.Prepare())
	require.ErrorIs(t, f.Flatten(1), ErrBlockedWrites)
	require.ErrorIs(t, f.RunValueLogGC(0.5), ErrRejected)
	_, err := f.Backup(io.Discard, 0)
	require.ErrorIs(t, err, ErrBlockedWrites)
	require.NoError(t, f.Close())
	buf := z.NewBuffer(1<<10, "test")
	defer func() { _ = buf.Release() }()
	require.ErrorIs(t, sw.Write(buf), ErrDBClosed)
	require.ErrorIs(t, sw.Flush(), ErrDBClosed)
	sw.Cancel()
	g := openAt(t, f.opt.Dir)
	require.Equal(t, absent, g.get("k"))
	g.put("k", "1")
}

// TestDropThatFailsIsFinishedByItself, without a restart, and by the next drop.
func TestDropThatFailsIsFinishedByItself(t *testing.T) {
	for _, tt := range []struct {
		name string
		drop func(f *fixture) error
		next func(f *fixture) error // nil: nobody drops again
	}{
		{"DropAll", func(f *fixture) error { return f.DropAll() }, nil},
		{"DropPrefix", func(f *fixture) error { return f.DropPrefix([]byte("a")) }, nil},
		{"DropPrefix, and another one", func(f *fixture) error { return f.DropPrefix([]byte("a")) },
			func(f *fixture) error { return f.DropPrefix([]byte("b")) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := open(t)
			f.put("a", "1")
			f.put("b", "1")
			f.hooks.set(failRemoves(marker.DropName))
			require.ErrorIs(t, tt.drop(f), errDropStays)
			err := put(f.DB, "a", "2")
			require.ErrorIs(t, err, ErrBlockedWrites)
			require.ErrorIs(t, err, errTest) // it says why
			require.ErrorIs(t, f.Health(), errTest)
			require.Equal(t, HealthStopped, f.SpillStats().Health)
			f.hooks.clear()
			if tt.next != nil {
				require.NoError(t, tt.next(f))
				require.Equal(t, absent, f.get("b"))
			}
			eventually(t, "finished", func() bool { return put(f.DB, "a", "2") == nil })
			eventually(t, "told", func() bool { return f.Health() == nil })
			require.NoFileExists(t, marker.DropPath(f.opt.Dir))
			require.Equal(t, "2", f.get("a"))
			require.NoError(t, f.Close())
			require.Equal(t, "2", openAt(t, f.opt.Dir).get("a"))
		})
	}
}

// TestDropPrefixAfterDropAllBesideAnIterator: the files of the tables that it holds have the
// numbers that Badger would take again.
func TestDropPrefixAfterDropAllBesideAnIterator(t *testing.T) {
	f := open(t)
	want := map[string]string{}
	for i := range 7 {
		want[fmt.Sprint("a", i)] = "v"
		f.put(fmt.Sprint("a", i), "v")
		f.put("x", "v")
		require.NoError(t, f.DropPrefix([]byte("x")))
	}
	txn := f.NewTransaction(false)
	it := txn.NewIterator(DefaultIteratorOptions)
	it.Rewind()
	next := f.badger.NextTable()
	require.Greater(t, next, uint64(7))
	require.NoError(t, f.DropAll())
	require.GreaterOrEqual(t, f.badger.NextTable(), next)
	f.put("new", "v")
	f.put("x", "v")
	require.NoError(t, f.DropPrefix([]byte("x")))
	require.Equal(t, "v", f.get("new"))
	got := map[string]string{} // and the iterator goes on as if nothing had been
	for ; it.Valid(); it.Next() {
		v, err := it.Item().ValueCopy(nil)
		require.NoError(t, err)
		got[string(it.Item().Key())] = string(v)
	}
	require.Equal(t, want, got)
	it.Close()
	txn.Discard()
	require.NoError(t, f.DropPrefix([]byte("x")))
	f.put("later", "v")
	require.NoError(t, f.Close())
	require.NoError(t, plainCheck(f.opt, map[string]string{"new": "v", "later": "v", "a0": absent, "x": absent}))
}

// TestTransactionsOverADrop: what they see that began before is the same whether Badger or the
// spill had it.
func TestTransactionsOverADrop(t *testing.T) {
	for _, tt := range []struct {
		name string
		drop func(db *DB) error
		kept string // what is read of keep afterwards
	}{
		{"DropAll", (*DB).DropAll, absent},
		{"DropPrefix", func(db *DB) error { return db.DropPrefix([]byte("drop")) }, "1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := open(t)
			f.put("drop/direct", "1")
			f.put("keep", "1")
			f.spillOne("drop/spilled", "1")
			first := f.NewTransaction(true)
			defer first.Discard()
			second := f.NewTransaction(true)
			defer second.Discard()
			// its view is taken
			require.NoError(t, func() error { _, err := read(first, "drop/direct"); return err }())
			it := first.NewIterator(DefaultIteratorOptions)
			defer it.Close()
			require.NoError(t, tt.drop(f.DB))
			for _, txn := range []*Txn{first, second} {
				for k, want := range map[string]string{"drop/direct": absent, "drop/spilled": absent, "keep": tt.kept} {
					got, err := read(txn, k)
					require.NoError(t, err)
					require.Equal(t, want, got, k)
				}
				later := txn.NewIterator(DefaultIteratorOptions)
				n := 0
				for later.Rewind(); later.Valid(); later.Next() {
					n++
				}
				later.Close()
				require.Equal(t, tt.kept == "1", n == 1)
			}
			var keys []string
			for it.Rewind(); it.Valid(); it.Next() {
				keys = append(keys, string(it.Item().Key()))
			}
			require.Equal(t, []string{"drop/direct", "drop/spilled", "keep"}, keys)
			it.Close()
			require.NoError(t, second.Set([]byte("written"), []byte("1")))
			require.NoError(t, second.Commit())
			require.Equal(t, "1", f.get("written"))
		})
	}
}

// TestDropThatBadgerFailsLeavesItWhole: Badger could not flush its memtable. Without being mended
// it panics in the next DropPrefix, and the next flush ends the process.
func TestDropThatBadgerFailsLeavesItWhole(t *testing.T) {
	for _, next := range []string{"drop", "write", "close"} {
		t.Run(next, func(t *testing.T) {
			f := open(t, small)
			f.put("a", "1")
			f.put("b", "1")
			inTheWay := filepath.Join(f.opt.Dir, fmt.Sprintf("%06d.sst", f.badger.NextTable()))
			require.NoError(t, os.Mkdir(inTheWay, 0o700))
			require.ErrorContains(t, f.dropInner([][]byte{[]byte("a")}), inTheWay)
			require.Equal(t, "1", f.get("b"))
			switch next {
			case "drop":
				require.NoError(t, f.dropInner([][]byte{[]byte("a")}))
				require.Equal(t, absent, f.get("a"))
			case "write":
				for i := range 3 << 10 {
					f.put(key(i), strings.Repeat("v", 1<<9))
				}
			}
			require.Equal(t, "1", f.get("b"))
			require.NoError(t, f.Close())
			require.NoError(t, os.Remove(inTheWay))
			require.NoError(t, plainCheck(f.opt, map[string]string{"b": "1"}))
		})
	}
}

// TestDropAllThatBadgerFailsLeavesItWhole: Badger could not make its next memtable.
func TestDropAllThatBadgerFailsLeavesItWhole(t *testing.T) {
	skipMended(t)
	f := open(t)
	f.put("a", "1")
	next, known := f.badger.NextMemtable()
	require.True(t, known)
	inTheWay := host.MemPath(f.opt.Dir, next)
	require.NoError(t, os.Mkdir(inTheWay, 0o700))
	require.ErrorContains(t, f.dropInner(nil), "memtable")
	f.get("a")
	require.ErrorContains(t, put(f.DB, "b", "1"), "mem table")
	require.ErrorContains(t, put(f.DB, "b", "1"), "mem table")
	require.NoError(t, f.Sync())
	require.NoError(t, os.Remove(inTheWay))
	f.put("b", "1")
	require.NoError(t, f.DropAll())
	f.put("c", "1")
	require.NoError(t, f.Close())
	require.NoError(t, plainCheck(f.opt, map[string]string{"a": absent, "b": absent, "c": "1"}))
}

// TestFlattenWithoutWorkers is an error. In Badger it never ends where there is something to do.
func TestFlattenWithoutWorkers(t *testing.T) {
	f := open(t, small, noSpill, compacting, func(opt *Options) { opt.NumCompactors = 0 })
	for i := range 2 {
		f.put(key(i), "v")
		require.NoError(t, f.feed.Exclusively(f.sealNow))
		eventually(t, "flushed", func() bool { return len(f.Tables()) == i+1 })
	}
	for _, workers := range []int{0, -1} {
		err := receive(t, "Flatten", async(func() error { return f.Flatten(workers) }))
		require.ErrorContains(t, err, "workers")
	}
	require.NoError(t, f.Flatten(1))
}

// TestCloseWaitsForASync: Badger's Close keeps locks for which a sync would wait for ever.
func TestCloseWaitsForASync(t *testing.T) {
	f := open(t)
	f.put("k", "v")
	syncing, openingEnded := make(chan struct{}), make(chan struct{})
	f.stub.set(func() {
		f.stub.mu.onSync = func() error {
			syncing <- struct{}{}
			<-openingEnded
			return nil
		}
	})
	synced := async(f.Sync)
	receive(t, "a sync", syncing)
	f.stub.set(func() { f.stub.mu.onSync = nil })
	closed := async(f.Close)
	eventually(t, "closing", f.IsClosed)
	never(t, 100*time.Millisecond, "closed beside a sync", func() bool { return len(closed) > 0 })
	close(openingEnded)
	require.NoError(t, receive(t, "Sync", synced))
	require.NoError(t, receive(t, "Close", closed))
	require.ErrorIs(t, f.Sync(), ErrDBClosed)
}
