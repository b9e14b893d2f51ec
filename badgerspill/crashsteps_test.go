package badgerspill

import (
	"path/filepath"
	"sync"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"
)

// crashes copies the directory before each operation of the file system that changes something, as
// a process that is killed there would leave it, until stop is called. It returns the copies, and
// what was about to happen.
func (f *fixture) crashes() (stop func() (dirs, steps []string)) {
	var mu sync.Mutex
	var dirs, steps []string
	f.hooks.set(func(op, path string) error {
		switch op {
		case "write", "sync", "rename", "remove", "truncate", "syncdir", "create":
			mu.Lock()
			defer mu.Unlock()
			dirs = append(dirs, crash(f.t, f.opt.Dir))
			steps = append(steps, op+" "+filepath.Base(path))
		}
		return nil
	})
	return func() ([]string, []string) {
		f.hooks.clear()
		mu.Lock()
		defer mu.Unlock()
		return dirs, steps
	}
}

// openInTheMiddleOfADrop returns a database of which DropAll has dropped Badger's part, and has
// failed to drop the spill's, as it does until the hooks are cleared.
func openInTheMiddleOfADrop(t *testing.T) *fixture {
	t.Helper()
	f := open(t)
	f.put("direct", "1")
	f.spillOne("k", "1")
	f.hooks.set(func(op, path string) error {
		if op == "rename" && filepath.Dir(path) == filepath.Join(f.opt.Dir, "spill") {
			return errTest
		}
		return nil
	})
	require.ErrorIs(t, f.DropAll(), errTest)
	require.ErrorIs(t, put(f.DB, "new", "1"), ErrBlockedWrites)
	return f
}

// endDrop has the drop finished. A call is refused while the retry in the background has the
// turn, which then finishes it.
func (f *fixture) endDrop() {
	f.t.Helper()
	eventually(f.t, "the drop is finished", func() bool {
		if end, err := f.beginDrop(); err == nil {
			end()
		}
		return f.unfinished.Load() == nil
	})
}

// A process that is killed while a drop that failed is unfinished, or in any step of its retry:
// what was dropped does not come back, and what is committed after it stays.
func TestCrashWhileADropIsUnfinished(t *testing.T) {
	f := openInTheMiddleOfADrop(t)
	refused := crash(t, f.opt.Dir)
	stop := f.crashes()
	f.endDrop()
	require.Nil(t, f.unfinished.Load())
	dirs, steps := stop()
	require.NotEmpty(t, dirs)
	dirs, steps = append(dirs, refused), append(steps, "before the retry")
	for i, dir := range dirs {
		t.Run(steps[i], func(t *testing.T) {
			g := openAt(t, dir)
			require.Equal(t, absent, g.get("direct"))
			require.Equal(t, absent, g.get("k"))
			g.put("new", "1")
			h := openAt(t, crash(t, dir))
			require.Equal(t, "1", h.get("new"))
			require.Equal(t, absent, h.get("k"))
		})
	}
}

// Plain Badger after a kill in the middle of a drop, or in a step of its end. It gets in only once
// nothing is to be dropped any more, so the next Open drops nothing of what it writes.
func TestPlainBadgerInTheMiddleOfADrop(t *testing.T) {
	f := openInTheMiddleOfADrop(t)
	dirs, steps := []string{crash(t, f.opt.Dir)}, []string{"before its end"}
	stop := f.crashes()
	f.endDrop()
	more, moreSteps := stop()
	require.NotEmpty(t, more)
	dirs, steps = append(append(dirs, more...), crash(t, f.opt.Dir)), append(append(steps, moreSteps...), "after its end")
	got, kept := 0, 0
	for i, dir := range dirs {
		t.Run(steps[i], func(t *testing.T) {
			plain, err := badger.Open(testOptions(dir).Badger())
			want := absent
			if err == nil {
				got++
				want = "1"
				require.NoError(t, plain.Update(func(txn *badger.Txn) error { return txn.Set([]byte("plain"), []byte("1")) }))
				require.NoError(t, plain.Close())
			} else {
				kept++
				require.ErrorContains(t, err, "UNREPLAYED-SPILL")
			}
			g := openAt(t, dir)
			require.Equal(t, want, g.get("plain"))
			require.Equal(t, absent, g.get("direct"))
			require.Equal(t, absent, g.get("k"))
		})
	}
	require.Positive(t, got, "after it")
	require.Positive(t, kept, "before it")
}

// A process that is killed in any step of its first turn to the spill: plain Badger gets in only
// while the spill has nothing, so what it writes then is the newest.
func TestCrashInTheFirstTurnToTheSpill(t *testing.T) {
	f := open(t)
	f.put("direct", "1")
	stop := f.crashes()
	f.spillOne("k", "2")
	dirs, steps := stop()
	require.NotEmpty(t, dirs)
	acknowledged := openAt(t, crash(t, f.opt.Dir))
	require.Equal(t, "2", acknowledged.get("k"))
	got, kept := 0, 0
	for i, dir := range dirs {
		t.Run(steps[i], func(t *testing.T) {
			want := "1"
			plain, err := badger.Open(testOptions(dir).Badger())
			if err == nil {
				got++
				want = "3"
				require.NoError(t, plain.Update(func(txn *badger.Txn) error { return txn.Set([]byte("direct"), []byte(want)) }))
				require.NoError(t, plain.Close())
			} else {
				kept++
				require.ErrorContains(t, err, "UNREPLAYED-SPILL")
			}
			g := openAt(t, dir)
			require.Equal(t, want, g.get("direct"))
			if k := g.get("k"); err == nil || k != "2" {
				require.Equal(t, absent, k)
			}
		})
	}
	require.Positive(t, got, "before the interlock")
	require.Positive(t, kept, "after it")
}
