package badgerspill

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/internal/host"
	"github.com/badgerspill/badgerspill/integration_test/kit"
)

// blockMemtable takes the name of Badger's next memtable.
func (f *fixture) blockMemtable() (path string, free func()) {
	f.t.Helper()
	n, known := f.badger.NextMemtable()
	require.True(f.t, known)
	path = host.MemPath(f.opt.Dir, n)
	require.NoError(f.t, os.Mkdir(path, 0o700))
	return path, func() { require.NoError(f.t, os.Remove(path)) }
}

// inTree keeps values out of the value log, so that they fill memtables.
func inTree(opt *Options) { opt.ValueThreshold = 100 << 10 }

// inValues puts values of 1 KiB into the value log.
func inValues(opt *Options) { opt.ValueThreshold = 1 << 10 }

// unguarded lets Badger have writes that it does not survive.
func unguarded(opt *Options) { opt.seams.unguarded = true }

// few says that descriptors have run out, as long as on is true.
func few(on *atomic.Bool) func(*Options) {
	return func(opt *Options) {
		sys := *thisSystem
		sys.descriptorsFree = func(string, int) bool { return !on.Load() }
		opt.seams.system = &sys
	}
}

// TestHeldBadger: what Badger would not survive it does not get. Reads go on, commits go to the
// spill and Badger gets them when the cause is gone, without a restart. A Close meanwhile keeps the
// spill.
func TestHeldBadger(t *testing.T) {
	for _, tt := range []struct {
		name  string
		cause string
		begin func(f *fixture, short *atomic.Bool) (end func())
	}{
		{"a directory with the name of the next memtable", "has the name of its next memtable", func(f *fixture, _ *atomic.Bool) func() {
			_, free := f.blockMemtable()
			return free
		}},
		{"a directory with the name of the next file of the value log", "the next file of its value log", func(f *fixture, _ *atomic.Bool) func() {
			n, known := f.badger.NextValueLog()
			require.True(f.t, known)
			path := host.ValuePath(f.opt.ValueDir, n)
			require.NoError(f.t, os.Mkdir(path, 0o700))
			return func() { require.NoError(f.t, os.Remove(path)) }
		}},
		{"no descriptors", "file descriptors", func(_ *fixture, short *atomic.Bool) func() {
			short.Store(true)
			return func() { short.Store(false) }
		}},
	} {
		for _, state := range []RouterState{Direct, Spilling} {
			t.Run(fmt.Sprint(tt.name, ", ", state), func(t *testing.T) {
				var short atomic.Bool
				f := open(t, small, inTree, few(&short))
				want := map[string]string{"before": incompressible(101<<10, 1)} // in the value log
				f.put("before", want["before"])
				if state == Spilling {
					f.spillOne("spilled", "1")
					want["spilled"] = "1"
				}
				end := tt.begin(f, &short)
				_ = f.guard.Look()
				for i := range 40 { // more than a memtable takes
					want[key(i)] = incompressible(64<<10, i)
					f.put(key(i), want[key(i)])
				}
				require.Equal(t, Spilling, f.routerState())
				f.requireAll(want)
				failed := receive(t, "the event", f.events.failed)
				require.ErrorIs(t, failed.Err, ErrBadgerHeld)
				require.ErrorContains(t, failed.Err, tt.cause)
				loads := f.stub.loads()
				err := f.drainNow(t.Context(), nil)
				require.ErrorIs(t, err, ErrBadgerHeld)
				require.Equal(t, loads, f.stub.loads())
				for _, write := range []func() error{
					func() error { return f.Flatten(1) },
					func() error { return f.RunValueLogGC(0.5) },
					func() error { return f.DropPrefix([]byte("x")) },
					f.DropAll,
				} {
					require.ErrorIs(t, write(), ErrBadgerHeld)
				}
				f.put("after", "1") // they have announced nothing
				want["after"] = "1"
				if state == Direct {
					require.EqualValues(t, 1, f.SpillStats().SpillStarts["held"])
					end()
					f.drained()
					f.direct()
					for k, v := range want {
						require.Equal(t, v, f.inBadger(k))
					}
					return
				}
				require.ErrorIs(t, f.Close(), ErrBadgerHeld)
				end()
				f = openAt(t, f.opt.Dir, small, inTree)
				f.requireAll(want)
				require.NoError(t, f.Close())
				require.NoError(t, plainCheck(f.opt, want))
			})
		}
	}
}

// TestHeldBadgerWithoutASpill: commits fail at once, also those that wait for memory, and go on
// when the cause is gone.
func TestHeldBadgerWithoutASpill(t *testing.T) {
	f := open(t, noSpill)
	free := f.occupy(f.manager.Limit())
	parked := f.putAsync("k", "1")
	eventually(t, "parked", f.parked)
	path, end := f.blockMemtable()
	_ = f.guard.Look()
	require.ErrorIs(t, receive(t, "the commit that waits", parked), ErrBadgerHeld)
	free()
	err := put(f.DB, "k", "2")
	require.ErrorIs(t, err, ErrBadgerHeld)
	require.ErrorContains(t, err, path)
	require.Equal(t, absent, f.get("k"))
	end()
	_ = f.guard.Look()
	f.put("k", "3")
}

// TestBadgerWithoutANextMemtable: it happens nevertheless, beside readers and a Sync. In plain
// Badger they panic, and the next write ends the process.
func TestBadgerWithoutANextMemtable(t *testing.T) {
	f := open(t, small, inTree, noSpill, unguarded)
	want := map[string]string{}
	var mu sync.Mutex
	f.put("there", "1")
	_, free := f.blockMemtable()
	stop := make(chan struct{})
	var wg kit.WaitGroup
	for r := range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := f.View(func(txn *Txn) error {
					if r%2 == 0 {
						v, err := read(txn, "there")
						if v != "1" {
							err = errors.Join(err, fmt.Errorf("there = %s", v))
						}
						return err
					}
					it := txn.NewIterator(IteratorOptions{Prefix: []byte("there")})
					defer it.Close()
					if it.Rewind(); !it.Valid() {
						return errors.New("there is not")
					}
					return nil
				}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if err := f.Sync(); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	failed := 0
	for i := range 60 {
		v := incompressible(60<<10, i)
		if err := put(f.DB, key(i), v); err != nil {
			require.ErrorContains(t, err, "mem table")
			if failed++; failed == 10 {
				free()
			}
			continue
		}
		mu.Lock()
		want[key(i)] = v
		mu.Unlock()
	}
	require.GreaterOrEqual(t, failed, 10)
	close(stop)
	wg.Wait()
	f.requireAll(want)
	require.NoError(t, f.Close())
	require.NoError(t, plainCheck(f.opt, want))
}

// TestReplayIntoABadgerWithoutANextMemtable: what took the name came between two looks, so Badger
// refuses in the middle of a chunk. The spill is the truth until Badger takes it.
func TestReplayIntoABadgerWithoutANextMemtable(t *testing.T) {
	for _, ended := range []string{"freed", "closed", "reopened"} {
		t.Run(ended, func(t *testing.T) {
			f := open(t, small, inTree, unguarded, func(opt *Options) { opt.SpillPolicy, opt.KeepSpillOnClose = Always, true })
			want := map[string]string{}
			for i := range 60 {
				want[key(i)] = incompressible(60<<10, i)
				f.put(key(i), want[key(i)])
			}
			f.put(key(0), "newer")
			want[key(0)] = "newer"
			require.NoError(t, f.Update(func(txn *Txn) error { return txn.Delete([]byte(key(1))) }))
			want[key(1)] = absent
			require.NoError(t, f.log.Seal())
			path, free := f.blockMemtable()
			drain := async(func() error { return f.Drain(f.ctx) })
			failed := receive(t, "the event", f.events.failed)
			require.ErrorContains(t, failed.Err, "mem table")
			require.DirExists(t, path)
			f.requireAll(want)
			require.Positive(t, f.SpillStats().SpillPending)
			if ended == "freed" {
				free()
				require.NoError(t, receive(t, "Drain", drain))
			} else {
				_ = f.Close()
				free()
				_ = receive(t, "Drain", drain)
				f = openAt(t, f.opt.Dir, small, inTree)
				f.requireAll(want)
				if ended == "reopened" {
					f.drained()
				}
			}
			f.requireAll(want)
			require.NoError(t, f.Close())
			require.NoError(t, plainCheck(f.opt, want))
		})
	}
}

// TestCloseOfABadgerWithoutANextMemtable does not end the process.
func TestCloseOfABadgerWithoutANextMemtable(t *testing.T) {
	f := open(t, small, inTree, noSpill, unguarded)
	_, free := f.blockMemtable()
	n := 0
	for ; put(f.DB, key(n), incompressible(60<<10, n)) == nil; n++ {
	}
	require.NoError(t, f.Close())
	free()
	g := openAt(t, f.opt.Dir, small, inTree)
	for i := range n {
		require.Equal(t, incompressible(60<<10, i), g.get(key(i)))
	}
}

// compacting has Badger compact each table of level 0.
func compacting(opt *Options) { opt.NumLevelZeroTables, opt.NumLevelZeroTablesStall = 1, 10 }

// blockTables takes the names of Badger's next tables, but for the first.
func (f *fixture) blockTables(n uint64) (paths []string) {
	f.t.Helper()
	next := f.badger.NextTable()
	for i := next + 1; i <= next+n; i++ {
		paths = append(paths, table.NewFilename(i, f.opt.Dir))
		require.NoError(f.t, os.WriteFile(paths[len(paths)-1], nil, 0o600))
	}
	return paths
}

// TestTablesPassNamesInTheWay: a compaction whose table cannot be made counts as done in Badger,
// and what it held is gone.
func TestTablesPassNamesInTheWay(t *testing.T) {
	f := open(t, small, inTree, compacting)
	paths := f.blockTables(8)
	_ = f.guard.Look()
	want := map[string]string{}
	for i := range 60 {
		want[key(i)] = incompressible(60<<10, i)
		f.put(key(i), want[key(i)])
	}
	eventually(t, "compacted", func() bool {
		return slices.ContainsFunc(f.Tables(), func(t badger.TableInfo) bool { return t.Level > 0 })
	})
	f.requireAll(want)
	for _, path := range paths { // whose they are is not known
		require.FileExists(t, path)
	}
	require.NoError(t, f.Close())
	require.NoError(t, plainCheck(f.opt, want))
}
