package host

import (
	"os"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/wbm"
)

const mib = 1 << 20

// fakeTree is a Badger whose memtables and tables the test makes up.
type fakeTree struct {
	t      *testing.T
	opt    badger.Options
	levels []badger.LevelInfo
	tables []badger.TableInfo
	listed int // how often Tables was called
	newest uint64
}

func (f *fakeTree) Opts() badger.Options       { return f.opt }
func (f *fakeTree) MaxVersion() uint64         { return f.newest }
func (f *fakeTree) Levels() []badger.LevelInfo { return f.levels }
func (f *fakeTree) Tables() []badger.TableInfo { f.listed++; return f.tables }

// memtable makes a memtable's log.
func (f *fakeTree) memtable(numbers ...int) {
	for _, n := range numbers {
		require.NoError(f.t, os.WriteFile(MemPath(f.opt.Dir, n), []byte("log"), 0o600))
	}
}

// gone removes a memtable's log.
func (f *fakeTree) gone(number int) { require.NoError(f.t, os.Remove(MemPath(f.opt.Dir, number))) }

// observed are memtables under observation, with a budget and a clock.
type observed struct {
	*Memtables
	tree    *fakeTree
	account *wbm.Account
	clock   int64
}

// observe opens a Badger that has memtables of those numbers, under a budget of 8 MiB.
func observe(t *testing.T, numbers ...int) *observed {
	t.Helper()
	budget, err := wbm.New(wbm.Options{Limit: 8 * mib})
	require.NoError(t, err)
	o := &observed{account: budget.Register(wbm.Holder{Name: t.Name()}), clock: int64(time.Hour)}
	o.tree = &fakeTree{t: t, opt: badger.DefaultOptions(t.TempDir()).WithMemTableSize(mib).WithNumMemtables(2).WithNumLevelZeroTablesStall(5)}
	o.tree.memtable(numbers...)
	o.Memtables, err = NewMemtables(o.tree, o.account, func() int64 { return o.clock }, true)
	require.NoError(t, err)
	t.Cleanup(func() { require.Zero(t, budget.Leaks()) })
	return o
}

// answer counts bytes in flight and has Badger answer them.
func (o *observed) answer(bytes int64, ts uint64) {
	o.account.Force(wbm.InFlight, bytes)
	o.Answered(bytes, ts)
}

func (o *observed) counted() int64 { return o.account.UsageByKind(wbm.Memtable) }

// relief is a Look while memory is asked for.
func (o *observed) relief() (seal bool) {
	o.AskRelief()
	return o.Look()
}

// TestMemtablesOfAnUncleanStop: all but the newest are on their way to disk, and count as full.
func TestMemtablesOfAnUncleanStop(t *testing.T) {
	o := observe(t, 3, 4, 5)
	require.Equal(t, Known{Active: 5, Sealed: []int{3, 4}, Bytes: 2 * mib}, o.Known())
	require.EqualValues(t, 2*mib, o.counted())
	require.True(t, o.Flushing())
	o.tree.gone(3)
	require.False(t, o.Look())
	require.EqualValues(t, mib, o.counted())
	o.tree.gone(4)
	o.Look()
	require.Zero(t, o.counted())
	require.Equal(t, Known{Active: 5}, o.Known())
	require.False(t, o.Flushing())
	require.False(t, o.Pinned())
}

// TestBytesGoWithTheirMemtable: they count until its log is gone, and not a moment longer.
func TestBytesGoWithTheirMemtable(t *testing.T) {
	o := observe(t, 1)
	o.answer(100, 1)
	require.Zero(t, o.account.UsageByKind(wbm.InFlight))
	o.tree.memtable(2)
	o.Look()
	o.answer(10, 2)
	require.Equal(t, Known{Active: 2, Sealed: []int{1}, Bytes: 110}, o.Known())
	o.tree.gone(1)
	o.Look()
	require.EqualValues(t, 10, o.counted())
}

// TestMemtableThatCameAndWentUnseen between two looks: what came before it is flushed, too.
func TestMemtableThatCameAndWentUnseen(t *testing.T) {
	o := observe(t, 1)
	o.answer(100, 1)
	o.tree.memtable(3)
	o.Look()
	require.Equal(t, 1, o.Known().Active, "the log of 1 is there, held by an iterator, and nobody looks further")
	o.relief()
	require.Equal(t, Known{Active: 3, Sealed: []int{1}}, o.Known())
	require.Zero(t, o.counted())
	require.True(t, o.Pinned())
	require.EqualValues(t, 100, o.account.Pinned(), "reported, and not counted")
	o.tree.gone(1)
	o.Look()
	require.Zero(t, o.account.Pinned())
}

// TestMemtableBeforeOneThatIsGone is flushed, since Badger flushes in sequence.
func TestMemtableBeforeOneThatIsGone(t *testing.T) {
	o := observe(t, 1)
	o.answer(100, 1)
	o.tree.memtable(2)
	o.Look()
	o.answer(10, 2)
	o.tree.memtable(3)
	o.Look()
	o.tree.gone(2)
	o.Look()
	require.Zero(t, o.counted())
	require.EqualValues(t, 100, o.account.Pinned())
}

// TestVersionsInTablesTellWhatIsFlushed while an iterator holds the log. They are asked for only
// while memory is, and seldom.
func TestVersionsInTablesTellWhatIsFlushed(t *testing.T) {
	o := observe(t, 1)
	o.answer(spanBytes, 1)
	o.answer(spanBytes, 2)
	o.answer(7, 2) // a version as high came before: it says nothing
	o.tree.memtable(2)
	o.Look()
	require.Zero(t, o.tree.listed)

	o.tree.tables = []badger.TableInfo{{MaxVersion: 1}}
	o.relief()
	require.Equal(t, 1, o.tree.listed)
	require.EqualValues(t, spanBytes+7, o.counted())
	o.tree.tables = append(o.tree.tables, badger.TableInfo{MaxVersion: 2})
	o.relief()
	require.Equal(t, 1, o.tree.listed, "not again so soon")
	o.clock += tablesInterval
	o.relief()
	require.EqualValues(t, 7, o.counted())
	require.EqualValues(t, 2*spanBytes, o.account.Pinned())
	o.tree.tables = append(o.tree.tables, badger.TableInfo{MaxVersion: 3})
	o.clock += tablesInterval
	o.relief()
	require.Zero(t, o.counted())
}

// TestIdleMemtableIsSealed if it holds an eighth of what one database may, and memory is asked for.
func TestIdleMemtableIsSealed(t *testing.T) {
	o := observe(t, 1)
	o.answer(mib/8, 1)
	require.False(t, o.relief(), "that little is not worth it")
	o.answer(1, 2)
	require.False(t, o.Look(), "nobody asks")
	require.True(t, o.relief())
	require.False(t, o.ReliefAsked())

	o = observe(t, 1)
	for range 16 { // half a MiB each: less than a memtable
		o.account.Manager().Register(wbm.Holder{})
	}
	o.answer(8*mib/17/8, 1)
	require.False(t, o.relief())
	o.answer(1, 2)
	require.True(t, o.relief(), "many databases may keep an eighth of the budget together")

	o.tree.memtable(2)
	o.answer(mib/2, 3)
	require.False(t, o.relief(), "something is on its way to disk")
}

// TestStuckMemtable: one that shows no sign of its flush is taken for flushed after a while, and
// another is sealed, which tells.
func TestStuckMemtable(t *testing.T) {
	o := observe(t, 1)
	o.answer(100, 1)
	o.tree.memtable(2)
	o.Look()
	o.clock += stuckInterval - 1
	require.False(t, o.relief())
	o.clock += tablesInterval
	require.True(t, o.relief())
	require.EqualValues(t, 100, o.counted(), "it still counts")
}

// TestDirectoryIsNoMemtable: one with the name of the next memtable is in Badger's way.
func TestDirectoryIsNoMemtable(t *testing.T) {
	o := observe(t, 1)
	require.NoError(t, os.Mkdir(MemPath(o.tree.opt.Dir, 2), 0o700))
	o.Look()
	o.relief()
	require.Equal(t, Known{Active: 1}, o.Known())
	numbers, err := MemNumbers(o.tree.opt.Dir)
	require.NoError(t, err)
	require.Equal(t, []int{1}, numbers)
}

// TestNothingToObserve in memory, and where nothing is written: what is in flight is released.
func TestNothingToObserve(t *testing.T) {
	for name, opt := range map[string]badger.Options{
		"in memory": badger.DefaultOptions("").WithInMemory(true),
		"read-only": badger.DefaultOptions(t.TempDir()).WithReadOnly(true),
	} {
		o := observe(t)
		var err error
		o.Memtables, err = NewMemtables(&fakeTree{t: t, opt: opt}, o.account, nil, true)
		require.NoError(t, err, name)
		o.answer(mib, 1)
		require.Zero(t, o.account.Usage(), name)
		require.False(t, o.relief(), name)
		require.Equal(t, Known{}, o.Known(), name)
	}
	gone := &fakeTree{t: t, opt: badger.DefaultOptions(MemPath(t.TempDir(), 1))}
	_, err := NewMemtables(gone, nil, nil, true)
	require.ErrorIs(t, err, os.ErrNotExist)
}

// TestStallCause: memtables that are all full make the stall theirs, and a full level 0 its.
func TestStallCause(t *testing.T) {
	o := observe(t, 1, 2, 3) // two are sealed: one more may be
	o.tree.levels = []badger.LevelInfo{{Level: 1, NumTables: 100}, {Level: 0, NumTables: 4}}
	o.Look()
	require.Equal(t, Busy, o.StallCause())
	o.tree.memtable(4)
	o.Look()
	require.Equal(t, Busy, o.StallCause(), "one that holds nothing needs no flush")
	o.answer(1, 1)
	o.tree.memtable(5)
	o.Look()
	require.Equal(t, MemtablesFull, o.StallCause())
	o.tree.levels[1].NumTables = 5
	o.Look()
	require.Equal(t, LevelZeroFull, o.StallCause())
	o.stalls = false
	o.Look()
	require.Equal(t, Busy, o.StallCause(), "nobody asks")
	o.stalls = true
	o.tree.gone(1)
	o.Look()
	require.Equal(t, Busy, o.StallCause())
}
