package badgerspill

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/integration_test/kit"
	"github.com/badgerspill/badgerspill/integration_test/kit/seed"
	"github.com/badgerspill/badgerspill/wbm"
)

var faultsAll = flag.Bool("faults.all", false, "in the tests of failing operations, fail every one, not one of a few")

// story is one database in one directory, over several openings, while operations on its files
// fail; and what those who used it were told.
type story struct {
	t     *testing.T
	where string
	fails *injector
	opt   Options
	db    *DB // nil: closed

	want  map[string]string // what was acknowledged
	alt   map[string]string // nil, or what is left if the drop that failed is finished
	next  int
	mu    sync.Mutex
	told  []error  // by calls and events
	lines []string // warnings and errors in the log
}

func newStory(t *testing.T, where string, fails *injector, syncWrites bool) *story {
	s := &story{t: t, where: where, fails: fails, want: map[string]string{}}
	opt := testOptions(t.TempDir())
	opt.MemTableSize, opt.ValueLogFileSize, opt.ValueThreshold = 4<<20, 4<<20, 1<<10
	opt.Tuning.SegmentSize, opt.SyncWrites, opt.KeepSpillOnClose = 4<<10, syncWrites, true
	opt.BlockTimeout = 5 * time.Second
	opt.Logger = s
	opt.EventListener = &EventListener{
		BackgroundError: func(info BackgroundErrorInfo) { s.note(info.Err) },
	}
	s.opt = opt
	return s
}

// note keeps an error that somebody was told.
func (s *story) note(err error) {
	if err != nil {
		s.mu.Lock()
		s.told = append(s.told, err)
		s.mu.Unlock()
	}
}

func (s *story) line(format string, args ...any) {
	s.mu.Lock()
	s.lines = append(s.lines, fmt.Sprintf(format, args...))
	s.mu.Unlock()
}

func (s *story) Errorf(format string, args ...any)   { s.line(format, args...) }
func (s *story) Warningf(format string, args ...any) { s.line(format, args...) }
func (s *story) Infof(string, ...any)                {}
func (s *story) Debugf(string, ...any)               {}

// injected requires that an error is the injected one.
func (s *story) injected(what string, err error) {
	s.t.Helper()
	if err != nil {
		s.note(err)
		require.ErrorIs(s.t, err, s.fails.kind.err, "%s: %s", s.where, what)
	}
}

// open opens the database, again if that failed.
func (s *story) open() {
	s.t.Helper()
	for i := 0; ; i++ {
		db, err := Open(s.opt)
		if err == nil {
			s.db = db
			return
		}
		s.injected("Open", err)
		require.LessOrEqual(s.t, i, s.fails.kind.times, "%s: it does not open any more", s.where)
	}
}

func (s *story) close() {
	s.t.Helper()
	s.injected("Close", s.db.Close())
	s.db = nil
}

func (s *story) reopen() {
	s.t.Helper()
	s.close()
	s.open()
	s.check()
}

// commit makes n commits at a time. Each sets two keys of its own and deletes those of one before,
// so half of it would show.
func (s *story) commit(n int) {
	s.t.Helper()
	// The time in which a spill that failed is not tried again is over.
	s.db.room.RetrySpill(0)
	type outcome struct {
		i   int
		err error
	}
	done := make(chan outcome, n)
	for range n {
		i := s.next
		s.next++
		go func() {
			done <- outcome{i, s.db.Update(func(txn *Txn) error {
				return errors.Join(
					txn.Set(fmt.Appendf(nil, "a/%03d", i), []byte(incompressible(300+i%7*100, i))),
					txn.Delete(fmt.Appendf(nil, "a/%03d", i-8)),
					txn.Delete(fmt.Appendf(nil, "p/%03d", i-8)),
					txn.Set(fmt.Appendf(nil, "p/%03d", i), fmt.Append(nil, i)))
			})}
		}()
	}
	for range n {
		o := receive(s.t, s.where+": end of a commit", done)
		if o.err != nil {
			s.injected("commit", o.err)
			continue
		}
		s.want[fmt.Sprintf("a/%03d", o.i)] = incompressible(300+o.i%7*100, o.i)
		s.want[fmt.Sprintf("p/%03d", o.i)] = fmt.Sprint(o.i)
		delete(s.want, fmt.Sprintf("a/%03d", o.i-8))
		delete(s.want, fmt.Sprintf("p/%03d", o.i-8))
	}
}

// spill makes commits one by one, and some at a time, that go to the spill if it can take them.
func (s *story) spill(n int) {
	s.t.Helper()
	m := s.db.manager
	bytes := int64(0.95*float64(m.Limit())) - m.Usage()
	s.db.account.Force(wbm.Memtable, bytes)
	for i := range n {
		s.commit(1 + i%2*2)
	}
	s.db.account.Release(wbm.Memtable, bytes)
}

// read reads with faults: an error or the right value, never another one.
func (s *story) read() {
	s.t.Helper()
	for _, k := range slices.Sorted(maps.Keys(s.want)) {
		s.injected("View", s.db.View(func(txn *Txn) error {
			v, err := read(txn, k)
			if err == nil {
				require.Equal(s.t, s.want[k], v, "%s: %s", s.where, k)
			}
			return err
		}))
	}
	got, err := contents(s.db)
	s.injected("iteration", err)
	if err == nil {
		s.same(got, s.want)
	}
}

func contents(db *DB) (map[string]string, error) {
	got := map[string]string{}
	err := db.View(func(txn *Txn) error {
		it := txn.NewIterator(DefaultIteratorOptions)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			v, err := it.Item().ValueCopy(nil)
			if err != nil {
				return err
			}
			got[string(it.Item().Key())] = string(v)
		}
		return nil
	})
	return got, err
}

func (s *story) same(got, want map[string]string) {
	s.t.Helper()
	require.Equal(s.t, slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got)), "%s", s.where)
	for k, v := range want {
		require.True(s.t, v == got[k], "%s: %s has another value", s.where, k)
	}
}

// check compares the whole database, without faults, with what was acknowledged: not one key less,
// and not one more.
func (s *story) check() {
	s.t.Helper()
	defer s.fails.set(s.fails.set(true))
	got, err := contents(s.db)
	require.NoError(s.t, err, s.where)
	if s.alt != nil {
		if len(got) == len(s.alt) {
			s.want = s.alt
		}
		s.alt = nil
	}
	s.same(got, s.want)
	require.NoError(s.t, s.db.View(func(txn *Txn) error {
		for k, v := range s.want {
			got, err := read(txn, k)
			require.NoError(s.t, err, "%s: %s", s.where, k)
			require.True(s.t, v == got, "%s: %s has another value", s.where, k)
		}
		return nil
	}))
}

func (s *story) drain() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), waitLimit)
	defer cancel()
	require.NoError(s.t, s.db.Drain(ctx), "%s: the spill does not drain", s.where)
}

// drop drops all keys with a prefix, "" for all. After an error the database is closed: that a
// failed drop leaves commits blocked, and reads of half of it, is said. The next Open finds all of
// it or nothing.
func (s *story) drop(prefix string) {
	s.t.Helper()
	left := maps.Clone(s.want)
	maps.DeleteFunc(left, func(k, _ string) bool { return strings.HasPrefix(k, prefix) })
	drop := s.db.DropAll
	if prefix != "" {
		drop = func() error { return s.db.DropPrefix([]byte(prefix)) }
	}
	if err := drop(); err != nil {
		s.injected("drop", err)
		s.alt = left
		s.reopen()
		return
	}
	s.want = left
	s.check()
}

// live leads the database through all that it does to files.
func (s *story) live() {
	s.open()
	s.commit(1)
	s.spill(5)
	s.read()
	s.check()
	s.reopen() // with two segments and more in the spill
	s.spill(3)
	s.injected("Sync", s.db.Sync())
	s.read()
	// A part of a chunk, which the next process begins again.
	for range 2 {
		_, err := s.db.feed.Replay(s.t.Context(), 1<<10)
		s.injected("replay", err)
	}
	s.injected("checkpoint", s.db.feed.Checkpoint(s.t.Context()))
	s.reopen()
	s.drain()
	s.check()
	s.commit(2) // to Badger
	s.spill(1)
	s.drain() // in the order of the log
	s.spill(3)
	s.drop("p/")
	s.spill(2)
	s.drop("")
	s.spill(4)
	s.check()
	s.opt.KeepSpillOnClose = false
	s.close()
}

// end closes the story: everything is there, in Badger too, the error was told, nothing is left
// running.
func (s *story) end() {
	s.t.Helper()
	s.fails.set(true)
	s.open()
	s.check()
	s.commit(1)
	s.drain()
	s.check()
	s.same(innerContents(s.t, s.db.inner), s.want)
	require.Equal(s.t, Direct, s.db.routerState(), s.where)
	require.NoError(s.t, s.db.Close(), s.where)
	require.False(s.t, interlocked(s.db), "%s: the interlock is left", s.where)
	left, err := os.ReadDir(filepath.Join(s.opt.Dir, "spill"))
	require.NoError(s.t, err)
	require.Len(s.t, left, 3, "%s: files beside LOCK, MANIFEST and NEWEST are left: %v", s.where, left)
	for _, op := range s.fails.hits() {
		if !s.wasTold() {
			s.t.Errorf("%s: nobody was told that it failed: %s", s.where, op)
		}
	}
}

func (s *story) wasTold() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.told, func(err error) bool { return errors.Is(err, s.fails.kind.err) }) ||
		slices.ContainsFunc(s.lines, func(line string) bool { return strings.Contains(line, s.fails.kind.err.Error()) })
}

func innerContents(t *testing.T, db *badger.DB) map[string]string {
	got := map[string]string{}
	txn := db.NewTransactionAt(math.MaxUint64, false)
	defer txn.Discard()
	it := txn.NewIterator(badger.DefaultIteratorOptions)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		v, err := it.Item().ValueCopy(nil)
		require.NoError(t, err)
		got[string(it.Item().Key())] = string(v)
	}
	return got
}

// everyOperationFails tells a story once for each operation, or for one of stride, that fails in
// it.
func everyOperationFails(t *testing.T, kinds []fault, stride int, seams func(*injector) seams) {
	first := seed.Of(t) // says with which operation it begins
	for _, kind := range kinds {
		for _, syncWrites := range []bool{false, true} {
			name := fmt.Sprintf("%s/sync %v", kind.name, syncWrites)
			t.Run(name, func(t *testing.T) {
				stride := stride
				if kind.knows != nil {
					stride = (stride + 2) / 3 // these are few
				}
				n := 1 + rand.New(rand.NewPCG(first, 1)).IntN(stride)
				if *faultsAll {
					n, stride = 1, 1
				}
				runs := 0
				for reached := true; reached; n += stride {
					runs++
					t.Run(fmt.Sprint(n), func(t *testing.T) {
						bounded(t)
						before := kit.CurrentGoroutines()
						fails := &injector{kind: kind, at: n}
						defer func() { reached = len(fails.hits()) > 0 }()
						s := newStory(t, fmt.Sprintf("%s, operation %d", name, n), fails, syncWrites)
						s.opt.seams = seams(fails)
						s.live()
						s.end()
						require.NoError(t, before.Gone(), s.where)
					})
				}
				t.Logf("%d runs, %d operations", runs, n)
			})
		}
	}
}

// Whichever operation on the layer's files fails, wherever: what was acknowledged is there and
// nothing else is, at once, after a reopen, and in Badger in the end; somebody was told; and no
// goroutine is left.
func TestEveryFileOperationFails(t *testing.T) {
	everyOperationFails(t, fileFaults, 67, func(fails *injector) seams {
		return seams{fs: faultFS(fails)}
	})
}

// The same for what Badger is asked to do.
func TestEveryOperationOfBadgerFails(t *testing.T) {
	everyOperationFails(t, engineFaults, 9, func(fails *injector) seams {
		return seams{engine: func(e engine) engine { return &faultEngine{e, fails} }}
	})
}
