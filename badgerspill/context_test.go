package badgerspill

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4/pb"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/internal/marker"
	"github.com/badgerspill/badgerspill/badgerspill/internal/pipeline"
	"github.com/badgerspill/badgerspill/integration_test/kit"
	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/wbm"
)

func putContext(ctx context.Context, db *DB, key, value string) error {
	return db.UpdateContext(ctx, func(txn *Txn) error { return txn.Set([]byte(key), []byte(value)) })
}

// waits are the places where a commit may wait before it has its place. begin makes commits wait
// there and returns how to tell that one does, and how to end it.
var waits = []struct {
	name   string
	open   func(*Options)
	begin  func(f *fixture) (waits func() bool, end func())
	atOnce bool // a negative BlockTimeout ends it
}{
	{"room in memory", noSpill, func(f *fixture) (func() bool, func()) {
		return f.parked, f.occupy(f.manager.Limit())
	}, true},
	{"room in the spill", func(opt *Options) { opt.SpillCapacity, opt.Tuning.ReplayHighWater = 64<<10, 1 }, func(f *fixture) (func() bool, func()) {
		f.stub.set(func() { f.stub.mu.onLoad = func(int, []entry) error { return errTest } })
		f.spillOne("before", "v")
		n := 64<<10 - f.spill.Usage()
		f.spill.Force(n, 0)
		return f.parked, func() {
			f.spill.ReleaseSpillover(n, 0, 0)
			f.stub.set(func() { f.stub.mu.onLoad = nil })
		}
	}, true},
	{"its turn", func(opt *Options) { opt.SpillCapacity, opt.Tuning.ReplayHighWater = 64<<10, 1e-9 }, func(f *fixture) (func() bool, func()) {
		f.spillOne("before", "v")
		f.spill.Force(64<<10-f.spill.Usage()-1000, 0) // there is room for one more, very slowly
		slowly := func() bool { return f.spill.Stats().Slowed > 0 || f.parked() }
		f.stub.set(func() { f.stub.mu.onLoad = func(int, []entry) error { return errTest } })
		return slowly, func() { f.stub.set(func() { f.stub.mu.onLoad = nil }) }
	}, true},
	{"a hand-over", func(*Options) {}, func(f *fixture) (func() bool, func()) {
		open := f.pipe.HoldCommits()
		return func() bool { return f.account.UsageByKind(wbm.InFlight) > 0 }, open
	}, false},
	{"Badger's full queue", noSpill, func(f *fixture) (func() bool, func()) {
		f.stub.hold()
		for i := range pipeline.MaxInFlight {
			f.putAsync(fmt.Sprint("fill", i), "v")
		}
		eventually(f.t, "the queue is full", func() bool { return f.stub.waiting() == pipeline.MaxInFlight })
		asks := func() bool {
			return f.pipe.Status().Waiting
		}
		return asks, f.stub.release
	}, true},
	{"a subscriber", func(*Options) {}, func(f *fixture) (func() bool, func()) {
		ctx, cancel := context.WithCancel(context.Background())
		told, slow := make(chan struct{}, 1), make(chan struct{})
		ended := async(func() error {
			return f.Subscribe(ctx, func(*KVList) error {
				select {
				case told <- struct{}{}:
				default:
				}
				<-slow
				return nil
			}, []pb.Match{{Prefix: []byte("k")}})
		})
		eventually(f.t, "it subscribes", func() bool { return f.publisher.count.Load() == 1 })
		f.put("k", "v")
		receive(f.t, "an update", told)
		f.publisher.mu.Lock()
		for _, s := range f.publisher.subs {
			s.bytes = maxBehindBytes
		}
		f.publisher.mu.Unlock()
		f.t.Cleanup(func() { cancel(); <-ended })
		end := sync.OnceFunc(func() { close(slow) })
		f.t.Cleanup(end)
		never := func() bool { return true } // it says so nowhere
		return never, func() {
			f.publisher.mu.Lock()
			for _, s := range f.publisher.subs {
				s.bytes = 0
			}
			f.publisher.room.Broadcast()
			f.publisher.mu.Unlock()
			end()
		}
	}, true},
}

// TestContextEndsEveryWait: a commit whose context ends while it waits has written nothing and
// holds nothing, and neither does one that waited for BlockTimeout; one that waits long enough gets
// through.
func TestContextEndsEveryWait(t *testing.T) {
	large := incompressible(2<<10, 7) // too large for what is left of the spill
	for _, row := range waits {
		held := func(f *fixture) [3]int64 {
			return [3]int64{f.account.UsageByKind(wbm.InFlight), f.room.InFlight(), f.spill.Usage()}
		}
		t.Run(row.name+"/cancelled", func(t *testing.T) {
			f := open(t, row.open)
			waiting, end := row.begin(f)
			before := held(f)
			cause := errors.New("the client has left")
			ctx, cancel := context.WithCancelCause(context.Background())
			defer cancel(nil)
			commit := async(func() error { return putContext(ctx, f.DB, "k/cancelled", large) })
			eventually(t, "it waits", waiting)
			require.Empty(t, commit)
			cancel(cause)
			err := receive(t, "the commit", commit)
			require.ErrorIs(t, err, context.Canceled)
			require.ErrorIs(t, err, cause)
			require.Contains(t, err.Error(), "nothing was written")
			eventually(t, "it holds nothing", func() bool { return held(f) == before })
			end()
			require.NoError(t, receive(t, "the next commit", f.putAsync("k/next", "v")))
			require.Equal(t, absent, f.get("k/cancelled"))
			require.Equal(t, "v", f.get("k/next"))
		})
		t.Run(row.name+"/patient", func(t *testing.T) {
			f := open(t, row.open)
			waiting, end := row.begin(f)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			commit := async(func() error { return putContext(ctx, f.DB, "k/patient", large) })
			eventually(t, "it waits", waiting)
			end()
			require.NoError(t, receive(t, "the commit", commit))
			require.Equal(t, large, f.get("k/patient"))
		})
		t.Run(row.name+"/deadline", func(t *testing.T) {
			f := open(t, row.open)
			_, end := row.begin(f)
			defer end()
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			defer cancel()
			err := receive(t, "the commit", async(func() error { return putContext(ctx, f.DB, "k", large) }))
			require.ErrorIs(t, err, context.DeadlineExceeded)
		})
		t.Run(row.name+"/BlockTimeout", func(t *testing.T) {
			f := open(t, row.open)
			_, end := row.begin(f)
			defer end()
			const timeout = 30 * time.Millisecond
			f.DB.opt.BlockTimeout = timeout // not for what begin does
			before, begun := f.SpillStats().BlockTimeouts, time.Now()
			require.ErrorIs(t, receive(t, "the commit", f.putAsync("k", large)), ErrWriteBlocked)
			require.GreaterOrEqual(t, time.Since(begun), timeout)
			require.Equal(t, before+1, f.SpillStats().BlockTimeouts)
		})
		t.Run(row.name+"/negative", func(t *testing.T) {
			f := open(t, row.open)
			waiting, end := row.begin(f)
			f.DB.opt.BlockTimeout = -1
			commit := f.putAsync("k", large)
			if !row.atOnce {
				eventually(t, "it waits", waiting)
				end()
				require.NoError(t, receive(t, "the commit", commit))
				return
			}
			require.ErrorIs(t, receive(t, "the commit", commit), ErrWriteBlocked)
			require.False(t, f.parked())
			end()
		})
		t.Run(row.name+"/closed", func(t *testing.T) {
			f := open(t, row.open)
			waiting, end := row.begin(f)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			commit := async(func() error { return putContext(ctx, f.DB, "k", large) })
			eventually(t, "it waits", waiting)
			closed := async(f.Close)
			if row.name != "a subscriber" && row.name != "a hand-over" {
				require.ErrorIs(t, receive(t, "the commit", commit), ErrBlockedWrites)
			}
			end()
			receive(t, "Close", closed)
		})
	}
}

// TestContextDoesNotEndWhatIsUnderWay: from its place in the commit order on a commit is waited
// for, whoever is to answer it.
func TestContextDoesNotEndWhatIsUnderWay(t *testing.T) {
	for _, row := range []struct {
		name  string
		begin func(f *fixture) (under func() bool, end func())
	}{
		{"given to Badger", func(f *fixture) (func() bool, func()) {
			f.stub.hold()
			return func() bool { return f.stub.waiting() == 1 }, f.stub.release
		}},
		{"in the log", func(f *fixture) (func() bool, func()) {
			f.spillOne("before", "v")
			openingEnded := make(chan struct{})
			f.hooks.set(func(op, path string) error {
				if op == "write" && isSegment(path) {
					<-openingEnded
				}
				return nil
			})
			return func() bool { return f.log.State().Queued == 1 }, func() { close(openingEnded) }
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := open(t)
			under, end := row.begin(f)
			ctx, cancel := context.WithCancel(context.Background())
			commit := async(func() error { return putContext(ctx, f.DB, "k", "v") })
			eventually(t, "it is under way", under)
			cancel()
			never(t, 30*time.Millisecond, "given up", func() bool { return len(commit) > 0 })
			end()
			require.NoError(t, receive(t, "the commit", commit))
			require.Equal(t, "v", f.get("k"))
		})
	}
}

// TestContextEndsTheWaitOfAFirstRead: earlier commits are not visible yet.
func TestContextEndsTheWaitOfAFirstRead(t *testing.T) {
	f := open(t)
	f.put("k", "1")
	f.stub.hold()
	first := f.putAsync("k", "2")
	eventually(t, "sent", func() bool { return f.stub.waiting() == 1 })
	for name, read := range map[string]func(ctx context.Context) error{
		"get": func(ctx context.Context) error {
			return f.ViewContext(ctx, func(txn *Txn) error {
				_, err := txn.Get([]byte("k"))
				return err
			})
		},
		"get whose error is ignored": func(ctx context.Context) error {
			return f.ViewContext(ctx, func(txn *Txn) error {
				_, _ = txn.Get([]byte("k"))
				return nil
			})
		},
		"iterator": func(ctx context.Context) error {
			return f.ViewContext(ctx, func(txn *Txn) error {
				it := txn.NewIterator(DefaultIteratorOptions)
				defer it.Close()
				for it.Rewind(); it.Valid(); it.Next() {
					return errors.New("an item")
				}
				for it.Seek([]byte("k")); it.ValidForPrefix([]byte("k")); it.Next() {
					return errors.New("an item")
				}
				return nil
			})
		},
		"update": func(ctx context.Context) error {
			return f.UpdateContext(ctx, func(txn *Txn) error {
				if err := txn.Set([]byte("never"), []byte("v")); err != nil {
					return err
				}
				_, _ = txn.Get([]byte("k"))
				return nil
			})
		},
	} {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		require.ErrorIs(t, receive(t, name, async(func() error { return read(ctx) })), context.DeadlineExceeded, name)
		cancel()
		require.ErrorIs(t, read(ctx), context.DeadlineExceeded, "%s: ended before", name)
	}
	// A blind write waits for nobody, and a read with time waits.
	reading := async(func() string {
		var v string
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		_ = f.ViewContext(ctx, func(txn *Txn) (err error) {
			v, err = read(txn, "k")
			return err
		})
		return v
	})
	never(t, 20*time.Millisecond, "read before it is visible", func() bool { return len(reading) > 0 })
	f.stub.release()
	require.NoError(t, receive(t, "first", first))
	require.Equal(t, "2", receive(t, "the read", reading))
	require.Equal(t, absent, f.get("never"))
}

func TestCommitContextInManagedMode(t *testing.T) {
	f := open(t, noSpill, func(opt *Options) { opt.managed = true })
	free := f.occupy(f.manager.Limit())
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	txn := f.NewTransactionAt(1, true)
	require.NoError(t, txn.Set([]byte("k"), []byte("v")))
	require.ErrorIs(t, txn.CommitAtContext(ctx, 5), context.DeadlineExceeded)
	free()
	txn = f.NewTransactionAt(1, true)
	require.NoError(t, txn.Set([]byte("k"), []byte("v")))
	require.NoError(t, txn.CommitAtContext(context.Background(), 5))
	require.Equal(t, "v", f.get("k"))
}

// TestContextsEndAtRandom: writers whose contexts end at random moments, over a budget and a spill
// that are full most of the time. Who got an error of his context has written nothing, who got none
// has, then and after a crash.
func TestContextsEndAtRandom(t *testing.T) {
	r := random(t)
	f := open(t, small, eager, func(opt *Options) {
		opt.MemoryLimit, opt.SpillCapacity, opt.StallThreshold = 2<<20, 512<<10, time.Millisecond
		// the copy of a crash must not miss a table that goes
		opt.NumLevelZeroTables, opt.NumLevelZeroTablesStall = 1000, 2000
	})
	const writers, commits = 8, 60
	var outcome [writers][commits]error
	var load kit.WaitGroup
	for w := range writers {
		var after [commits]time.Duration
		for i := range after {
			after[i] = time.Duration(r.IntN(4000)) * time.Microsecond
		}
		value := incompressible(2000+r.IntN(40<<10), w)
		load.Go(func() {
			for i := range commits {
				ctx, cancel := context.WithTimeout(context.Background(), after[i])
				outcome[w][i] = putContext(ctx, f.DB, fmt.Sprintf("%d/%d", w, i), value)
				cancel()
			}
		})
	}
	load.Wait()
	var given, done int
	check := func(db *DB) {
		given, done = 0, 0
		require.NoError(t, db.View(func(txn *Txn) error {
			for w := range writers {
				for i, err := range outcome[w] {
					_, got := txn.Get([]byte(fmt.Sprintf("%d/%d", w, i)))
					switch {
					case err == nil:
						done++
						require.NoError(t, got, "%d/%d was acknowledged", w, i)
					case errors.Is(err, context.DeadlineExceeded):
						given++
						require.ErrorIs(t, got, ErrKeyNotFound, "%d/%d was given up", w, i)
					default:
						require.NoError(t, err)
					}
				}
			}
			return nil
		}))
	}
	check(f.DB)
	t.Logf("%d given up, %d acknowledged", given, done)
	require.Positive(t, given)
	require.Positive(t, done)
	crashed := openAt(t, crash(t, f.opt.Dir), small)
	check(crashed.DB)
	f.drained()
	require.Zero(t, f.account.UsageByKind(wbm.InFlight))
	require.Zero(t, f.manager.Leaks())
	check(f.DB)
}

// countdown is a context that ends when it is looked at for the n-th time.
type countdown struct {
	context.Context
	left atomic.Int64
}

func (c *countdown) Err() error {
	if c.left.Add(-1) < 0 {
		return context.Canceled
	}
	return nil
}

// tree returns the hash of each file of a directory.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all[path] = fmt.Sprintf("%x", sha256.Sum256(b))
		return err
	}))
	return all
}

// TestOpenGivenUp: Open is given up each time that it looks at its context. While it reads the
// spill nothing at all is changed; nothing stays locked, no goroutine is left, and in the end it
// opens and has everything.
func TestOpenGivenUp(t *testing.T) {
	f := open(t, func(opt *Options) { opt.Tuning.SegmentSize = 1 << 20 })
	free := f.occupy(f.share(0.95))
	for i := range 40 {
		f.put(key(i), incompressible(100<<10, i))
	}
	free()
	drainSome(f, 2) // for Badger to have something to compare
	dir := crash(t, f.opt.Dir)
	indexes, err := filepath.Glob(filepath.Join(dir, "spill", "*.idx"))
	require.NoError(t, err)
	for _, path := range indexes { // so that all of it is read
		require.NoError(t, os.Remove(path))
	}
	require.NoError(t, os.Remove(filepath.Join(dir, marker.InterlockName))) // and compared
	before := tree(t, dir)
	opt := testOptions(dir)
	goroutines := kit.CurrentGoroutines()
	var inRecovery, later int
	for n := int64(0); ; n++ {
		ctx := &countdown{Context: context.Background()}
		ctx.left.Store(n)
		db, err := OpenContext(ctx, opt)
		if err == nil {
			for i := range 40 {
				require.Equal(t, incompressible(100<<10, i), get(t, db, key(i)))
			}
			require.NoError(t, db.Close())
			break
		}
		require.ErrorIs(t, err, context.Canceled)
		require.Contains(t, err.Error(), dir)
		require.NoError(t, goroutines.Gone())
		if strings.Contains(err.Error(), "nothing was changed") {
			inRecovery++
			require.Equal(t, before, tree(t, dir), "look %d", n)
		} else if n > 0 {
			later++
		}
	}
	require.GreaterOrEqual(t, inRecovery, 4)
	require.GreaterOrEqual(t, later, 10)
}

func TestOpenWhoseContextHasEnded(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "db")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := OpenContext(ctx, testOptions(dir))
	require.ErrorIs(t, err, context.Canceled)
	require.NoDirExists(t, dir)
	db, err := OpenManagedContext(context.Background(), testOptions(dir))
	require.NoError(t, err)
	require.Panics(t, func() { db.NewTransaction(true) })
	require.NoError(t, db.Close())
}

// TestOpenProgress: the phases come in order, each with a begin and an end, and the numbers are
// those of the spill.
func TestOpenProgress(t *testing.T) {
	f := open(t)
	free := f.occupy(f.share(0.95))
	for i := range 30 {
		f.put(key(i), incompressible(100<<10, i))
	}
	free()
	size := f.log.State().LiveBytes
	opt := testOptions(crash(t, f.opt.Dir))
	var told []OpenProgressInfo
	opt.EventListener = &EventListener{OpenProgress: func(i OpenProgressInfo) { told = append(told, i) }}
	db, err := Open(opt)
	require.NoError(t, err)
	require.NoError(t, db.Close())
	require.GreaterOrEqual(t, len(told), 4)
	require.Equal(t, OpenProgressInfo{Phase: OpenSpill, Duration: told[0].Duration}, told[0])
	var done []OpenProgressInfo
	for i, p := range told {
		if i > 0 && told[i-1].Phase == p.Phase {
			require.GreaterOrEqual(t, p.Bytes, told[i-1].Bytes)
			require.GreaterOrEqual(t, p.Duration, told[i-1].Duration)
		}
		require.LessOrEqual(t, p.Bytes, p.TotalBytes)
		if p.Done {
			done = append(done, p)
		}
	}
	require.Len(t, done, 2)
	require.Equal(t, []OpenPhase{OpenSpill, OpenBadger}, []OpenPhase{done[0].Phase, done[1].Phase})
	require.EqualValues(t, 30, done[0].Commits)
	require.Equal(t, done[0].TotalBytes, done[0].Bytes)
	require.GreaterOrEqual(t, done[0].Bytes, size)
	require.Positive(t, done[0].Rate())
}

// TestDrainProgress: it grows to the whole, which the last one says.
func TestDrainProgress(t *testing.T) {
	bounded(t)
	var mu sync.Mutex
	var told []DrainProgressInfo
	opt := testOptions(t.TempDir())
	opt.Tuning.SegmentSize = 256 << 10
	opt.EventListener = &EventListener{DrainProgress: func(i DrainProgressInfo) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, i)
	}}
	opt.seams.engine = func(e engine) engine {
		stub := &stubEngine{engine: e}
		// each batch is told of
		stub.mu.onLoad = func(int, []entry) error { <-time.After(time.Duration(progressInterval)); return nil }
		return stub
	}
	db, err := Open(opt)
	require.NoError(t, err)
	f := &fixture{DB: db, t: t, opt: opt}
	free := f.occupy(f.share(0.95))
	for i := range 80 {
		f.put(key(i), incompressible(64<<10, i))
	}
	free()
	size := db.log.State().LiveBytes
	require.NoError(t, db.Drain(context.Background()))
	eventually(t, "the end is told", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(told) > 0 && told[len(told)-1].Done
	})
	mu.Lock()
	all := told
	mu.Unlock()
	require.GreaterOrEqual(t, len(all), 3, "more than the end")
	for i, p := range all[:len(all)-1] {
		require.False(t, p.Done)
		require.LessOrEqual(t, p.Bytes, p.TotalBytes)
		if i > 0 {
			require.GreaterOrEqual(t, p.Bytes, all[i-1].Bytes)
			require.GreaterOrEqual(t, p.Commits, all[i-1].Commits)
		}
	}
	last := all[len(all)-1]
	require.True(t, last.Done)
	require.Equal(t, size, last.Bytes)
	require.Equal(t, size, last.TotalBytes)
	require.EqualValues(t, 80, last.Commits)
	require.EqualValues(t, 80, last.TotalCommits)
	require.Positive(t, last.Rate())
	require.Zero(t, last.TimeLeft())

	// Another drain begins anew.
	f.spillOne("k", "v")
	require.NoError(t, db.Close()) // drains
	mu.Lock()
	defer mu.Unlock()
	last = told[len(told)-1]
	require.True(t, last.Done)
	require.EqualValues(t, 1, last.Commits)
	require.Less(t, last.Bytes, int64(1<<10))
}

// TestCloseGivenUp: the database is closed all the same, the error says that the spill stays, and
// the next Open has everything.
func TestCloseGivenUp(t *testing.T) {
	for _, row := range []struct {
		name  string
		loads int // batches of replay before the context ends; 0: it has ended before
	}{{"before it drains", 0}, {"at the first batch", 1}, {"in the middle", 3}} {
		t.Run(row.name, func(t *testing.T) {
			goroutines := kit.CurrentGoroutines()
			f := open(t, func(opt *Options) { opt.Tuning.SegmentSize = 256 << 10 })
			free := f.occupy(f.share(0.95))
			for i := range 100 {
				f.put(key(i), incompressible(64<<10, i))
			}
			free()
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			if row.loads == 0 {
				cancel()
			}
			f.stub.set(func() {
				f.stub.mu.onLoad = func(n int, _ []entry) error {
					if n == row.loads {
						cancel()
					}
					if n > row.loads+1 {
						t.Errorf("batch %d after the context has ended", n)
					}
					return nil
				}
			})
			err := receive(t, "Close", async(func() error { return f.CloseContext(ctx) }))
			require.ErrorIs(t, err, context.Canceled)
			require.Contains(t, err.Error(), "stays for the next Open")
			require.True(t, f.IsClosed())
			require.NoError(t, f.Close())
			require.ErrorIs(t, put(f.DB, "k", "v"), ErrDBClosed)
			require.NoError(t, goroutines.Gone())
			again := openAt(t, f.opt.Dir)
			for i := range 100 {
				require.Equal(t, incompressible(64<<10, i), again.get(key(i)))
			}
			require.NoError(t, again.Close())
		})
	}
}

// drainSome gives up a drain after so many batches.
func drainSome(f *fixture, batches int) {
	f.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	f.stub.set(func() {
		f.stub.mu.onLoad = func(n int, _ []entry) error {
			if n == batches {
				cancel()
			}
			return nil
		}
	})
	require.ErrorIs(f.t, receive(f.t, "Drain", async(func() error { return f.Drain(ctx) })), context.Canceled)
	eventually(f.t, "replay rests", func() bool { return f.SpillStats().ReplayState == "waiting" })
}

// TestDrainGivenUp: the rest stays readable in the spill, and the next Drain ends.
func TestDrainGivenUp(t *testing.T) {
	f := open(t, func(opt *Options) { opt.Tuning.SegmentSize = 256 << 10 })
	free := f.occupy(f.share(0.95))
	for i := range 100 {
		f.put(key(i), incompressible(64<<10, i))
	}
	free()
	drainSome(f, 2)
	require.Equal(t, Spilling, f.routerState())
	crashed := openAt(t, crash(t, f.opt.Dir))
	for i := range 100 {
		require.Equal(t, incompressible(64<<10, i), f.get(key(i)))
		require.Equal(t, incompressible(64<<10, i), crashed.get(key(i)))
	}
	f.drained()
	f.direct()
}

// TestOpenGivenUpWithATornTail: what would be cut off stays, until recovery has decided.
func TestOpenGivenUpWithATornTail(t *testing.T) {
	f := open(t)
	f.spillOne("k", "v")
	f.put("k2", incompressible(200<<10, 1))
	dir := crash(t, f.opt.Dir)
	paths := segments(t, dir)
	require.Len(t, paths, 1)
	info, err := os.Stat(paths[0])
	require.NoError(t, err)
	require.NoError(t, os.Truncate(paths[0], info.Size()-1))
	before := tree(t, dir)
	for n := int64(0); ; n++ {
		ctx := &countdown{Context: context.Background()}
		ctx.left.Store(n)
		id, _, err := marker.ReadIdentity(spillfile.OS, dir)
		require.NoError(t, err)
		l, err := spillfile.OpenContext(ctx, spillfile.Options{Dir: filepath.Join(dir, "spill"), DatabaseID: id, Existing: true})
		if err == nil {
			require.EqualValues(t, 1, l.State().LiveBatches)
			require.NoError(t, l.Close())
			require.Greater(t, n, int64(4))
			return
		}
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, before, tree(t, dir), "look %d", n)
	}
}
