package badgerspill

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/internal/pipeline"
	"github.com/badgerspill/badgerspill/integration_test/kit"
	"github.com/badgerspill/badgerspill/integration_test/kit/sides"
)

// mergeSide is one engine with merge operators.
type mergeSide struct{ twin }

func (s mergeSide) operator(key string, f func(existing, added []byte) []byte, every time.Duration) sides.MergeOperator {
	return s.Merge([]byte(key), f, every)
}

func (s mergeSide) get(key string) (value string, err error) {
	v, version, err := s.read(key)
	if version > 0 {
		value = fmt.Sprint(string(v), version)
	}
	return value, err
}

// history returns the versions of a key, newest first, down to where its history ends.
func (s mergeSide) history(key string) (history []string) {
	txn := s.Begin(false)
	defer txn.Discard()
	it := txn.KeyIter([]byte(key), badger.DefaultIteratorOptions)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		var end bool
		if history, end = describe(history, it.Head()); end {
			break
		}
	}
	return history
}

// describe adds an item to a history and says whether the history ends there.
func describe(history []string, item sides.Item) (_ []string, end bool) {
	if item.IsDeletedOrExpired() {
		return append(history, fmt.Sprint(item.Version(), " deleted")), true
	}
	v, err := item.ValueCopy(nil)
	return append(history, fmt.Sprint(item.Version(), " ", string(v), " ", item.DiscardEarlierVersions(), " ", err)),
		item.DiscardEarlierVersions()
}

func plainMerge(t *testing.T, dir string) *mergeSide { return &mergeSide{plainTwin(t, dir)} }

func layerMerge(t *testing.T, dir string, changes ...func(*Options)) *mergeSide {
	return sideOf(openAt(t, dir, changes...))
}

func sideOf(f *fixture) *mergeSide { return &mergeSide{f.twin()} }

// concat shows the order in which values are merged.
func concat(existing, added []byte) []byte { return append(existing, added...) }

func sum(existing, added []byte) []byte {
	return binary.BigEndian.AppendUint64(nil, binary.BigEndian.Uint64(existing)+binary.BigEndian.Uint64(added))
}

func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// TestMergeAsBadger gives both engines the same calls. At each reopen they exchange their
// databases.
func TestMergeAsBadger(t *testing.T) {
	for _, mode := range spillModes {
		for seed := range uint64(3) {
			t.Run(fmt.Sprintf("%s, seed %d", mode.name, seed), func(t *testing.T) {
				bounded(t)
				r := rand.New(rand.NewPCG(seed, 2))
				dirs := [2]string{t.TempDir(), t.TempDir()}
				plain, layer := plainMerge(t, dirs[0]), layerMerge(t, dirs[1], mode.change)
				keys := []string{"a", "b", "", "!badger!x"}
				var ops [2][]sides.MergeOperator
				create := func() {
					for i, s := range []*mergeSide{plain, layer} {
						ops[i] = nil
						for _, key := range keys {
							ops[i] = append(ops[i], s.operator(key, concat, time.Hour))
						}
					}
				}
				stop := func() {
					for i := range ops {
						for _, op := range ops[i] {
							op.Stop()
						}
					}
					// Badger's Stop does not wait for its last write. A commit behind it does.
					require.NoError(t, plain.set("other", "x", false))
					require.NoError(t, layer.set("other", "x", false))
				}
				create()
				for step := range 300 {
					what := ""
					i := r.IntN(len(keys) + 4)
					if i >= len(keys) { // mostly the good ones
						i %= 2
					}
					both := func(op string, f func(i int, s *mergeSide) string) {
						t.Helper()
						what = fmt.Sprintf("seed %d, step %d: %s of %q", seed, step, op, keys[i])
						require.Equal(t, f(0, plain), f(1, layer), what)
					}
					switch n := r.IntN(100); {
					case n < 2:
						stop()
						require.NoError(t, plain.close())
						require.NoError(t, layer.close())
						dirs[0], dirs[1] = dirs[1], dirs[0]
						plain, layer = plainMerge(t, dirs[0]), layerMerge(t, dirs[1], mode.change)
						create()
					case n < 8:
						layer.drain()
					case n < 14:
						stop()
						create()
					case n < 18 && i < 2:
						value, discard := fmt.Sprint("<", step, ">"), r.IntN(2) == 0
						if !discard {
							value = ""
						}
						both("overwrite", func(_ int, s *mergeSide) string { return fmt.Sprint(s.set(keys[i], value, discard)) })
					case n < 70:
						value := fmt.Sprint(step, ",")
						if r.IntN(10) == 0 {
							value = ""
						}
						both("add", func(side int, _ *mergeSide) string { return fmt.Sprint(ops[side][i].Add([]byte(value))) })
					default:
						both("get", func(side int, _ *mergeSide) string {
							v, err := ops[side][i].Get()
							return fmt.Sprintf("%q %v", v, err)
						})
					}
					both("newest version", func(_ int, s *mergeSide) string { return fmt.Sprint(s.get(keys[i])) })
					both("history", func(_ int, s *mergeSide) string { return strings.Join(s.history(keys[i]), "; ") })
					require.Equal(t, plain.version(), layer.version(), what)
				}
				stop()
			})
		}
	}
}

// TestMergeShared adds from many goroutines beside compactions, reads and replay, through several
// operators of one key each. Then the engines exchange their databases.
func TestMergeShared(t *testing.T) {
	const goroutines, each, operators = 8, 60, 2
	for _, mode := range spillModes {
		t.Run(mode.name, func(t *testing.T) {
			bounded(t)
			dirs := [2]string{t.TempDir(), t.TempDir()}
			want := uint64(0)
			for round := range 2 {
				for i, s := range []*mergeSide{plainMerge(t, dirs[0]), layerMerge(t, dirs[1], mode.change)} {
					var ops [operators]sides.MergeOperator
					for i := range ops {
						ops[i] = s.operator("k", sum, time.Millisecond)
					}
					var wg, readers kit.WaitGroup
					var failed atomic.Value
					check := func(err error) bool {
						if err != nil {
							failed.CompareAndSwap(nil, err.Error())
						}
						return err == nil
					}
					for g := range goroutines {
						wg.Go(func() {
							for n := 0; n < each && check(ops[g%operators].Add(number(1))); n++ {
							}
						})
					}
					var done atomic.Bool
					for _, op := range ops {
						readers.Go(func() {
							for before := uint64(0); !done.Load(); {
								v, err := op.Get()
								if err == ErrKeyNotFound || !check(err) {
									continue
								}
								n := binary.BigEndian.Uint64(v)
								if n < before {
									check(fmt.Errorf("%d after %d", n, before))
								}
								before = n
							}
						})
					}
					for range 3 {
						s.drain()
					}
					wg.Wait()
					done.Store(true)
					readers.Wait()
					require.Nil(t, failed.Load())
					for _, op := range ops {
						op.Stop()
					}
					total := want + goroutines*each
					for _, op := range ops {
						v, err := op.Get()
						require.NoError(t, err)
						require.Equal(t, total, binary.BigEndian.Uint64(v), "round %d, side %d", round, i)
					}
					require.NoError(t, s.set("other", "x", false)) // behind Badger's last write
					require.Len(t, s.history("k"), 1, "round %d, side %d: Stop compacts", round, i)
					require.NoError(t, s.close())
				}
				want += goroutines * each
				dirs[0], dirs[1] = dirs[1], dirs[0]
			}
		})
	}
}

// TestMergeValuesSurviveCompaction: what is not merged yet is not garbage for Badger's own
// compaction, what is merged is.
func TestMergeValuesSurviveCompaction(t *testing.T) {
	const adds = 50
	for _, mode := range spillModes {
		t.Run(mode.name, func(t *testing.T) {
			bounded(t)
			dir := t.TempDir()
			f := openAt(t, dir, mode.change, func(opt *Options) { opt.CompactL0OnClose = true })
			left := f.GetMergeOperator([]byte("left"), sum, time.Hour)
			merged := f.GetMergeOperator([]byte("merged"), sum, time.Hour)
			for range adds {
				require.NoError(t, left.Add(number(1)))
				require.NoError(t, merged.Add(number(1)))
				f.put("set", "x")
			}
			merged.Stop()
			f.drained()
			last := f.MaxVersion()
			eventually(t, "Badger may discard all but the newest versions", func() bool { return f.discarded.Load() >= last })
			require.NoError(t, f.Close())
			left.Stop() // too late to compact

			db, err := badger.Open(testOptions(dir).Badger())
			require.NoError(t, err)
			defer db.Close()
			txn := db.NewTransaction(false)
			defer txn.Discard()
			for key, want := range map[string]int{"left": adds, "merged": 1, "set": 1} {
				it := txn.NewKeyIterator([]byte(key), badger.DefaultIteratorOptions)
				n := 0
				for it.Rewind(); it.Valid(); it.Next() {
					n++
				}
				it.Close()
				require.Equal(t, want, n, key)
			}
			for _, key := range []string{"left", "merged"} {
				op := db.GetMergeOperator([]byte(key), sum, time.Hour)
				v, err := op.Get()
				require.NoError(t, err)
				require.EqualValues(t, adds, binary.BigEndian.Uint64(v))
				op.Stop()
			}
		})
	}
}

// TestMergeAddDuringCompaction adds between the read and the write of a compaction, into a newer
// segment of the spill than what is read, and older than what is written.
func TestMergeAddDuringCompaction(t *testing.T) {
	for _, mode := range spillModes {
		t.Run(mode.name, func(t *testing.T) {
			bounded(t)
			f := open(t, mode.change)
			rotate := func() {
				if f.log != nil {
					f.log.Rotate(0)
				}
			}
			var histories [][]string
			for _, s := range []*mergeSide{plainMerge(t, t.TempDir()), sideOf(f)} {
				var op sides.MergeOperator
				var once sync.Once
				rotating := func() {
					if s.version() == f.MaxVersion() {
						rotate()
					}
				}
				ready := make(chan struct{})
				op = s.operator("k", func(existing, added []byte) []byte {
					<-ready
					once.Do(func() {
						rotating()
						require.NoError(t, op.Add([]byte("d")))
						rotating()
					})
					return concat(existing, added)
				}, time.Hour)
				close(ready)
				for _, v := range []string{"a", "b", "c"} {
					require.NoError(t, op.Add([]byte(v)))
				}
				op.Stop()
				require.NoError(t, s.set("other", "x", false)) // behind Badger's last write
				v, err := op.Get()
				require.NoError(t, err)
				require.Equal(t, "abcd", string(v))
				newest, err := s.get("k")
				require.NoError(t, err)
				require.Equal(t, "d4", newest)
				histories = append(histories, s.history("k"))
				s.drain()
				require.Equal(t, histories[len(histories)-1], s.history("k"))
			}
			require.Equal(t, histories[0], histories[1])
		})
	}
}

// TestMergeCrash: a killed process leaves what was added, merged or not.
func TestMergeCrash(t *testing.T) {
	for _, mode := range spillModes[:2] { // the copy must not be taken beside a replay
		t.Run(mode.name, func(t *testing.T) {
			f := open(t, mode.change)
			op := f.GetMergeOperator([]byte("k"), concat, time.Hour)
			defer op.Stop()
			require.NoError(t, op.Add([]byte("a")))
			f.drained()
			require.NoError(t, op.Add([]byte("b")))
			added := crash(t, f.opt.Dir)
			require.NoError(t, op.compact())
			compacted := crash(t, f.opt.Dir)
			require.NoError(t, op.Add([]byte("c")))
			require.NoError(t, op.compact())
			require.NoError(t, op.Add([]byte("d")))
			more := crash(t, f.opt.Dir)
			for dir, want := range map[string]string{added: "ab", compacted: "ab", more: "abcd"} {
				for range 2 {
					s := layerMerge(t, crash(t, dir), mode.change)
					op := s.operator("k", concat, time.Hour)
					v, err := op.Get()
					require.NoError(t, err)
					require.Equal(t, want, string(v))
					s.drain()
					v, err = op.Get()
					require.NoError(t, err)
					require.Equal(t, want, string(v))
					op.Stop()
					require.NoError(t, s.close())
				}
			}
		})
	}
}

// TestMergeHoldsDiscard: until the write of a compaction is acknowledged Badger must not drop a
// tombstone that is set above it.
func TestMergeHoldsDiscard(t *testing.T) {
	f := open(t, spillModes[0].change)
	op := f.GetMergeOperator([]byte("k"), concat, time.Hour)
	for _, v := range []string{"a", "b"} {
		require.NoError(t, op.Add([]byte(v)))
	}
	f.stub.hold()
	stopped := async(func() bool { op.Stop(); return true })
	eventually(t, "Badger is asked", func() bool { return f.stub.waiting() == 1 })
	f.NewTransaction(false).Discard()
	require.EqualValues(t, 1, f.pipe.Discardable())
	require.Empty(t, stopped, "Stop waits for the write")
	f.stub.release()
	receive(t, "end of Stop", stopped)
	require.EqualValues(t, 2, f.pipe.Discardable())
	require.Equal(t, []string{"2 ab true <nil>"}, sideOf(f).history("k"))
}

// TestMergeHedged: values that Badger has not answered for are read, merged and replayed from the
// spill.
func TestMergeHedged(t *testing.T) {
	f := open(t)
	op := f.GetMergeOperator([]byte("k"), concat, time.Hour)
	require.NoError(t, op.Add([]byte("a")))
	f.stub.hold()
	b := async(func() error { return op.Add([]byte("b")) })
	eventually(t, "Badger is asked", func() bool { return f.stub.waiting() == 1 })
	f.spillOne("other", "x")
	require.NoError(t, receive(t, "the hedged addition", b))
	require.NoError(t, op.Add([]byte("c")))
	op.Stop()
	check := func() {
		v, err := op.Get()
		require.NoError(t, err)
		require.Equal(t, "abc", string(v))
		require.Equal(t, []string{"4 abc true <nil>"}, sideOf(f).history("k"))
	}
	check()
	f.stub.release()
	f.drained()
	f.direct()
	check()
	require.NoError(t, f.Close())
	require.Equal(t, []string{"4 abc true <nil>"}, plainMerge(t, f.opt.Dir).history("k"))
}

// TestMergeTicks: compactions come by themselves, and after Stop no more.
func TestMergeTicks(t *testing.T) {
	f := open(t, spillModes[1].change)
	s := sideOf(f)
	key := []byte("k")
	op := f.GetMergeOperator(key, concat, time.Millisecond)
	key[0] = 'x' // the key's memory is the caller's
	compacted := func() bool { return len(s.history("k")) == 1 }
	for n := 1; n <= 3; n++ {
		require.NoError(t, op.Add([]byte("a")))
		require.NoError(t, op.Add([]byte("b")))
		eventually(t, "compaction", compacted)
		v, err := op.Get()
		require.NoError(t, err)
		require.Equal(t, strings.Repeat("ab", n), string(v))
	}
	var wg kit.WaitGroup
	for range 4 {
		wg.Go(op.Stop)
	}
	wg.Wait()
	op.Stop()
	eventually(t, "no goroutine is left", func() bool {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		return !strings.Contains(string(stacks), "badgerspill.(*MergeOperator)") &&
			!strings.Contains(string(stacks), "badgerspill.(*KVLoader)")
	})
	require.NoError(t, op.Add([]byte("c")))
	v, err := op.Get()
	require.NoError(t, err)
	require.Equal(t, "abababc", string(v))
	require.Equal(t, []string{"7 c false <nil>", "6 ababab true <nil>"}, s.history("k"))
	require.Panics(t, func() { f.GetMergeOperator([]byte("k"), concat, 0) })
}

// TestMergeCompactionFails: the values stay, the error is reported, and the next compaction does
// it.
func TestMergeCompactionFails(t *testing.T) {
	f := open(t, spillModes[0].change)
	op := f.GetMergeOperator([]byte("k"), concat, time.Millisecond)
	defer op.Stop()
	f.stub.set(func() {
		f.stub.mu.failSend = func(c *pipeline.Commit) error {
			if c.Load {
				return errTest
			}
			return nil
		}
	})
	require.NoError(t, op.Add([]byte("a")))
	require.NoError(t, op.Add([]byte("b")))
	require.ErrorIs(t, receive(t, "report", f.events.failed).Err, errTest)
	v, err := op.Get()
	require.NoError(t, err)
	require.Equal(t, "ab", string(v))
	f.stub.set(func() { f.stub.mu.failSend = nil })
	eventually(t, "compaction", func() bool { return len(sideOf(f).history("k")) == 1 })
}

// TestMergeConflicts: a compaction is not a write of the key, so a transaction that has read it can
// commit.
func TestMergeConflicts(t *testing.T) {
	bounded(t)
	f := openAt(t, t.TempDir(), spillModes[1].change)
	op := f.GetMergeOperator([]byte("k"), concat, time.Hour)
	for _, v := range []string{"a", "b"} {
		require.NoError(t, op.Add([]byte(v)))
	}
	txn := f.NewTransaction(true)
	defer txn.Discard()
	_, err := txn.Get([]byte("k"))
	require.NoError(t, err)
	op.Stop()
	require.Len(t, sideOf(f).history("k"), 1)
	require.NoError(t, txn.Set([]byte("other"), nil))
	require.NoError(t, txn.Commit())
	require.EqualValues(t, 3, f.MaxVersion())
}

// TestMergeClose closes a database whose operators are at work. Badger's would end the process.
func TestMergeClose(t *testing.T) {
	for _, mode := range spillModes {
		t.Run(mode.name, func(t *testing.T) {
			dir := t.TempDir()
			bounded(t)
			var added int
			for range 5 {
				f := openAt(t, dir, mode.change)
				op := f.GetMergeOperator([]byte("k"), sum, 100*time.Microsecond)
				begun := make(chan struct{})
				adds := async(func() (n int) {
					for ; ; n++ {
						if n == 20 {
							close(begun)
						}
						if err := op.Add(number(1)); err != nil {
							return n
						}
					}
				})
				<-begun
				require.NoError(t, f.Close())
				added += <-adds
				op.Stop()
				require.Equal(t, ErrDBClosed, op.Add(number(1)))
				_, err := op.Get()
				require.Equal(t, ErrDBClosed, err)
				for len(f.events.failed) > 0 {
					require.NotEqual(t, "compact the values of a merge operator", (<-f.events.failed).Op)
				}
			}
			op := plainMerge(t, dir).operator("k", sum, time.Hour)
			v, err := op.Get()
			require.NoError(t, err)
			require.EqualValues(t, added, binary.BigEndian.Uint64(v))
			op.Stop()
		})
	}
}

// TestMergeErrorsAsBadger compares what Add and Get do where nothing can be added.
func TestMergeErrorsAsBadger(t *testing.T) {
	bounded(t)
	dirs := [2]string{t.TempDir(), t.TempDir()}
	compare := func(name string, plain, layer sides.MergeOperator) {
		t.Helper()
		outcome := func(op sides.MergeOperator) (text string) {
			var add, get error
			var v []byte
			text = caught(func() { add = op.Add([]byte("x")) }) + "; "
			text += caught(func() { v, get = op.Get() })
			return fmt.Sprintf("%s; %v; %q; %v", text, add, v, get)
		}
		require.Equal(t, outcome(plain), outcome(layer), name)
	}
	opt := testOptions(dirs[0])
	p, err := badger.Open(opt.Badger())
	require.NoError(t, err)
	f := openAt(t, dirs[1], spillModes[1].change)
	long := make([]byte, maxKeySize+1)
	tooLong := f.GetMergeOperator(long, concat, time.Hour)
	compare("key too long", p.GetMergeOperator(long, concat, time.Hour), tooLong)
	// Badger's stay: to stop them would end the process, of a closed or managed database
	tooLong.Stop()
	one, other := p.GetMergeOperator([]byte("k"), concat, time.Hour), f.GetMergeOperator([]byte("k"), concat, time.Hour)
	compare("one value", one, other)
	compare("two values", one, other)
	require.NoError(t, p.Close())
	require.NoError(t, f.Close())
	compare("closed", one, other)
	other.Stop()

	p, err = badger.Open(opt.Badger().WithReadOnly(true))
	require.NoError(t, err)
	f = openAt(t, dirs[1], func(opt *Options) { opt.ReadOnly = true })
	readOnly := f.GetMergeOperator([]byte("k"), concat, time.Hour)
	compare("read-only", p.GetMergeOperator([]byte("k"), concat, time.Hour), readOnly)
	readOnly.Stop()
	require.Empty(t, f.events.failed)
	require.NoError(t, p.Close())
	require.NoError(t, f.Close())

	p, err = badger.OpenManaged(opt.Badger())
	require.NoError(t, err)
	db, err := OpenManaged(testOptions(dirs[1]))
	require.NoError(t, err)
	managed := db.GetMergeOperator([]byte("k"), concat, time.Hour)
	compare("managed", p.GetMergeOperator([]byte("k"), concat, time.Hour), managed)
	managed.Stop()
	require.NoError(t, p.Close())
	require.NoError(t, db.Close())
}
