package host

import (
	"errors"
	"os"
	"testing"

	"github.com/dgraph-io/badger/v4/table"
	"github.com/stretchr/testify/require"
)

// fakeNumbers are numbers that the test gives out.
type fakeNumbers struct {
	memtables []int // what NextMemtable returns, call by call; below 0 it is not known
	table     uint64
	valueLogs []uint32 // what NextValueLog returns, call by call
}

func (n *fakeNumbers) NextMemtable() (int, bool) {
	next := n.memtables[0]
	if len(n.memtables) > 1 {
		n.memtables = n.memtables[1:]
	}
	return next, next >= 0
}

func (n *fakeNumbers) NextValueLog() (uint32, bool) {
	if len(n.valueLogs) == 0 {
		return 0, false
	}
	next := n.valueLogs[0]
	if len(n.valueLogs) > 1 {
		n.valueLogs = n.valueLogs[1:]
	}
	return next, true
}

func (n *fakeNumbers) NextTable() uint64      { return n.table }
func (n *fakeNumbers) RaiseTable(next uint64) { n.table = max(n.table, next) }

// guarded is a Guard with a clock and numbers, of a directory.
type guarded struct {
	*Guard
	numbers fakeNumbers
	clock   int64
	scarce  bool // descriptors have run out
	looks   int
	changes []error
}

func guardOf(t *testing.T, change ...func(*GuardEnv)) *guarded {
	t.Helper()
	g := &guarded{numbers: fakeNumbers{memtables: []int{7}, table: 3}}
	env := GuardEnv{
		Dir: t.TempDir(), ValueDir: t.TempDir(), MemTableSize: mib,
		Numbers: func() Numbers { return &g.numbers },
		Now:     func() int64 { return g.clock },
		DescriptorsFree: func(dir string, n int) bool {
			require.Equal(t, g.env.Dir, dir)
			require.Equal(t, spareDescriptors, n)
			g.looks++
			return !g.scarce
		},
		Changed: func(held error) { g.changes = append(g.changes, held) },
	}
	for _, c := range change {
		c(&env)
	}
	g.Guard = NewGuard(env)
	return g
}

// TestNameInTheWay: what has the name of one of the next memtables holds Badger, unless Badger
// takes it over, or has made it. It is told once, and once more when it is gone.
func TestNameInTheWay(t *testing.T) {
	for _, row := range []struct {
		name    string
		number  int
		make    func(path string) error
		numbers []int
		held    bool
	}{
		{"a directory", 7, func(path string) error { return os.Mkdir(path, 0o700) }, []int{7}, true},
		{"a file, four memtables ahead", 10, func(path string) error { return os.WriteFile(path, []byte("x"), 0o600) }, []int{7}, true},
		{"a dangling link", 8, func(path string) error { return os.Symlink("nothing", path) }, []int{7}, true},
		{"a file that is far away", 11, func(path string) error { return os.WriteFile(path, []byte("x"), 0o600) }, []int{7}, false},
		{"an empty file, which Badger takes", 7, func(path string) error { return os.WriteFile(path, nil, 0o600) }, []int{7}, false},
		{"a log that Badger has just made", 7, func(path string) error { return os.WriteFile(path, []byte("x"), 0o600) }, []int{7, 8}, false},
		{"a log that Badger is about to make", 7, func(path string) error { return os.WriteFile(path, []byte("x"), 0o600) }, []int{7, -1}, false},
		{"nothing is known", 7, func(path string) error { return os.Mkdir(path, 0o700) }, []int{-1}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			g := guardOf(t)
			require.NoError(t, g.Look())
			path := MemPath(g.env.Dir, row.number)
			if err := row.make(path); err != nil {
				t.Skip(err)
			}
			g.numbers.memtables = row.numbers
			err := g.Look()
			if !row.held {
				require.NoError(t, err)
				require.Empty(t, g.changes)
				return
			}
			require.ErrorIs(t, err, ErrHeld)
			require.ErrorContains(t, err, path)
			require.Equal(t, err, g.Blocked())
			require.Equal(t, err, g.Look())
			require.Equal(t, []error{err}, g.changes, "once")

			g.numbers.memtables = []int{-1}
			require.NoError(t, os.Remove(path))
			require.Equal(t, err, g.Look(), "while Badger makes one what was known holds")
			g.numbers.memtables = []int{7}
			require.NoError(t, g.Look())
			require.NoError(t, g.Blocked())
			require.Equal(t, []error{err, nil}, g.changes)
		})
	}
}

// TestNameOfTheValueLogInTheWay: what has the name of the next file of the value log holds Badger,
// a file only when Badger has had the time to count it as its own.
func TestNameOfTheValueLogInTheWay(t *testing.T) {
	dir := func(path string) error { return os.Mkdir(path, 0o700) }
	file := func(path string) error { return os.WriteFile(path, nil, 0o600) }
	for _, row := range []struct {
		name    string
		make    func(path string) error
		numbers []uint32
		after   int64
		held    bool
	}{
		{"a directory", dir, []uint32{2}, 0, true},
		{"a file", file, []uint32{2}, valueLogMade, true},
		{"a file, a moment ago", file, []uint32{2}, valueLogMade - 1, false},
		{"a file that Badger has just made", file, []uint32{2, 3}, valueLogMade, false},
		{"no values", dir, []uint32{0}, valueLogMade, false},
		{"another number", dir, []uint32{3}, valueLogMade, false},
		{"nothing is known", dir, nil, valueLogMade, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			g := guardOf(t)
			path := ValuePath(g.env.ValueDir, 2)
			require.NoError(t, row.make(path))
			g.numbers.valueLogs = row.numbers
			_ = g.Look()
			g.clock += row.after
			err := g.Look()
			if !row.held {
				require.NoError(t, err)
				require.Empty(t, g.changes)
				return
			}
			require.ErrorIs(t, err, ErrHeld)
			require.ErrorContains(t, err, path)
			g.numbers.valueLogs = nil
			require.Equal(t, err, g.Look(), "while it is not known what was known holds")
			g.numbers.valueLogs = []uint32{2}
			require.NoError(t, os.Remove(path))
			require.NoError(t, g.Look())
			require.Equal(t, []error{err, nil}, g.changes)
		})
	}
}

// TestAnotherCauseIsToldToo, in place of the one before.
func TestAnotherCauseIsToldToo(t *testing.T) {
	g := guardOf(t)
	g.scarce = true
	first := g.Look()
	require.ErrorIs(t, first, ErrHeld)
	require.ErrorContains(t, first, "fewer than 32 file descriptors")
	require.NoError(t, os.Mkdir(MemPath(g.env.Dir, 7), 0o700))
	second := g.Look()
	require.ErrorContains(t, second, "00007.mem")
	require.Equal(t, []error{first, second}, g.changes)
}

// TestFailedBadger is failed for good, whatever else is the matter.
func TestFailedBadger(t *testing.T) {
	g := guardOf(t)
	g.scarce = true
	require.NoError(t, g.Failed())
	require.ErrorIs(t, g.Look(), ErrHeld)
	cause := errors.New("the cause")
	require.True(t, g.Fail(cause))
	require.False(t, g.Fail(errors.New("another")))
	g.scarce = false
	for _, err := range []error{g.Failed(), g.Blocked(), g.Look(), g.Refresh()} {
		require.ErrorIs(t, err, ErrFailed)
		require.ErrorIs(t, err, cause)
		require.NotErrorIs(t, err, ErrHeld)
		require.EqualError(t, err, "badgerspill: Badger gets no writes any more until the database is opened again: the cause")
	}
}

// TestGuardThatIsOff finds nothing.
func TestGuardThatIsOff(t *testing.T) {
	g := guardOf(t, func(env *GuardEnv) { env.Off = true })
	g.scarce = true
	require.NoError(t, g.Look())
	require.NoError(t, g.Refresh())
	require.Zero(t, g.looks)
}

// TestGuardLooksSeldom: a look opens files.
func TestGuardLooksSeldom(t *testing.T) {
	g := guardOf(t)
	require.NoError(t, g.Refresh())
	require.Equal(t, 1, g.looks, "the first")
	g.clock += guardInterval - 1
	require.NoError(t, g.Refresh())
	require.Equal(t, 1, g.looks)
	g.clock++
	require.NoError(t, g.Refresh())
	require.Equal(t, 2, g.looks)

	require.False(t, g.Give(mib/4))
	require.False(t, g.Give(mib/4-1))
	require.True(t, g.Give(1), "half a memtable")
	require.NoError(t, g.Look())
	require.False(t, g.Give(mib/4), "since the last look")
	require.Equal(t, 3, g.looks)
	g.clock += guardInterval - 1
	require.NoError(t, g.Refresh())
	require.Equal(t, 3, g.looks, "any look counts")
}

// TestTablesPassNamesThatAreTaken, as far ahead as a compaction may make tables.
func TestTablesPassNamesThatAreTaken(t *testing.T) {
	g := guardOf(t)
	require.NoError(t, g.Look())
	require.EqualValues(t, 3, g.numbers.table)
	taken := func(n uint64) {
		require.NoError(t, os.WriteFile(table.NewFilename(n, g.env.Dir), nil, 0o600))
	}
	taken(3 + tablesAhead)
	require.NoError(t, g.Look())
	require.EqualValues(t, 3, g.numbers.table, "too far")
	taken(3 + tablesAhead - 1)
	require.NoError(t, g.Look())
	require.EqualValues(t, 3+tablesAhead+1, g.numbers.table, "the one behind it, too")
	g.numbers.table = 0
	taken(0)
	require.NoError(t, g.Look())
	require.Zero(t, g.numbers.table, "not known")
}
