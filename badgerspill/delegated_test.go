package badgerspill

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"sort"
	"strings"
	"sync"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/ristretto/v2/z"
	"github.com/stretchr/testify/require"
)

// TestAPIDelegated asks plain Badger and the layer the same questions about the same files.
func TestAPIDelegated(t *testing.T) {
	bounded(t)
	dir := t.TempDir()
	opt := badger.DefaultOptions(dir).WithLogger(nil).WithNumCompactors(0).WithMetricsEnabled(true).
		WithIndexCacheSize(1 << 20).WithBlockCacheSize(1 << 20).WithNamespaceOffset(0)
	for round := range 3 { // an SSTable each
		db, err := badger.Open(opt)
		require.NoError(t, err)
		wb := db.NewWriteBatch()
		for i := range 5000 {
			require.NoError(t, wb.Set(fmt.Appendf(nil, "key%09d", 3*i+round), make([]byte, 100)))
		}
		require.NoError(t, wb.Flush())
		if round == 0 {
			require.NoError(t, db.BanNamespace(7))
		}
		require.NoError(t, db.Close())
	}

	type answers struct {
		tables             []TableInfo
		levels             []LevelInfo
		text               string
		ranges             []string
		banned             []uint64
		costs              []int64
		costErrs           []error
		blocks, indices    bool
		gc                 []error
		closedLevels       int
		closedBanned       []uint64
		closedGC           []error
		closedCost         int64
		closedBlockMetrics bool
	}
	type delegates interface {
		Tables() []TableInfo
		Levels() []LevelInfo
		LevelsToString() string
		BannedNamespaces() []uint64
		CacheMaxCost(CacheType, int64) (int64, error)
		RunValueLogGC(float64) error
		Close() error
	}
	ask := func(db delegates, ranges func(prefix []byte, n int) []string, metrics func() (blocks, indices bool)) (a answers) {
		a.tables, a.levels, a.text, a.banned = db.Tables(), db.Levels(), db.LevelsToString(), db.BannedNamespaces()
		for _, prefix := range []string{"", "key", "key00000001", "none"} {
			for _, n := range []int{1, 5, 100} {
				a.ranges = append(a.ranges, ranges([]byte(prefix), n)...)
			}
		}
		for _, cache := range []CacheType{BlockCache, IndexCache, IndexCache + 1} {
			for _, cost := range []int64{-1, 5000, -1} {
				cost, err := db.CacheMaxCost(cache, cost)
				a.costs, a.costErrs = append(a.costs, cost), append(a.costErrs, err)
			}
		}
		a.blocks, a.indices = metrics()
		collect := func() (errs []error) {
			for _, ratio := range []float64{-1, 0, 0.5, 1, 2} {
				errs = append(errs, db.RunValueLogGC(ratio))
			}
			return errs
		}
		a.gc = collect()
		require.NoError(t, db.Close())
		a.closedLevels, a.closedBanned, a.closedGC = len(db.Levels()), db.BannedNamespaces(), collect()
		a.closedCost, _ = db.CacheMaxCost(BlockCache, -1)
		a.closedBlockMetrics, _ = metrics()
		return a
	}

	for _, mode := range []struct {
		name string
		set  func(o badger.Options) badger.Options
	}{
		{"on disk", func(o badger.Options) badger.Options { return o }},
		{"read-only", func(o badger.Options) badger.Options { return o.WithReadOnly(true) }},
		{"in memory", func(o badger.Options) badger.Options {
			return o.WithInMemory(true).WithDir("").WithValueDir("").WithIndexCacheSize(0)
		}},
	} {
		t.Run(mode.name, func(t *testing.T) {
			if mode.name == "read-only" && runtime.GOOS == "windows" {
				t.Skip("Badger has no read-only mode there")
			}
			opt := mode.set(opt)
			plain, err := badger.Open(opt)
			require.NoError(t, err)
			if opt.InMemory { // a table after Close
				require.NoError(t, plain.Update(func(txn *badger.Txn) error { return txn.Set([]byte("12345678k"), nil) }))
			}
			want := ask(plain, func(prefix []byte, n int) (out []string) {
				for _, r := range plain.Ranges(prefix, n) {
					// Without its methods, to see all fields.
					out = append(out, strings.Replace(fmt.Sprintf("%#v", *r), "badger.", "badgerspill.", 1))
				}
				return out
			}, func() (bool, bool) { return plain.BlockCacheMetrics() != nil, plain.IndexCacheMetrics() != nil })

			db, err := Open(OptionsFrom(opt))
			require.NoError(t, err)
			defer db.Close()
			if opt.InMemory {
				require.NoError(t, db.Update(func(txn *Txn) error { return txn.Set([]byte("12345678k"), nil) }))
			}
			got := ask(db, func(prefix []byte, n int) (out []string) {
				for _, r := range db.Ranges(prefix, n) {
					out = append(out, fmt.Sprintf("%#v", *r))
				}
				return out
			}, func() (bool, bool) { return db.BlockCacheMetrics() != nil, db.IndexCacheMetrics() != nil })
			require.Equal(t, want, got)

			if !opt.InMemory {
				require.Len(t, got.tables, 3)
				require.Greater(t, len(got.ranges), 50)
				require.Equal(t, []uint64{7}, got.banned)
				require.Nil(t, db.Tables(), "Badger reads unmapped memory here")
				require.Nil(t, db.Ranges(nil, 1))
			} else {
				require.Len(t, db.Tables(), 1)
				require.Equal(t, plain.Tables(), db.Tables())
			}
		})
	}

	cost, err := (*DB)(nil).CacheMaxCost(BlockCache, 1)
	require.NoError(t, err)
	require.Zero(t, cost)
}

// TestAPIRangeString compares the text of a range with Badger's.
func TestAPIRangeString(t *testing.T) {
	bounded(t)
	opt := badger.DefaultOptions("").WithInMemory(true).WithLogger(nil)
	plain, err := badger.Open(opt)
	require.NoError(t, err)
	defer plain.Close()
	require.NoError(t, plain.Update(func(txn *badger.Txn) error { return txn.Set([]byte("k"), nil) }))
	theirs := plain.Ranges(nil, 1)
	require.Greater(t, len(theirs), 1)
	for _, r := range theirs {
		v := reflect.ValueOf(r).Elem()
		own := keyRange{left: v.FieldByName("left").Bytes(), right: v.FieldByName("right").Bytes()}
		require.Equal(t, r.String(), own.String())
	}
	require.Equal(t, "[left=, right=, inf=true]", keyRange{inf: true}.String())
}

// TestAPIDiscardStats runs the same steps on Badger's type and on the one that stands for it.
func TestAPIDiscardStats(t *testing.T) {
	type discards interface {
		sort.Interface
		sync.Locker
		Update(fid uint32, discard int64) int64
		Iterate(f func(fid, stats uint64))
		MaxDiscard() (uint32, int64)
		Bytes(off, size int) ([]byte, error)
		Close(size int64) error
	}
	steps := func(s discards) (out []any) {
		for i := range 100 { // through many slots, out of order
			out = append(out, s.Update(uint32(i*37%101+1), int64(i+1)))
		}
		for _, discard := range []int64{0, 1000, 0, -1, 0} {
			out = append(out, s.Update(38, discard), s.Update(5000, min(discard, 0)))
		}
		fid, most := s.MaxDiscard()
		s.Lock()
		out = append(out, fid, most, s.Len(), s.Less(0, 1), s.Less(1, 0))
		s.Swap(0, 1)
		out = append(out, s.Less(0, 1))
		s.Swap(0, 1)
		s.Iterate(func(fid, stats uint64) { out = append(out, fid, stats) })
		s.Unlock()
		b, err := s.Bytes(0, 1024)
		return append(out, bytes.Clone(b), err, s.Close(-1))
	}

	dir := t.TempDir()
	theirDir, ourDir := filepath.Join(dir, "badger"), filepath.Join(dir, "badgerspill")
	require.NoError(t, os.Mkdir(theirDir, 0o700))
	require.NoError(t, os.Mkdir(ourDir, 0o700))
	for _, round := range []string{"new", "there"} {
		theirs, err := badger.InitDiscardStats(badger.DefaultOptions(theirDir).WithLogger(nil))
		require.NoError(t, err)
		ours, err := InitDiscardStats(DefaultOptions(ourDir).WithLogger(nil))
		require.NoError(t, err)
		require.Equal(t, len(theirs.Data), len(ours.Data))
		require.Equal(t, steps(theirs), steps(ours), round)
	}

	none := filepath.Join(dir, "none")
	_, want := badger.InitDiscardStats(badger.DefaultOptions(none).WithLogger(nil))
	stats, err := InitDiscardStats(DefaultOptions(none).WithLogger(nil))
	require.Nil(t, stats)
	require.EqualError(t, err, want.Error())
}

// TestAPIFunctions reads with our functions what Badger has written, and the reverse.
func TestAPIFunctions(t *testing.T) {
	bounded(t)
	dir := t.TempDir()
	opt := badger.DefaultOptions(dir).WithLogger(nil).WithExternalMagic(9)
	db, err := badger.Open(opt)
	require.NoError(t, err)
	require.NoError(t, db.Update(func(txn *badger.Txn) error { return txn.Set([]byte("k"), []byte("v")) }))
	require.NoError(t, db.Close())

	f, err := os.Open(filepath.Join(dir, ManifestFilename))
	require.NoError(t, err)
	defer f.Close()
	replay := func(magic uint16, ours bool) (m Manifest, offset int64, err error) {
		_, err = f.Seek(0, io.SeekStart)
		require.NoError(t, err)
		if ours {
			return ReplayManifestFile(f, magic, OptionsFrom(opt))
		}
		return badger.ReplayManifestFile(f, magic, opt)
	}
	for _, magic := range []uint16{9, 8} {
		want, wantOffset, wantErr := replay(magic, false)
		got, offset, err := replay(magic, true)
		require.Equal(t, want, got)
		require.Equal(t, wantOffset, offset)
		require.Equal(t, wantErr, err)
		require.Equal(t, magic == 9, err == nil)
	}

	keys := KeyRegistryOptions{Dir: dir, EncryptionKey: []byte("0123456789abcdef")}
	require.NoError(t, os.Remove(filepath.Join(dir, KeyRegistryFileName)))
	reg, err := OpenKeyRegistry(keys)
	require.NoError(t, err)
	dk, err := reg.LatestDataKey()
	require.NoError(t, err)
	require.NoError(t, WriteKeyRegistry(reg, keys))
	require.NoError(t, reg.Close())
	theirs, err := badger.OpenKeyRegistry(keys)
	require.NoError(t, err)
	same, err := theirs.DataKey(dk.KeyId)
	require.NoError(t, err)
	require.Equal(t, dk.Data, same.Data)
	require.NoError(t, theirs.Close())
	keys.EncryptionKey[0]++
	_, err = OpenKeyRegistry(keys)
	require.ErrorIs(t, err, ErrEncryptionKeyMismatch)

	buf := z.NewBuffer(1<<10, "TestAPIFunctions")
	defer func() { require.NoError(t, buf.Release()) }()
	KVToBuffer(&pb.KV{Key: []byte("a"), Version: 1}, buf)
	badger.KVToBuffer(&pb.KV{Key: []byte("b"), Version: 2}, buf)
	want, err := badger.BufferToKVList(buf)
	require.NoError(t, err)
	got, err := BufferToKVList(buf)
	require.NoError(t, err)
	require.Equal(t, want.String(), got.String())
	require.Len(t, got.Kv, 2)
}
