package host

import (
	"os"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
	"github.com/stretchr/testify/require"
)

func tableInfo(id uint64, level int, left, right string) badger.TableInfo {
	return badger.TableInfo{ID: id, Level: level, Left: y.KeyWithTs([]byte(left), 7), Right: y.KeyWithTs([]byte(right), 7)}
}

func TestUncoveredTables(t *testing.T) {
	tables := []badger.TableInfo{
		tableInfo(1, 0, "a", "c"), tableInfo(2, 0, "c", "d"), tableInfo(3, 0, "e", "e"), tableInfo(4, 0, "a", "z"), tableInfo(5, 0, "y", "z"), tableInfo(6, 0, "f", "n"),
	}
	require.Equal(t, []uint64{1, 2, 3, 4, 5, 6}, UncoveredTables(tables))
	tables = append(tables, tableInfo(7, 5, "d", "d"), tableInfo(8, 6, "g", "h"))
	require.Equal(t, []uint64{1, 3, 5}, UncoveredTables(tables))
	tables = append(tables, tableInfo(9, 6, "z", "zz"))
	require.Equal(t, []uint64{1, 3}, UncoveredTables(tables))
}

// levelZero is a tree with tables of level 0 which lie on nothing, numbered from 1.
func levelZero(t *testing.T, opt badger.Options, tables int) *fakeTree {
	t.Helper()
	f := &fakeTree{t: t, opt: opt, levels: []badger.LevelInfo{{Level: 1, NumTables: 9}, {Level: 0, NumTables: tables}}}
	for id := range uint64(tables) {
		f.tables = append(f.tables, tableInfo(id+1, 0, "a", "c"))
		if !opt.InMemory {
			require.NoError(t, os.WriteFile(table.NewFilename(id+1, opt.Dir), nil, 0o600))
		}
	}
	return f
}

// age makes a table as old.
func (f *fakeTree) age(id uint64, age time.Duration) {
	then := time.Now().Add(-age)
	require.NoError(f.t, os.Chtimes(table.NewFilename(id, f.opt.Dir), then, then))
}

// TestRiskOfAMergeWithinLevelZero: three tables that are old enough and lie on nothing.
func TestRiskOfAMergeWithinLevelZero(t *testing.T) {
	tree := levelZero(t, badger.DefaultOptions(t.TempDir()), 4)
	clock := int64(time.Hour)
	l := NewLevelZero(tree, func() int64 { return clock })
	look := func() bool {
		t.Helper()
		clock += levelZeroInterval
		risk, fresh := l.Look()
		require.True(t, fresh)
		return risk
	}
	require.False(t, look(), "all are young")
	require.True(t, l.Pending(), "they will not stay so")
	tree.age(1, time.Hour)
	tree.age(2, time.Hour)
	require.False(t, look())
	tree.age(3, mergeAge+time.Second)
	require.True(t, look())

	listed := tree.listed
	clock += levelZeroInterval - 1
	risk, fresh := l.Look()
	require.False(t, risk)
	require.False(t, fresh)
	require.Equal(t, listed, tree.listed, "tables are asked for once a second at most")

	tree.tables = append(tree.tables, tableInfo(9, 1, "b", "b"))
	require.False(t, look(), "all lie on a table below")
	require.False(t, l.Pending())
	tree.tables = tree.tables[:4]
	require.True(t, look())
	tree.levels[1].NumTables = 2
	listed = tree.listed
	risk, fresh = l.Look()
	require.False(t, risk, "two are not merged")
	require.True(t, fresh)
	require.False(t, l.Pending())
	require.Equal(t, listed, tree.listed)
}

// TestTablesInMemoryAreOld, as Badger takes them; a table that is gone is young.
func TestTablesInMemoryAreOld(t *testing.T) {
	now := func() int64 { return 1 }
	risk, fresh := NewLevelZero(levelZero(t, badger.DefaultOptions("").WithInMemory(true), 3), now).Look()
	require.True(t, risk)
	require.True(t, fresh)
	tree := levelZero(t, badger.DefaultOptions(t.TempDir()), 3)
	for id := range uint64(3) {
		tree.age(id+1, time.Hour)
	}
	require.NoError(t, os.Remove(table.NewFilename(2, tree.opt.Dir)))
	risk, _ = NewLevelZero(tree, now).Look()
	require.False(t, risk)
}
