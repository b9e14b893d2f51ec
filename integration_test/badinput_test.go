package integration_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/integration_test/kit/childproc"
	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/wbm"
)

func TestOptionsOutOfRange(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	type options = badgerspill.Options
	rows := []struct {
		name, field string
		change      func(o options) options
	}{
		{"negative memory limit", "MemoryLimit", func(o options) options { return o.WithMemoryLimit(-1) }},
		{"memory limit too small for the value threshold", "MemoryLimit", func(o options) options { return o.WithMemoryLimit(8 << 10) }},
		{"memory limit of one byte", "MemoryLimit", func(o options) options { return o.WithMemoryLimit(1) }},
		{"memory limit that contradicts a shared manager", "MemoryLimit", func(o options) options {
			m, err := wbm.New(wbm.Options{Limit: 64 << 20})
			if err != nil {
				panic(err)
			}
			return o.WithWriteBufferManager(m).WithMemoryLimit(32 << 20)
		}},
		{"negative soft limit", "Tuning.SoftLimitRatio", func(o options) options { return o.WithLimitRatios(-0.1, 0.9) }},
		{"soft limit above 1", "Tuning.SoftLimitRatio", func(o options) options { return o.WithLimitRatios(1.01, 1) }},
		{"soft limit that is no number", "Tuning.SoftLimitRatio", func(o options) options { return o.WithLimitRatios(nan, 0.9) }},
		{"infinite soft limit", "Tuning.SoftLimitRatio", func(o options) options { return o.WithLimitRatios(inf, 0.9) }},
		{"negative spill limit", "Tuning.SpillLimitRatio", func(o options) options { return o.WithLimitRatios(0.5, -1) }},
		{"spill limit above 1", "Tuning.SpillLimitRatio", func(o options) options { return o.WithLimitRatios(0.5, 1.5) }},
		{"spill limit that is no number", "Tuning.SpillLimitRatio", func(o options) options { return o.WithLimitRatios(0.5, nan) }},
		{"spill limit below the soft limit", "Tuning.SpillLimitRatio", func(o options) options { return o.WithLimitRatios(0.9, 0.8) }},
		{"negative segment size", "Tuning.SegmentSize", func(o options) options { return o.WithSegmentSize(-1) }},
		{"segment size just too small", "Tuning.SegmentSize", func(o options) options { return o.WithSegmentSize(4<<10 - 1) }},
		{"segment size just too large", "Tuning.SegmentSize", func(o options) options { return o.WithSegmentSize(1<<30 + 1) }},
		{"negative spill capacity", "SpillCapacity", func(o options) options { return o.WithSpillCapacity(-1) }},
		{"policy below the first", "SpillPolicy", func(o options) options { return o.WithSpillPolicy(-1) }},
		{"policy above the last", "SpillPolicy", func(o options) options { return o.WithSpillPolicy(3) }},
		{"always into a spill in memory", "SpillPolicy", func(o options) options {
			o = o.WithSpillPolicy(badgerspill.Always).WithDir("").WithValueDir("")
			return o.WithInMemory(true)
		}},
		{"negative quiet rate", "Tuning.QuietRate", func(o options) options { return o.WithQuiet(-1, time.Second) }},
		{"quiet rate that is no number", "Tuning.QuietRate", func(o options) options { return o.WithQuiet(nan, time.Second) }},
		{"negative quiet window", "Tuning.QuietWindow", func(o options) options { return o.WithQuiet(1, -1) }},
		{"negative spill age", "Tuning.MaxSpillAge", func(o options) options { return o.WithMaxSpillAge(-1) }},
		{"negative high water", "Tuning.ReplayHighWater", func(o options) options { return o.WithReplayHighWater(-0.5) }},
		{"high water above 1", "Tuning.ReplayHighWater", func(o options) options { return o.WithReplayHighWater(1.0001) }},
		{"high water that is no number", "Tuning.ReplayHighWater", func(o options) options { return o.WithReplayHighWater(nan) }},
		{"negative ceiling of replay", "Tuning.ReplayMaxRate", func(o options) options { return o.WithReplayMaxRate(-1) }},
		{"no memtables", "NumMemtables", func(o options) options { return o.WithNumMemtables(0) }},
		{"more memtables than numbers", "NumMemtables", func(o options) options { return o.WithNumMemtables(math.MaxInt) }},
		{"memtables of no size", "MemTableSize", func(o options) options { return o.WithMemTableSize(0) }},
		{"memtables of negative size", "MemTableSize", func(o options) options { return o.WithMemTableSize(-1) }},
		{"memtables larger than any memory", "MemTableSize", func(o options) options { return o.WithMemTableSize(1 << 62) }},
		{"no block cache for compressed blocks", "BlockCacheSize", func(o options) options { return o.WithBlockCacheSize(0) }},
		{"encryption key of an odd length", "EncryptionKey", func(o options) options { return o.WithEncryptionKey([]byte("short")) }},
		{"no directory", "Dir", func(o options) options { return o.WithDir("") }},
		{"spill in Dir itself", "SpillDir", func(o options) options { return o.WithSpillDir(o.Dir) }},
		{"spill in Dir, written otherwise", "SpillDir", func(o options) options {
			return o.WithSpillDir(o.Dir + "/x/.././")
		}},
		{"spill in the parent of Dir", "SpillDir", func(o options) options { return o.WithSpillDir(filepath.Dir(o.Dir)) }},
		{"spill in the root of all directories", "SpillDir", func(o options) options { return o.WithSpillDir("/") }},
		{"spill in ValueDir itself", "SpillDir", func(o options) options {
			return o.WithValueDir(o.Dir + "-values").WithSpillDir(o.Dir + "-values")
		}},
		{"spill in the parent of ValueDir", "SpillDir", func(o options) options {
			return o.WithValueDir(o.Dir + "-values/v").WithSpillDir(o.Dir + "-values")
		}},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			above := t.TempDir()
			o := r.change(layer(filepath.Join(above, "db")))
			if o.SpillDir == "/" { // whatever happens here, nothing is written to it
				o = o.WithNumCompactors(1)
			}
			_, err := badgerspill.Open(o)
			require.ErrorIs(t, err, badgerspill.ErrBadOption)
			var bad *badgerspill.OptionError
			require.ErrorAs(t, err, &bad)
			require.Equal(t, r.field, bad.Field)
			require.ErrorContains(t, err, r.field)
			require.NotEmpty(t, bad.Bound)
			require.Empty(t, hashes(t, above), "nothing is created")
		})
	}
}

func TestOptionsThatBadgerRefuses(t *testing.T) {
	rows := []struct {
		name   string
		change func(o badger.Options) badger.Options
	}{
		{"one compactor", func(o badger.Options) badger.Options { return o.WithNumCompactors(1) }},
		{"value log files too small", func(o badger.Options) badger.Options { return o.WithValueLogFileSize(1<<20 - 1) }},
		{"value log files too large", func(o badger.Options) badger.Options { return o.WithValueLogFileSize(2 << 30) }},
		{"value threshold too large", func(o badger.Options) badger.Options { return o.WithValueThreshold(1<<20 + 1) }},
		{"value threshold above the largest batch", func(o badger.Options) badger.Options {
			return o.WithValueThreshold(1 << 20).WithMemTableSize(1 << 20)
		}},
		{"percentile above 1", func(o badger.Options) badger.Options { return o.WithVLogPercentile(1.5) }},
		{"in memory with a directory", func(o badger.Options) badger.Options { return o.WithInMemory(true) }},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			above := t.TempDir()
			o := r.change(small(filepath.Join(above, "db")).WithDir(filepath.Join(above, "db")))
			_, want := badger.Open(o)
			require.Error(t, want)
			require.Empty(t, hashes(t, above))
			_, err := badgerspill.Open(badgerspill.OptionsFrom(o))
			require.ErrorContains(t, err, want.Error())
			require.Empty(t, hashes(t, above), "nothing is created")
		})
	}
}

func TestSpillDirInsideOfDir(t *testing.T) {
	for _, sub := range []string{"deep/er/spill", "spill", "..spill"} {
		dir := t.TempDir()
		o := spilled(layer(dir)).WithSpillDir(filepath.Join(dir, sub)).WithDrainOnClose(false)
		db := openSpill(t, o)
		set(t, db, "a", "1")
		require.NoError(t, db.Close())
		requireAll(t, openSpill(t, o), map[string]string{"a": "1"})
	}
}

func TestSpillDirIsALinkToDir(t *testing.T) {
	above := t.TempDir()
	dir, link := filepath.Join(above, "db"), filepath.Join(above, "link")
	require.NoError(t, os.Mkdir(dir, 0o700))
	require.NoError(t, os.Symlink(dir, link))
	_, err := badgerspill.Open(layer(dir).WithSpillDir(link))
	require.ErrorIs(t, err, badgerspill.ErrBadOption)
	require.Empty(t, hashes(t, dir))
}

func TestUnwritableSpillDir(t *testing.T) {
	for _, inside := range []string{"", "below/it"} {
		above := t.TempDir()
		file := filepath.Join(above, "file")
		require.NoError(t, os.WriteFile(file, []byte("mine"), 0o600))
		dir := filepath.Join(above, "db")
		plain := layer(dir)
		db := openSpill(t, plain)
		set(t, db, "a", "1")
		require.NoError(t, db.Close())
		before := hashes(t, above)
		_, err := badgerspill.Open(plain.WithSpillDir(filepath.Join(file, inside)))
		require.ErrorContains(t, err, file)
		require.Equal(t, before, hashes(t, above))
		requireAll(t, openSpill(t, plain), map[string]string{"a": "1"})

		_, err = badgerspill.Open(layer(filepath.Join(above, "new")).WithSpillDir(filepath.Join(file, inside)))
		require.ErrorContains(t, err, file)
		if _, err := os.Stat(filepath.Join(above, "new")); err == nil {
			require.Empty(t, hashes(t, filepath.Join(above, "new")), "a database that could not be made has no identity")
		}
	}
}

func identity(t *testing.T, dir string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "BADGERSPILL"))
	require.NoError(t, err)
	return strings.TrimSpace(string(b))
}

func TestSpillOfAnotherDatabase(t *testing.T) {
	above := t.TempDir()
	a, b, fresh := filepath.Join(above, "a"), filepath.Join(above, "b"), filepath.Join(above, "fresh")
	dir := filepath.Join(above, "spill")
	oa := spilled(layer(a)).WithSpillDir(dir).WithDrainOnClose(false)
	ob := spilled(layer(b)).WithSpillDir(dir)
	// an empty spill is nobody's
	for _, o := range []badgerspill.Options{oa.WithDrainOnClose(true), ob} {
		db := openSpill(t, o)
		set(t, db, "mine", o.Dir)
		require.NoError(t, db.Close())
	}
	db := openSpill(t, oa)
	set(t, db, "mine", "spilled")
	t.Run("at the same time", func(t *testing.T) {
		before := hashes(t, b)
		_, err := badgerspill.Open(ob)
		require.ErrorIs(t, err, spillfile.ErrLocked)
		require.ErrorContains(t, err, dir)
		require.Equal(t, before, hashes(t, b))
		requireAll(t, db, map[string]string{"mine": "spilled"})
	})
	require.NoError(t, db.Close())

	t.Run("one after the other", func(t *testing.T) {
		before := hashes(t, above)
		_, err := badgerspill.Open(ob)
		require.ErrorIs(t, err, badgerspill.ErrForeignSpill)
		require.ErrorContains(t, err, identity(t, a))
		require.ErrorContains(t, err, identity(t, b))
		require.ErrorContains(t, err, dir)
		require.Equal(t, before, hashes(t, above))
	})
	t.Run("by a database that is just being made", func(t *testing.T) {
		before := hashes(t, dir)
		_, err := badgerspill.Open(spilled(layer(fresh)).WithSpillDir(dir))
		require.ErrorIs(t, err, badgerspill.ErrForeignSpill)
		require.ErrorContains(t, err, identity(t, a))
		require.Equal(t, before, hashes(t, dir))
		require.NoDirExists(t, fresh)
	})
	requireAll(t, openSpill(t, oa), map[string]string{"mine": "spilled"})
}

// The option changed, or the directory was moved: the interlock says that there are commits that
// Open does not find.
func TestSpillNotWhereTheInterlockSays(t *testing.T) {
	rows := []struct {
		name   string
		damage func(t *testing.T, o badgerspill.Options) badgerspill.Options
	}{
		{"SpillDir is another one", func(t *testing.T, o badgerspill.Options) badgerspill.Options {
			return o.WithSpillDir(o.Dir + "-other")
		}},
		{"SpillDir is another one, without a policy to spill", func(t *testing.T, o badgerspill.Options) badgerspill.Options {
			return o.WithSpillDir(o.Dir + "-other").WithSpillPolicy(badgerspill.Never)
		}},
		{"the directory was moved away", func(t *testing.T, o badgerspill.Options) badgerspill.Options {
			require.NoError(t, os.Rename(filepath.Join(o.Dir, "spill"), o.Dir+"-moved"))
			return o
		}},
		{"the manifest is gone", func(t *testing.T, o badgerspill.Options) badgerspill.Options {
			require.NoError(t, os.Remove(filepath.Join(o.Dir, "spill", "MANIFEST")))
			return o
		}},
		{"the manifest is gone, without a policy to spill", func(t *testing.T, o badgerspill.Options) badgerspill.Options {
			require.NoError(t, os.Remove(filepath.Join(o.Dir, "spill", "MANIFEST")))
			return o.WithSpillPolicy(badgerspill.Never)
		}},
		{"no spill is asked for, but it is there", nil},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			o := spilled(layer(filepath.Join(t.TempDir(), "db"))).WithDrainOnClose(false)
			db := openSpill(t, o.WithDrainOnClose(true))
			set(t, db, "a", "old")
			require.NoError(t, db.Close())
			db = openSpill(t, o)
			set(t, db, "a", "new")
			require.NoError(t, db.Close())
			if r.damage == nil {
				requireAll(t, openSpill(t, o.WithSpillPolicy(badgerspill.Never)), map[string]string{"a": "new"})
				return
			}
			bad := r.damage(t, o)
			before := hashes(t, o.Dir)
			opened, err := badgerspill.Open(bad)
			if err == nil {
				// anything else serves the past
				requireAll(t, opened, map[string]string{"a": "new"})
				require.NoError(t, opened.Close())
				return
			}
			require.Equal(t, before, hashes(t, o.Dir))
			_, err = badger.Open(o.Badger())
			require.ErrorContains(t, err, interlockFile, "the interlock stays")
		})
	}
}

func TestTwoOpensOfOneDirectory(t *testing.T) {
	rows := []struct {
		name   string
		change func(o badgerspill.Options) badgerspill.Options
	}{
		{"same options", func(o badgerspill.Options) badgerspill.Options { return o }},
		{"another SpillDir", func(o badgerspill.Options) badgerspill.Options { return o.WithSpillDir(o.Dir + "-other") }},
		{"without a spill", func(o badgerspill.Options) badgerspill.Options {
			return o.WithSpillPolicy(badgerspill.Never)
		}},
		{"another SpillDir, without a spill", func(o badgerspill.Options) badgerspill.Options {
			return o.WithSpillDir(o.Dir + "-other").WithSpillPolicy(badgerspill.Never)
		}},
		{"read-only", func(o badgerspill.Options) badgerspill.Options { o = o.WithReadOnly(true); return o }},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			o := spilled(layer(filepath.Join(t.TempDir(), "db"))).WithDrainOnClose(false)
			db := openSpill(t, o)
			set(t, db, "a", "1")
			_, err := badgerspill.Open(r.change(o))
			require.Error(t, err)
			set(t, db, "b", "2")
			requireAll(t, db, map[string]string{"a": "1", "b": "2"})
			require.NoError(t, db.Close())
			_, err = badger.Open(o.Badger())
			require.ErrorContains(t, err, interlockFile, "the refused open took the interlock away")
			requireAll(t, openSpill(t, o), map[string]string{"a": "1", "b": "2"})
		})
	}
}

// smallSpill makes a database that was closed with several small segments in its spill, and says
// what is in it.
func smallSpill(t *testing.T, o badgerspill.Options) map[string]string {
	t.Helper()
	want := map[string]string{}
	db := openSpill(t, o.WithDrainOnClose(true))
	for i := range 4 {
		set(t, db, string(key(i)), "in Badger")
		want[string(key(i))] = "in Badger"
	}
	require.NoError(t, db.Close())
	db = openSpill(t, o.WithDrainOnClose(false))
	for i := range 40 {
		v := ""
		for n := 1 + i*13%15; n > 0; n-- {
			v += fmt.Sprintf("%x", sha256.Sum256(fmt.Append(nil, i, n))) // compresses badly
		}
		set(t, db, string(key(i)), v)
		want[string(key(i))] = v
	}
	require.NoError(t, db.Close())
	return want
}

func spillFiles(t *testing.T, dir string) (files []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, "spill"))
	require.NoError(t, err)
	for _, e := range entries {
		if e.Name() != "LOCK" && e.Name() != "MANIFEST.tmp" { // they hold nothing
			files = append(files, filepath.Join(dir, "spill", e.Name()))
		}
	}
	require.Greater(t, len(files), 3, "several segments and a manifest")
	return append(files, filepath.Join(dir, "BADGERSPILL"))
}

// damaged opens a damaged database: it is refused with an error that names the file, and nothing
// changes; or a read is; or all of it is right.
func damaged(t *testing.T, o badgerspill.Options, file, pristine string, want map[string]string) (refused bool) {
	t.Helper()
	before := hashes(t, o.Dir)
	db, err := badgerspill.Open(o)
	if err != nil {
		named := strings.Contains(err.Error(), filepath.Base(file)) || strings.Contains(err.Error(), filepath.Join(o.Dir, "spill"))
		require.True(t, named, "%s is not named: %v", file, err)
		require.Equal(t, before, hashes(t, o.Dir), "after %v", err)
		return true
	}
	err = db.View(func(txn *badgerspill.Txn) error {
		for k, v := range want {
			item, err := txn.Get([]byte(k))
			if err != nil {
				return err
			}
			if err := item.Value(func(val []byte) error { require.Equal(t, v, string(val), k); return nil }); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		require.ErrorIs(t, err, badgerspill.ErrCorrupt)
		require.ErrorContains(t, err, filepath.Base(file))
		_ = db.Close()
	} else {
		requireAll(t, db, want)
		require.NoError(t, db.Close())
	}
	restore(t, o.Dir, pristine)
	return err != nil
}

// isIndex: such a file is made again from its segment when it is damaged or missing.
func isIndex(file string) bool { return filepath.Ext(file) == ".idx" }

func TestFlippedByteInTheSpill(t *testing.T) {
	for _, encrypted := range []bool{false, true} {
		t.Run(fmt.Sprint("encrypted ", encrypted), func(t *testing.T) {
			rng := random(t)
			above := t.TempDir()
			o := spilled(layer(filepath.Join(above, "db"))).WithSegmentSize(4 << 10).WithDrainOnClose(false)
			if encrypted {
				o = o.WithEncryptionKey(make([]byte, 32)).WithIndexCacheSize(1 << 20)
			}
			want := smallSpill(t, o)
			pristine := filepath.Join(above, "pristine")
			require.NoError(t, os.CopyFS(pristine, os.DirFS(o.Dir)))
			files := spillFiles(t, o.Dir)
			flips, refused := 0, 0
			for range 100 {
				file := files[rng.IntN(len(files))]
				if !isIndex(file) {
					flips++
				}
				b, err := os.ReadFile(file)
				require.NoError(t, err)
				at, bit := rng.IntN(len(b)), byte(1)<<rng.IntN(8)
				b[at] ^= bit
				require.NoError(t, os.WriteFile(file, b, 0o600))
				if damaged(t, o, file, pristine, want) {
					require.False(t, isIndex(file), "an index was not made again: bit %x of byte %d of %s", bit, at, file)
					refused++
					b[at] ^= bit
					require.NoError(t, os.WriteFile(file, b, 0o600))
				}
				if t.Failed() {
					t.Logf("bit %x of byte %d of %s", bit, at, file)
					return
				}
			}
			require.Greater(t, refused, flips/2, "damage goes unnoticed")
			requireAll(t, openSpill(t, o), want)
		})
	}
}

func TestTruncatedSpill(t *testing.T) {
	rng := random(t)
	above := t.TempDir()
	o := spilled(layer(filepath.Join(above, "db"))).WithSegmentSize(4 << 10).WithDrainOnClose(false)
	want := smallSpill(t, o)
	pristine := filepath.Join(above, "pristine")
	require.NoError(t, os.CopyFS(pristine, os.DirFS(o.Dir)))
	for _, file := range spillFiles(t, o.Dir) {
		b, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, n := range []int{0, 1, rng.IntN(len(b)), len(b) - 1} {
			require.NoError(t, os.WriteFile(file, b[:n], 0o600))
			require.Equal(t, !madeAgain(file), damaged(t, o, file, pristine, want), "%s cut to %d of %d bytes", file, n, len(b))
		}
		require.NoError(t, os.WriteFile(file, append(bytes.Clone(b), make([]byte, 1+rng.IntN(300))...), 0o600))
		damaged(t, o, file, pristine, want)
		require.NoError(t, os.WriteFile(file, b, 0o600))
		if filepath.Base(file) == "BADGERSPILL" {
			continue
		}
		require.NoError(t, os.Remove(file))
		require.Equal(t, !madeAgain(file), damaged(t, o, file, pristine, want), "%s removed", file)
		require.NoError(t, os.WriteFile(file, b, 0o600))
	}
	requireAll(t, openSpill(t, o), want)
}

// madeAgain says whether the file holds nothing that is not somewhere else, after a close.
func madeAgain(file string) bool { return isIndex(file) || filepath.Base(file) == "NEWEST" }

func TestSpillOfANewerFormat(t *testing.T) {
	above := t.TempDir()
	o := spilled(layer(filepath.Join(above, "db"))).WithSegmentSize(4 << 10).WithDrainOnClose(false)
	want := smallSpill(t, o)
	for _, file := range spillFiles(t, o.Dir) {
		if filepath.Base(file) == "BADGERSPILL" {
			continue
		}
		b, err := os.ReadFile(file)
		require.NoError(t, err)
		newer := bytes.Clone(b)
		if isIndex(file) { // it is made again
			footer := newer[len(newer)-192:]
			require.Equal(t, "bspilidx", string(footer[:8]))
			footer[8]++
			require.NoError(t, os.WriteFile(file, newer, 0o600))
			db := openSpill(t, o)
			requireAll(t, db, want)
			require.NoError(t, db.Close())
			again, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Equal(t, b, again)
			continue
		}
		found := binary.LittleEndian.Uint32(newer[8:]) + 1
		binary.LittleEndian.PutUint32(newer[8:], found)
		require.NoError(t, os.WriteFile(file, newer, 0o600))
		before := hashes(t, above)
		_, err = badgerspill.Open(o)
		var version *spillfile.VersionError
		require.ErrorAs(t, err, &version)
		require.Equal(t, file, version.File)
		require.Equal(t, found, version.Found)
		require.NotErrorIs(t, err, badgerspill.ErrCorrupt, "a newer format is no damage")
		require.Equal(t, before, hashes(t, above))
		require.NoError(t, os.WriteFile(file, b, 0o600))
	}
	requireAll(t, openSpill(t, o), want)
}

// The child writes until its memtables and its spill hold something, says so, and waits to be
// killed.
func TestMemoryChild(t *testing.T) {
	dir := childproc.Arg[string](t)
	// The first half stays in memtables, the second half in the spill.
	db := openSpill(t, layer(dir).WithStallThreshold(-1).WithSpillRate(-1))
	wb := db.NewWriteBatch()
	for i := range memoryKeys {
		require.NoError(t, wb.Set(key(i), memoryValue(i)))
	}
	require.NoError(t, wb.Flush())
	fmt.Println("ready")
	childproc.UntilTheInputEnds()
}

const memoryKeys = 40_000 // of 200 bytes: more than one memtable

func memoryValue(i int) []byte { return bytes.Repeat(key(i), 25) }

func TestSmallerMemoryLimitAfterAKill(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "db")
	child := childproc.Start(t, "TestMemoryChild", dir)
	_, ready := child.WaitFor("ready")
	child.Stop()
	require.True(t, ready)

	o := layer(dir).WithMemoryLimit(6 << 20)
	names, err := filepath.Glob(filepath.Join(dir, "*.mem"))
	require.NoError(t, err)
	require.NotEmpty(t, names, "the kill left memtables")
	for range 2 {
		db := openSpill(t, o)
		require.NoError(t, db.View(func(txn *badgerspill.Txn) error {
			for i := range memoryKeys {
				it, err := txn.Get(key(i))
				require.NoError(t, err)
				require.NoError(t, it.Value(func(v []byte) error {
					if !bytes.Equal(v, memoryValue(i)) {
						return fmt.Errorf("%s is %q", key(i), v)
					}
					return nil
				}))
			}
			return nil
		}))
		require.Less(t, db.EffectiveOpts().MemTableSize, int64(8<<20))
		require.EqualValues(t, 8<<20, db.Opts().MemTableSize, "as asked")
		set(t, db, "after", "1")
		require.NoError(t, db.Close())
	}
}

func TestNoSpace(t *testing.T) {
	dir := t.TempDir()
	free, _, err := spillfile.OS.Free(dir)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	require.NoError(t, err)
	o := spilled(layer(dir)).WithDrainOnClose(false)
	db := openSpill(t, o.WithMinFreeSpace(free/2))
	set(t, db, "a", "1")
	require.NoError(t, db.Close())

	db = openSpill(t, o.WithMinFreeSpace(free*2))
	for range 2 {
		txn := db.NewTransaction(true)
		require.NoError(t, txn.Set([]byte("b"), []byte("2")))
		err := txn.Commit()
		require.ErrorIs(t, err, badgerspill.ErrNoSpace)
		require.ErrorContains(t, err, dir)
		require.ErrorContains(t, err, fmt.Sprint(free*2))
		wb := db.NewWriteBatch()
		require.NoError(t, wb.Set([]byte("c"), []byte("3")))
		require.ErrorIs(t, wb.Flush(), badgerspill.ErrNoSpace)
		done := make(chan error)
		txn = db.NewTransaction(true)
		require.NoError(t, txn.Set([]byte("d"), []byte("4")))
		txn.CommitWith(func(err error) { done <- err })
		require.ErrorIs(t, <-done, badgerspill.ErrNoSpace)
	}
	requireAll(t, db, map[string]string{"a": "1"})
	require.Equal(t, uint64(1), db.MaxVersion(), "a refused commit uses no timestamp")
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, db.Drain(ctx), context.DeadlineExceeded, "replay too would fill the disk")
	require.NoError(t, db.Close())

	t.Run("close does not hang", func(t *testing.T) {
		db := openSpill(t, o.WithMinFreeSpace(free*2).WithDrainOnClose(true))
		in(t, 5*time.Second, "Close", func() {
			err := db.Close()
			require.True(t, errors.Is(err, badgerspill.ErrNoSpace), "Close says why the spill stays: %v", err)
		})
	})

	db = openSpill(t, o.WithMinFreeSpace(free/2))
	set(t, db, "b", "2")
	require.NoError(t, db.Drain(context.Background()))
	requireAll(t, db, map[string]string{"a": "1", "b": "2"})
	require.NoError(t, db.Close())
}
