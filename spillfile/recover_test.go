package spillfile

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/forgery"
	"github.com/badgerspill/badgerspill/spillfile/internal/index"
	"github.com/badgerspill/badgerspill/spillfile/internal/layout"
	"github.com/badgerspill/badgerspill/spillfile/vfs/vfstest"
)

// damaged opens the files given on a disk of their own, and requires that a failing Open changes
// none of them.
func damaged(t *testing.T, o Options, files map[string]string) (*Log, *vfstest.Disk, error) {
	t.Helper()
	m := vfstest.DiskOf(o.Dir, files)
	o.FS = m
	l, err := Open(o)
	if err != nil {
		after := m.Files()
		require.Equal(t, len(files), len(after))
		for name, b := range files {
			require.True(t, b == after[name], "%s was changed", name)
		}
	}
	return l, m, err
}

func clone(files map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range files {
		out[k] = v
	}
	return out
}

func TestTornTailAtEveryByte(t *testing.T) {
	for name, o := range map[string]Options{
		"no sync":         {},
		"sync":            {SyncWrites: true},
		"sync, encrypted": {SyncWrites: true, EncryptionKey: make([]byte, 16)},
	} {
		t.Run(name, func(t *testing.T) {
			m := vfstest.NewDisk()
			o.FS, o.Dir, o.DatabaseID, o.SegmentSize = m, "/spill", testID, MinSegmentSize
			l := mustOpen(t, o)
			mustPut(t, l, 1, "a", "one")
			mustPut(t, l, 2, "b", "two")
			intact := l.w.active.end.Load()
			b := newBatch(Entry{Key: []byte("c"), Value: bytes.Repeat([]byte("xyz"), 3000)}, Entry{Key: []byte("d"), Value: []byte("four")})
			require.Len(t, b.blocks, 2)
			l.Enqueue(b, 3)
			require.NoError(t, l.Commit(b))
			files := m.Files()
			require.NoError(t, l.Close())
			seg := block.SegmentName(1)
			whole := files[seg]
			for cut := len(whole); cut >= int(intact); cut-- {
				files[seg] = whole[:cut]
				l, m, err := damaged(t, o, files)
				require.NoError(t, err, "cut at %d", cut)
				want := 2
				if cut == len(whole) {
					want = 4
				}
				require.Len(t, dump(t, l), want, "cut at %d", cut)
				if want == 2 {
					require.Equal(t, int64(cut)-intact, l.State().TruncatedBytes)
					require.Equal(t, uint64(2), l.State().LastSeq)
					require.Len(t, m.Files()[seg], int(intact))
				}
				require.NoError(t, l.Close())
			}
			// A tail of the right length with any byte wrong is torn as well.
			step := 3
			if name == "sync" {
				step = 1
			}
			for at := int(intact); at < len(whole); at += step {
				files[seg] = forgery.Flip(whole, at, 0x40)
				l, m, err := damaged(t, o, files)
				require.NoError(t, err, "byte %d", at)
				require.Len(t, dump(t, l), 2)
				mustPut(t, l, 3, "again", "x")
				require.NoError(t, l.Close())
				o := o
				o.FS = m
				l = mustOpen(t, o)
				require.Len(t, dump(t, l), 3)
				require.NoError(t, l.Close())
			}
			// What lies below the synced mark of the last block is corruption.
			if o.SyncWrites {
				for at := block.SegmentHeaderSize; at < int(intact); at++ {
					files[seg] = forgery.Flip(whole, at, 1)
					_, _, err := damaged(t, o, files)
					var c *CorruptError
					require.ErrorAs(t, err, &c, "byte %d", at)
					require.Equal(t, filepath.Join(o.Dir, seg), c.File)
					require.LessOrEqual(t, c.Offset, int64(at))
				}
			}
		})
	}
}

// After a clean close every single byte counts: damage to the manifest or to a header is noticed by
// Open, to a block by Open or by the first read of it, and an index is made again.
func TestEveryFlippedByteIsNoticed(t *testing.T) {
	for name, key := range map[string][]byte{"plain": nil, "encrypted": make([]byte, 32)} {
		t.Run(name, func(t *testing.T) {
			m := vfstest.NewDisk()
			o := faultOptions(m, false, key)
			l := mustOpen(t, o)
			mustPut(t, l, 1, "a", "one")
			mustPut(t, l, 2, "b", strings.Repeat("two", 20))
			require.NoError(t, l.Seal())
			mustPut(t, l, 3, "c", "three")
			want := dump(t, l)
			require.NoError(t, l.Close())
			files := m.Files()
			for _, name := range []string{layout.ManifestName, block.SegmentName(1), block.SegmentName(2)} {
				for at := range len(files[name]) {
					for _, bit := range []byte{1, 0x80} {
						bad := clone(files)
						bad[name] = forgery.Flip(files[name], at, bit)
						l, _, err := damaged(t, o, bad)
						if err == nil {
							require.True(t, name != layout.ManifestName && at >= block.SegmentHeaderSize, "%s: byte %d does not matter to Open", name, at)
							_, err = tryDump(l)
							require.ErrorIs(t, err, ErrCorrupt, "%s: byte %d", name, at)
							require.ErrorIs(t, tryReadAll(l), ErrCorrupt, "%s: byte %d", name, at)
							require.NoError(t, l.Close())
						} else if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrFormatVersion) {
							t.Errorf("%s: byte %d: %v", name, at, err)
						}
					}
				}
				for at := range len(files[name]) {
					bad := clone(files)
					bad[name] = files[name][:at]
					_, _, err := damaged(t, o, bad)
					require.Error(t, err, "%s cut at %d", name, at)
				}
			}
			for _, name := range []string{index.Name(1), index.Name(2)} {
				require.NotEmpty(t, files[name], name)
				for at := range len(files[name]) {
					flipped, cut := clone(files), clone(files)
					flipped[name], cut[name] = forgery.Flip(files[name], at, 4), files[name][:at]
					for what, bad := range map[string]map[string]string{"flipped": flipped, "cut": cut} {
						l, m, err := damaged(t, o, bad)
						require.NoError(t, err, "%s: %s at byte %d", name, what, at)
						requireSame(t, want, dump(t, l))
						for k, v := range want {
							got, ok := get(t, l, k[:1])
							require.True(t, ok)
							require.Equal(t, v, got)
						}
						require.NoError(t, l.Close())
						require.Len(t, m.Files()[name], len(files[name]), "%s was not made again: %s at byte %d", name, what, at)
					}
				}
			}
		})
	}
}

func TestDamageWhileOpenIsFoundByReads(t *testing.T) {
	o := testOptions(t.TempDir())
	l := mustOpen(t, o)
	defer l.Close()
	mustPut(t, l, 1, "a", strings.Repeat("one", index.InlineValue))
	path := filepath.Join(o.Dir, block.SegmentName(1))
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	v := l.Acquire()
	defer v.Release()
	ref, ok, err := v.Get([]byte("a"), 1, false)
	require.NoError(t, err)
	require.True(t, ok)
	for at := block.SegmentHeaderSize; at < len(whole); at++ {
		bad := bytes.Clone(whole)
		bad[at] ^= 4
		require.NoError(t, os.WriteFile(path, bad, 0o600))
		got, err := v.Value(ref, []byte("dst"))
		require.ErrorIs(t, err, ErrCorrupt, "byte %d", at)
		require.Equal(t, "dst", string(got))
		_, err = l.ReadChunk(Position{}, 1000)
		require.ErrorIs(t, err, ErrCorrupt, "byte %d", at)
	}
	require.NoError(t, os.Truncate(path, 200))
	_, err = v.Value(ref, nil)
	require.ErrorIs(t, err, ErrCorrupt)
}

// disk is a spill of three segments with two batches each, as a killed process leaves it, under
// sync.
func disk(t *testing.T, o Options) map[string]string {
	t.Helper()
	m := vfstest.NewDisk()
	o.FS = m
	l := mustOpen(t, o)
	for i := range 6 {
		if i > 0 && i%2 == 0 {
			require.NoError(t, l.Seal())
		}
		mustPut(t, l, uint64(i+1), fmt.Sprint(i), strings.Repeat("v", 50))
	}
	files := m.Files()
	require.NoError(t, l.Close())
	return files
}

func TestDamagedDisks(t *testing.T) {
	o := faultOptions(nil, true, nil)
	first, second, third := block.SegmentName(1), block.SegmentName(2), block.SegmentName(3)
	for name, row := range map[string]struct {
		damage func(files map[string]string)
		want   error
		text   string
		live   int
	}{
		"nothing wrong":                           {damage: func(map[string]string) {}, live: 6},
		"first segment missing":                   {damage: func(f map[string]string) { delete(f, first) }, want: ErrCorrupt, text: first},
		"middle segment missing":                  {damage: func(f map[string]string) { delete(f, second) }, want: ErrCorrupt, text: second},
		"middle segment empty":                    {damage: func(f map[string]string) { f[second] = "" }, want: ErrCorrupt, text: second},
		"middle segment without its last batch":   {damage: func(f map[string]string) { f[second] = f[second][:len(f[second])-60] }, want: ErrCorrupt, text: second},
		"middle segment with bytes after its end": {damage: func(f map[string]string) { f[second] += "garbage" }, live: 6},
		"last segment never used":                 {damage: func(f map[string]string) { f[block.SegmentName(4)] = "" }, live: 6},
		"last segment with half a header":         {damage: func(f map[string]string) { f[block.SegmentName(4)] = f[third][:100] }, live: 6},
		"last segment with a header only":         {damage: func(f map[string]string) { f[third] = f[third][:block.SegmentHeaderSize] }, want: ErrCorrupt, text: third},
		"last segment missing":                    {damage: func(f map[string]string) { delete(f, third) }, want: ErrCorrupt, text: third},
		"last segment missing, and its note":      {damage: func(f map[string]string) { delete(f, third); delete(f, layout.NewestName) }, live: 4},
		"last segment torn below its mark":        {damage: func(f map[string]string) { f[third] = f[third][:250] + "x" + f[third][251:] }, want: ErrCorrupt, text: third},
		"last segment zeroed to its end":          {damage: func(f map[string]string) { f[third] += string(make([]byte, 5000)) }, live: 6},
		"segment under another name":              {damage: func(f map[string]string) { f[second] = f[first] }, want: ErrCorrupt, text: second},
		"block copied to another place": {damage: func(f map[string]string) {
			f[third] += f[third][block.SegmentHeaderSize:]
		}, live: 6},
		"manifest missing":              {damage: func(f map[string]string) { delete(f, layout.ManifestName) }, want: ErrNoManifest, text: first},
		"manifest of something else":    {damage: func(f map[string]string) { f[layout.ManifestName] = "L0 L1 L2 L3" + f[layout.ManifestName] }, want: ErrCorrupt, text: "not the manifest"},
		"manifest cut off":              {damage: func(f map[string]string) { f[layout.ManifestName] = f[layout.ManifestName][:64] }, want: ErrCorrupt, text: layout.ManifestName},
		"manifest too long":             {damage: func(f map[string]string) { f[layout.ManifestName] += "x" }, want: ErrCorrupt, text: layout.ManifestName},
		"manifest half written besides": {damage: func(f map[string]string) { f[layout.ManifestTemp] = f[layout.ManifestName][:50] }, live: 6},
		"newer segment":                 {damage: func(f map[string]string) { f[second] = f[second][:8] + "\x02" + f[second][9:] }, want: ErrFormatVersion, text: "version 2, this release supports 1"},
		"newer manifest": {damage: func(f map[string]string) {
			f[layout.ManifestName] = f[layout.ManifestName][:8] + "\x07" + f[layout.ManifestName][9:]
		}, want: ErrFormatVersion, text: "version 7"},
		"files that are none of ours": {damage: func(f map[string]string) { f["README"], f["1.seg"] = "hello", "x" }, live: 6},
	} {
		t.Run(name, func(t *testing.T) {
			files := disk(t, o)
			row.damage(files)
			l, m, err := damaged(t, o, files)
			if row.want != nil {
				require.ErrorIs(t, err, row.want)
				require.Contains(t, err.Error(), row.text)
				return
			}
			require.NoError(t, err)
			require.Len(t, dump(t, l), row.live)
			mustPut(t, l, 10, "next", "n")
			require.NoError(t, l.Close())
			o := o
			o.FS = m
			l = mustOpen(t, o)
			require.Len(t, dump(t, l), row.live+1)
			require.NoError(t, l.Close())
			if _, ok := files["README"]; ok {
				require.Equal(t, "hello", m.Files()["README"])
			}
		})
	}
}

// Without sync, a power cut may take the tail of a sealed segment and leave its successor. If
// nobody knew those bytes to be durable, the log ends there; if anybody did, it is corrupt.
func TestHoleBeforeTheLastSegment(t *testing.T) {
	m := vfstest.NewDisk()
	o := faultOptions(m, false, nil)
	l := mustOpen(t, o)
	mustPut(t, l, 1, "a", "1")
	mustPut(t, l, 2, "b", "2")
	// No sync gets through, so no mark exists.
	m.SetFault(func(op, _ string) error {
		if op == "sync" {
			return errInjected
		}
		return nil
	})
	require.NoError(t, l.Seal())
	mustPut(t, l, 3, "c", "3")
	files := m.Killed().Files()
	files[block.SegmentName(1)] = files[block.SegmentName(1)][:len(files[block.SegmentName(1)])-3]
	o.FS = vfstest.DiskOf("/spill", files)
	var dropped []Event
	o.OnEvent = func(e Event) { dropped = append(dropped, e) }
	l2 := mustOpen(t, o)
	require.Equal(t, map[string]string{"a@1": "1"}, dump(t, l2))
	require.Len(t, dropped, 2)
	require.Positive(t, l2.State().TruncatedBytes)
	require.NoError(t, l2.Close())
	l2 = mustOpen(t, o)
	require.Len(t, dump(t, l2), 1)
	require.NoError(t, l2.Close())
}

func TestSegmentDeadByManifestStaysDead(t *testing.T) {
	o := testOptions(t.TempDir())
	l := mustOpen(t, o)
	mustPut(t, l, 1, "a", "1")
	require.NoError(t, l.Seal())
	mustPut(t, l, 2, "b", "2")
	before := snapshot(t, o.Dir)
	require.NoError(t, l.MarkReplayed(1))
	partly := snapshot(t, o.Dir)
	require.NoError(t, l.MarkReplayed(2))
	all := snapshot(t, o.Dir)
	require.NoError(t, l.Close())
	// The files are back although the manifest says that they are replayed.
	for name, manifest := range map[string]string{"b@2": partly[layout.ManifestName], "": all[layout.ManifestName]} {
		files := clone(before)
		files[layout.ManifestName] = manifest
		l, _, err := damaged(t, o, files)
		require.NoError(t, err)
		got := dump(t, l)
		if name == "" {
			require.Empty(t, got)
			require.True(t, l.Empty())
		} else {
			require.Len(t, got, 1)
			require.Contains(t, got, name)
		}
		mustPut(t, l, 3, "c", "3")
		require.Equal(t, uint64(3), l.State().LastSeq)
		require.NoError(t, l.Close())
	}
}

func TestAnotherDatabase(t *testing.T) {
	o := testOptions(t.TempDir())
	l := mustOpen(t, o)
	require.NoError(t, l.Close())
	other := o
	other.DatabaseID = [16]byte{9}
	l = mustOpen(t, other) // empty: adopted
	mustPut(t, l, 1, "a", "1")
	require.NoError(t, l.Close())
	_, err := Open(o)
	require.ErrorIs(t, err, ErrForeignSpill)
	require.Contains(t, err.Error(), o.Dir)
	require.Contains(t, err.Error(), fmt.Sprintf("%x", other.DatabaseID))
	require.Contains(t, err.Error(), fmt.Sprintf("%x", o.DatabaseID))
	l = mustOpen(t, other)
	require.Len(t, dump(t, l), 1)
	require.NoError(t, l.Close())
}

func TestEncryption(t *testing.T) {
	o := testOptions(t.TempDir())
	o.EncryptionKey = []byte("0123456789abcdef")
	l := mustOpen(t, o)
	mustPut(t, l, 1, "the-key", "SECRET SECRET SECRET")
	for name, b := range snapshot(t, o.Dir) {
		require.NotContains(t, b, "SECRET", name)
		require.NotContains(t, b, "the-key", name)
	}
	got, ok := get(t, l, "the-key")
	require.True(t, ok)
	require.Equal(t, "SECRET SECRET SECRET", got)
	require.NoError(t, l.Close())

	wrong := o
	wrong.EncryptionKey = []byte("fedcba9876543210")
	_, err := Open(wrong)
	require.ErrorIs(t, err, ErrWrongKey)
	none := o
	none.EncryptionKey = nil
	_, err = Open(none)
	require.ErrorIs(t, err, ErrKeyMissing)
	l = mustOpen(t, o)
	require.Len(t, dump(t, l), 1)
	require.NoError(t, l.DiscardAll())
	require.NoError(t, l.Close())

	// Plaintext stays readable when a key is added, and what follows is encrypted.
	l = mustOpen(t, none)
	mustPut(t, l, 2, "plain", "in the open")
	require.NoError(t, l.Close())
	l = mustOpen(t, o)
	mustPut(t, l, 3, "hidden", "behind the key")
	require.Len(t, dump(t, l), 2)
	require.NoError(t, l.Close())
	all := ""
	for _, b := range snapshot(t, o.Dir) {
		all += b
	}
	require.Contains(t, all, "in the open")
	require.NotContains(t, all, "behind the key")
}

func TestReadOnly(t *testing.T) {
	dir := t.TempDir()
	missing := testOptions(filepath.Join(dir, "missing"))
	missing.ReadOnly = true
	l := mustOpen(t, missing)
	require.True(t, l.Empty())
	require.NoError(t, l.Close())
	require.NoDirExists(t, missing.Dir)

	o := testOptions(filepath.Join(dir, "spill"))
	l = mustOpen(t, o)
	mustPut(t, l, 1, "a", "1")
	crashed := crash(t, o.Dir)
	ro := o
	ro.ReadOnly = true
	_, err := Open(ro)
	require.ErrorIs(t, err, ErrLocked)
	_, err = Open(o)
	require.ErrorIs(t, err, ErrLocked)
	require.Contains(t, err.Error(), o.Dir)
	require.NoError(t, l.Close())

	path := filepath.Join(crashed, block.SegmentName(1))
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, append(whole, "torn tail"...), 0o600))
	before := snapshot(t, crashed)
	ro.Dir, o.Dir = crashed, crashed
	one, two := mustOpen(t, ro), mustOpen(t, ro)
	_, err = Open(o)
	require.ErrorIs(t, err, ErrLocked)
	for _, l := range []*Log{one, two} {
		require.Len(t, dump(t, l), 1)
		require.Len(t, readAll(t, l, 100), 1)
		require.Equal(t, int64(9), l.State().TruncatedBytes)
		require.ErrorIs(t, put(l, 2, "b", "2"), ErrReadOnly)
		require.ErrorIs(t, l.Sync(), ErrReadOnly)
		require.ErrorIs(t, l.MarkReplayed(1), ErrReadOnly)
		require.ErrorIs(t, l.Seal(), ErrReadOnly)
		require.NoError(t, l.Close())
	}
	require.Equal(t, before, snapshot(t, crashed))
}

func TestPreparedSegmentLeavesNoTrace(t *testing.T) {
	o := testOptions(t.TempDir())
	l := mustOpen(t, o)
	mustPut(t, l, 1, "a", strings.Repeat("x", 10)+string(randomValue(newRand(t), 40<<10)))
	require.True(t, waitFor(func() bool { return len(segmentFiles(t, o.Dir)) == 2 }))
	crashed := crash(t, o.Dir)
	require.NoError(t, l.Close())
	require.Len(t, segmentFiles(t, o.Dir), 1)
	o.Dir = crashed
	l = mustOpen(t, o)
	require.Len(t, segmentFiles(t, o.Dir), 1)
	require.Zero(t, l.State().TruncatedBytes)
	mustPut(t, l, 2, "b", "2")
	require.NoError(t, l.Close())
}

// A batch failed and could not be cut off, so the clean close that followed left it out. Killed
// when only the name of the next segment was there, the log took that batch back: its writer had
// been told that it failed.
func TestFailedBatchStaysOutWhenAnUnusedSegmentFollows(t *testing.T) {
	m := vfstest.NewDisk()
	l := mustOpen(t, faultOptions(m, true, nil))
	mustPut(t, l, 1, "good", "1")
	m.SetFault(func(op, path string) error {
		if (op == "sync" || op == "truncate") && filepath.Base(path) == block.SegmentName(1) {
			return errInjected
		}
		return nil
	})
	require.ErrorIs(t, put(l, 2, "bad", "2"), errInjected)
	require.NoError(t, l.Close())
	m.SetFault(nil)

	l = mustOpen(t, faultOptions(m, true, nil))
	require.NotContains(t, dump(t, l), "bad@2")
	var killed map[string]string
	m.SetFault(func(op, _ string) error {
		if op == "write" && killed == nil { // of the header
			killed = m.Files()
		}
		return nil
	})
	mustPut(t, l, 3, "k", "v")
	require.NoError(t, l.Close())
	require.Empty(t, killed[block.SegmentName(2)])
	l = mustOpen(t, faultOptions(vfstest.DiskOf("/spill", killed), true, nil))
	defer l.Close()
	got := dump(t, l)
	require.Contains(t, got, "good@1")
	require.NotContains(t, got, "bad@2")
}

// A power cut left the magic of a new segment and zeros. Open took those for version 0 of the
// format and refused.
func TestTornHeaderIsNotAVersion(t *testing.T) {
	o := faultOptions(nil, true, nil)
	files := disk(t, o)
	files[block.SegmentName(4)] = "bspilseg" + string(make([]byte, 500))
	l, _, err := damaged(t, o, files)
	require.NoError(t, err)
	require.Len(t, dump(t, l), 6)
	require.NoError(t, l.Close())
}
