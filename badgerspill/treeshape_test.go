package badgerspill

import (
	"fmt"
	"maps"
	"path/filepath"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"
)

func TestChooseTree(t *testing.T) {
	const mib, gib = int64(1) << 20, int64(1) << 30
	holds := func(bytes int64) func() int64 { return func() int64 { return bytes } }
	roomy := treeSigns{free: 100 * gib, base: holds(0), cores: 2}
	with := func(change func(*treeSigns)) treeSigns {
		signs := roomy
		change(&signs)
		return signs
	}
	for _, tt := range []struct {
		name   string
		change func(*Options)
		signs  treeSigns
		base   int64
		table  int64
		n      int
		why    string
	}{
		{"new, on a large volume", nil, roomy, 960 * mib, 4 * mib, 2, "3 times what level 0 holds"},
		{"four cores", nil, with(func(s *treeSigns) { s.cores = 4 }), 960 * mib, 4 * mib, 2, "4 cores"},
		{"many cores", nil, with(func(s *treeSigns) { s.cores = 64 }), 960 * mib, 4 * mib, 4, "base level"},
		{"a small volume", nil, with(func(s *treeSigns) { s.free = 5 * gib }), 480 * mib, 4 * mib, 2, "at most 1/10 of the free space, 5 GiB"},
		{"a smaller one", nil, with(func(s *treeSigns) { s.free = gib }), 60 * mib, 4 * mib, 2, "of the free space"},
		{"next to nothing", nil, with(func(s *treeSigns) { s.free = mib }), 10 * mib, 2 * mib, 2, "Badger's own"},
		{"nothing", nil, with(func(s *treeSigns) { s.free = 0 }), 10 * mib, 2 * mib, 2, "Badger's own"},
		{"free space is not known", nil, with(func(s *treeSigns) { s.err = errTest }), 10 * mib, 2 * mib, 2, "not known"},

		{"a full level stays", nil, treeSigns{8 * gib, nil, holds(700 * mib), 2}, 960 * mib, 4 * mib, 2, "3 times"},
		{"and goes with its room", nil, treeSigns{7 * gib, nil, holds(700 * mib), 2}, 480 * mib, 4 * mib, 2, "at most 1/8 of"},
		{"one that is not full does not grow", nil, treeSigns{8 * gib, nil, holds(300 * mib), 2}, 480 * mib, 4 * mib, 2, "at most 1/10 of"},

		{"small memtables", func(opt *Options) { opt.MemTableSize = mib }, roomy, 15 * mib, 4 * mib, 2, "3 times"},
		{"smaller ones", func(opt *Options) { opt.MemTableSize = mib / 2 }, roomy, 10 * mib, 2 * mib, 2, "Badger's own"},
		{"as given", func(opt *Options) { opt.Tuning.TreeShape = ShapeAsGiven }, roomy, 10 * mib, 2 * mib, 4, "as given"},
		{"a level of the user's", func(opt *Options) { opt.BaseLevelSize = 20 * mib }, roomy, 20 * mib, 2 * mib, 2, "2 cores"},
		{"tables of the user's", func(opt *Options) { opt.BaseTableSize = 3 * mib }, roomy, 960 * mib, 3 * mib, 2, "base level"},
		{"compactors of the user's", func(opt *Options) { opt.NumCompactors = 3 }, roomy, 960 * mib, 4 * mib, 3, "base level"},
		{"no compactors", func(opt *Options) { opt.NumCompactors = 0 }, roomy, 10 * mib, 2 * mib, 0, "nothing is compacted"},
		{"in memory", func(opt *Options) { opt.InMemory = true }, roomy, 10 * mib, 2 * mib, 4, "nothing is compacted"},
		{"read-only", func(opt *Options) { opt.ReadOnly = true }, roomy, 10 * mib, 2 * mib, 4, "nothing is compacted"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			opt := DefaultOptions("d")
			if tt.change != nil {
				tt.change(&opt)
			}
			tree := opt.chooseTree(tt.signs)
			require.Equal(t, tt.base, tree.BaseLevelSize)
			require.Equal(t, tt.table, tree.BaseTableSize)
			require.Equal(t, tt.n, tree.NumCompactors)
			require.Contains(t, tree.Why, tt.why)
		})
	}
}

// TestTreeShape: what is chosen is what Badger has, and told; what was asked for stays what Opts
// says. Plain Badger opens the result.
func TestTreeShape(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "there", "db")
	opt := DefaultOptions(dir).WithLogger(nil).WithMemTableSize(8 << 20).WithValueThreshold(1 << 10).WithCompactL0OnClose(true)
	would := opt.Tree()
	db, err := Open(opt)
	require.NoError(t, err)
	require.Equal(t, would.BaseLevelSize, db.Tree().BaseLevelSize)
	require.Equal(t, int64(120<<20), db.inner.Opts().BaseLevelSize)
	require.Equal(t, int64(4<<20), db.inner.Opts().BaseTableSize)
	require.Equal(t, db.Tree(), db.SpillStats().Tree)
	require.Equal(t, db.Tree().BaseLevelSize, db.EffectiveOpts().BaseLevelSize)
	require.Equal(t, opt.BaseLevelSize, db.Opts().BaseLevelSize)
	require.NoError(t, put(db, "k", "v"))
	require.NoError(t, db.Close())
	require.Positive(t, opt.baseLevelBytes())

	plain, err := badger.Open(opt.Badger())
	require.NoError(t, err)
	require.NoError(t, plain.View(func(txn *badger.Txn) error { _, err := txn.Get([]byte("k")); return err }))
	require.NoError(t, plain.Close())

	db, err = Open(opt.WithTreeShape(ShapeAsGiven))
	require.NoError(t, err)
	require.Equal(t, opt.BaseLevelSize, db.inner.Opts().BaseLevelSize)
	require.Equal(t, "as given", db.Tree().Why)
	require.NoError(t, db.Close())

	_, err = Open(opt.WithTreeShape(7))
	var bad *OptionError
	require.ErrorAs(t, err, &bad)
	require.Equal(t, "Tuning.TreeShape", bad.Field)
}

// TestShapesInTurns opens one database in one shape after another, the layer's choice, a narrow one
// and plain Badger: nothing is lost, and nothing that was deleted comes back, whatever levels the
// last one has left. TestSoak does so with kills.
func TestShapesInTurns(t *testing.T) {
	type writer interface {
		Set(key, value []byte) error
		Delete(key []byte) error
	}
	const keys, rounds, commits = 8_000, 5, 250
	rng, want, dir := random(t), map[string]string{}, t.TempDir()
	narrow := func(opt badger.Options) badger.Options {
		opt.BaseLevelSize, opt.BaseTableSize, opt.NumLevelZeroTables = 64<<10, 64<<10, 1
		return opt
	}
	layer := func(opt badger.Options) Options { return OptionsFrom(opt).WithMinFreeSpace(Off).WithSpillRate(Off) }
	base := badger.DefaultOptions(dir).WithLogger(nil).WithMetricsEnabled(false).WithMemTableSize(1 << 20).WithValueThreshold(1 << 10).
		WithBlockCacheSize(1 << 20).WithValueLogFileSize(1 << 20).WithCompactL0OnClose(true)
	change := func(update func(func(writer) error) error) {
		for range commits {
			require.NoError(t, update(func(txn writer) error {
				for range 30 {
					k := fmt.Sprintf("%016x", uint64(rng.IntN(keys))*0x9e3779b97f4a7c15)
					if rng.IntN(3) == 0 {
						delete(want, k)
						if err := txn.Delete([]byte(k)); err != nil {
							return err
						}
						continue
					}
					want[k] = incompressible(300, rng.IntN(1<<30))
					if err := txn.Set([]byte(k), []byte(want[k])); err != nil {
						return err
					}
				}
				return nil
			}))
		}
	}
	var order []int
	for range rounds {
		order = append(order, rng.Perm(3)...)
	}
	levels := 0
	for turn, n := range order {
		shape := []string{"auto", "as given", "plain"}[n]
		if shape == "plain" {
			plain, err := badger.Open(narrow(base))
			require.NoError(t, err)
			change(func(do func(writer) error) error { return plain.Update(func(txn *badger.Txn) error { return do(txn) }) })
			require.NoError(t, plain.Close())
			continue
		}
		opt := layer(base)
		if shape == "as given" {
			opt = layer(narrow(base)).WithTreeShape(ShapeAsGiven)
		}
		opt.SpillPolicy, opt.Tuning.SegmentSize = []SpillPolicy{Auto, Always}[rng.IntN(2)], 64<<10
		eager(&opt)
		db, err := Open(opt)
		require.NoError(t, err)
		require.Equal(t, map[string]int64{"auto": 15 << 20, "as given": 64 << 10}[shape], db.Tree().BaseLevelSize)
		change(func(do func(writer) error) error { return db.Update(func(txn *Txn) error { return do(txn) }) })
		if rng.IntN(2) == 0 {
			require.NoError(t, db.Drain(t.Context()))
		}
		got := map[string]string{}
		require.NoError(t, db.View(func(txn *Txn) error {
			opt := DefaultIteratorOptions
			opt.Reverse = rng.IntN(2) == 0
			it := txn.NewIterator(opt)
			defer it.Close()
			for it.Rewind(); it.Valid(); it.Next() {
				v, err := it.Item().ValueCopy(nil)
				if err != nil {
					return err
				}
				got[string(it.Item().Key())] = string(v)
			}
			return nil
		}))
		require.Truef(t, maps.Equal(want, got), "turn %d, %s: %d keys, there must be %d", turn, shape, len(got), len(want))
		used := 0
		for _, l := range db.Levels()[1:] {
			if l.NumTables > 0 {
				used++
			}
		}
		levels = max(levels, used)
		require.NoError(t, db.Close())
	}
	require.GreaterOrEqual(t, levels, 3)
	db, err := Open(layer(base))
	require.NoError(t, err)
	require.NoError(t, db.Flatten(2))
	require.True(t, maps.Equal(want, innerContents(t, db.inner)), "settled")
	require.NoError(t, db.Close())
}
