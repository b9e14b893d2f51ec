package spillfile

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/dgraph-io/badger/v4/y"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/forgery"
	"github.com/badgerspill/badgerspill/spillfile/internal/index"
	"github.com/badgerspill/badgerspill/spillfile/vfs/vfstest"
)

// Damage to a log that was killed: one byte is wrong, wherever. It opens or says that it is
// corrupt; what it answers is right; and under sync nothing but the last batch, which no synced
// mark covers, may be taken for a torn tail.
func TestEveryFlippedByteAfterAKill(t *testing.T) {
	for name, o := range map[string]Options{
		"no sync":         {},
		"sync":            {SyncWrites: true},
		"sync, encrypted": {SyncWrites: true, EncryptionKey: make([]byte, 24)},
	} {
		t.Run(name, func(t *testing.T) {
			m := vfstest.NewDisk()
			o.FS, o.Dir, o.DatabaseID, o.SegmentSize = m, "/spill", testID, MinSegmentSize
			l := mustOpen(t, o)
			mustPut(t, l, 1, "a", "one")
			mustPut(t, l, 2, "b", "two")
			require.NoError(t, l.MarkReplayed(1)) // the manifest has something to say
			require.NoError(t, l.Seal())
			mustPut(t, l, 3, "c", strings.Repeat("three", 20))
			require.NoError(t, l.Seal())
			require.NoError(t, l.syncAll(false))
			require.NoError(t, l.indexSealed())
			mustPut(t, l, 4, "d", "four")
			mustPut(t, l, 5, "e", "five")
			want := dump(t, l)
			delete(want, "a@1")
			require.Len(t, want, 4)
			files := m.Files()
			require.NoError(t, l.Close())
			require.Contains(t, files, index.Name(2))
			opened, refused := 0, 0
			for _, file := range slices.Sorted(maps.Keys(files)) {
				for at := range len(files[file]) {
					bad := clone(files)
					bad[file] = forgery.Flip(files[file], at, 1<<(at%8))
					l, _, err := damaged(t, o, bad)
					if err != nil {
						require.True(t, errors.Is(err, ErrCorrupt) || errors.Is(err, ErrFormatVersion), "%s, byte %d: %v", file, at, err)
						refused++
						continue
					}
					opened++
					answersRight(t, l, want, fmt.Sprintf("%s, byte %d", file, at), o.SyncWrites)
					require.NoError(t, l.Close())
				}
			}
			require.Positive(t, opened)
			require.Positive(t, refused)
		})
	}
}

// answersRight: each read gives the right value or an ErrCorrupt, and what is missing is the end of
// the log: only the last batch if sync is true.
func answersRight(t *testing.T, l *Log, want map[string]string, where string, sync bool) {
	t.Helper()
	corrupt := func(err error) bool {
		if err != nil {
			require.ErrorIs(t, err, ErrCorrupt, where)
		}
		return err != nil
	}
	got, err := tryDump(l)
	damage := corrupt(err)
	for name, value := range got {
		require.Equal(t, want[name], value, "%s: %s", where, name)
	}
	v := l.Acquire()
	defer func() {
		if v != nil {
			v.Release()
		}
	}()
	lost := uint64(math.MaxUint64)
	highest := uint64(0)
	for name := range want {
		var version uint64
		_, err := fmt.Sscanf(name[2:], "%d", &version)
		require.NoError(t, err)
		var ref Ref
		var ok bool
		if v != nil {
			ref, ok, err = v.Get([]byte(name[:1]), math.MaxUint64, false)
		}
		if corrupt(err) {
			damage = true
			continue
		}
		if !ok {
			lost = min(lost, version)
			continue
		}
		value, err := v.Value(ref, nil)
		if corrupt(err) {
			damage = true
			continue
		}
		require.Equal(t, want[name], string(value), "%s: %s", where, name)
		highest = max(highest, version)
	}
	if !damage {
		require.Greater(t, lost, highest, "%s: something is missing from the middle", where)
	}
	if sync {
		require.GreaterOrEqual(t, lost, uint64(len(want)+1), "%s: more than the last batch is gone", where)
	}
	corrupt(tryReadAll(l))
}

// The file is as long as it should be, but from somewhere in its last block on it is zeros: its
// length reached the disk, its content did not.
func TestTailOfZerosAtEveryByte(t *testing.T) {
	for name, key := range map[string][]byte{"plain": nil, "encrypted": make([]byte, 16)} {
		t.Run(name, func(t *testing.T) {
			m := vfstest.NewDisk()
			o := faultOptions(m, true, key)
			l := mustOpen(t, o)
			mustPut(t, l, 1, "a", "one")
			intact := int(l.w.active.end.Load())
			mustPut(t, l, 2, "b", strings.Repeat("two", 30))
			files := m.Files()
			require.NoError(t, l.Close())
			whole := files[block.SegmentName(1)]
			for cut := intact; cut < len(whole); cut++ {
				files[block.SegmentName(1)] = whole[:cut] + string(make([]byte, len(whole)-cut))
				if files[block.SegmentName(1)] == whole {
					continue // it ends with zeros
				}
				l, m, err := damaged(t, o, files)
				require.NoError(t, err, "zeros from %d", cut)
				require.Equal(t, map[string]string{"a@1": "one"}, dump(t, l))
				mustPut(t, l, 3, "c", "three")
				require.NoError(t, l.Close())
				o := o
				o.FS = m
				l = mustOpen(t, o)
				require.Len(t, dump(t, l), 2)
				require.NoError(t, l.Close())
			}
		})
	}
}

// An index file that is intact and not that of this segment, or not of this state of it, is made
// again.
func TestIndexOfSomethingElse(t *testing.T) {
	for _, key := range [][]byte{nil, make([]byte, 32)} {
		build := func(id [16]byte, value string) (Options, map[string]string, map[string]string) {
			m := vfstest.NewDisk()
			o := faultOptions(m, true, key)
			o.DatabaseID = id
			l := mustOpen(t, o)
			for ts := range uint64(4) {
				mustPut(t, l, ts+1, fmt.Sprint(ts), value)
				require.NoError(t, l.Seal())
			}
			want := dump(t, l)
			require.NoError(t, l.Close())
			return o, m.Files(), want
		}
		o, files, want := build(testID, "ours")
		_, other, _ := build([16]byte{9}, "theirs")
		_, earlier, _ := build(testID, "longer than it is now")
		for name, file := range map[string]string{
			"of another segment":           files[index.Name(3)],
			"of another database":          other[index.Name(2)],
			"of another life of that file": earlier[index.Name(2)],
			"empty":                        "",
			"a segment":                    files[block.SegmentName(2)],
		} {
			bad := clone(files)
			bad[index.Name(2)] = file
			var lines strings.Builder
			o := o
			o.Logf = func(format string, args ...any) { fmt.Fprintf(&lines, format+"\n", args...) }
			l, m, err := damaged(t, o, bad)
			require.NoError(t, err, name)
			requireSame(t, want, dump(t, l))
			require.NoError(t, l.Close())
			require.Contains(t, lines.String(), "is made again", name)
			require.Len(t, m.Files()[index.Name(2)], len(files[index.Name(2)]), name)
		}
	}
}

// Somebody who may write to the files and makes every checksum right changes an encrypted spill.
// What he did is noticed when the block is read, at the latest; no read gives anything that was not
// written, and an index that he touched is made again.
func TestForgedEncryptedFiles(t *testing.T) {
	key := bytes.Repeat([]byte{3}, 32)
	build := func() (map[string]string, map[string]string) {
		m := vfstest.NewDisk()
		l := mustOpen(t, faultOptions(m, true, key))
		for ts := range uint64(6) {
			mustPut(t, l, ts+1, string('a'+rune(ts%3)), fmt.Sprintf("value %d", ts))
			if ts == 2 {
				require.NoError(t, l.Seal())
			}
		}
		require.NoError(t, l.Seal())
		want := dump(t, l)
		require.NoError(t, l.Close())
		return m.Files(), want
	}
	files, want := build()
	again, _ := build() // the same history under other data keys
	one, two := block.SegmentName(1), block.SegmentName(2)
	blocks := forgery.BlocksOf([]byte(files[one]))
	require.Len(t, blocks, 4)
	blockAt := func(b []byte, i int) []byte { return b[blocks[i]:blocks[i+1]] }

	segment := func(name string, forge func(b []byte)) {
		t.Run("segment/"+name, func(t *testing.T) {
			for _, withIndex := range []bool{false, true} {
				bad := clone(files)
				b := []byte(bad[one])
				forge(b)
				require.NotEqual(t, files[one], string(b))
				le.PutUint32(b[188:], crc32.Checksum(b[:188], castagnoli))
				for _, at := range blocks[:3] {
					forgery.RestampBlock(b, 1, at)
				}
				bad[one] = string(b)
				if !withIndex {
					delete(bad, index.Name(1))
				}
				l, _, err := damaged(t, faultOptions(nil, true, key), bad)
				if err != nil {
					require.True(t, errors.Is(err, ErrCorrupt) || errors.Is(err, ErrWrongKey), "%v", err)
					continue
				}
				_, derr := tryDump(l)
				require.ErrorIs(t, errors.Join(derr, tryReadAll(l)), ErrCorrupt)
				answersOrCorrupt(t, l, want)
				require.NoError(t, l.Close())
			}
		})
	}
	segment("two blocks swapped", func(b []byte) {
		require.Len(t, blockAt(b, 0), len(blockAt(b, 1)))
		x := bytes.Clone(blockAt(b, 0))
		copy(blockAt(b, 0), blockAt(b, 1))
		copy(blockAt(b, 1), x)
	})
	segment("payloads swapped, headers kept", func(b []byte) {
		x := bytes.Clone(blockAt(b, 0)[block.HeaderSize:])
		copy(blockAt(b, 0)[block.HeaderSize:], blockAt(b, 1)[block.HeaderSize:])
		copy(blockAt(b, 1)[block.HeaderSize:], x)
	})
	segment("block of another segment", func(b []byte) { copy(blockAt(b, 1), blockAt([]byte(files[two]), 1)) })
	segment("block of an earlier state", func(b []byte) { copy(blockAt(b, 1), blockAt([]byte(again[one]), 1)) })
	for field, at := range map[string]int{"timestamp": 16, "sequence": 24, "mark": 48, "payload": block.HeaderSize, "tag": int(blocks[1]-blocks[0]) - 1} {
		segment("another "+field, func(b []byte) { blockAt(b, 0)[at] ^= 1 })
	}
	segment("header: another sequence", func(b []byte) { b[64] ^= 2 })
	segment("header: another data key", func(b []byte) { copy(b[96:180], again[one][96:180]) })
	segment("header: plaintext", func(b []byte) { b[88] = 0 })

	forgeIndex := func(name string, forge func(b []byte) []byte) {
		t.Run("index/"+name, func(t *testing.T) {
			bad := clone(files)
			b := forge([]byte(bad[index.Name(1)]))
			require.NotEqual(t, files[index.Name(1)], string(b))
			forgery.RestampIndexKeepingPlace(b)
			bad[index.Name(1)] = string(b)
			var lines strings.Builder
			o := faultOptions(nil, true, key)
			var mu sync.Mutex
			o.Logf = func(format string, args ...any) {
				mu.Lock()
				fmt.Fprintf(&lines, format+"\n", args...)
				mu.Unlock()
			}
			l, _, err := damaged(t, o, bad)
			require.NoError(t, err)
			requireSame(t, want, dump(t, l))
			answersOrCorrupt(t, l, want)
			require.NoError(t, l.Close())
			require.Contains(t, lines.String(), "is made again")
		})
	}
	forgeIndex("leaf of the other segment", func(b []byte) []byte {
		x := []byte(files[index.Name(2)])
		filter, _ := forgery.IndexParts(b)
		other, _ := forgery.IndexParts(x)
		require.Equal(t, filter, other)
		copy(b[:filter], x)
		return b
	})
	forgeIndex("leaf of an earlier state", func(b []byte) []byte {
		filter, _ := forgery.IndexParts(b)
		copy(b[:filter], again[index.Name(1)])
		return b
	})
	forgeIndex("filter that holds nothing", func(b []byte) []byte {
		filter, table := forgery.IndexParts(b)
		clear(b[filter+forgery.IndexBlockHeader : table])
		return b
	})
	forgeIndex("table of an earlier state", func(b []byte) []byte {
		_, table := forgery.IndexParts(b)
		copy(b[table:len(b)-forgery.IndexFooterBytes], again[index.Name(1)][table:])
		return b
	})
	forgeIndex("data key of an earlier state", func(b []byte) []byte {
		at := len(b) - forgery.IndexFooterBytes + 120
		copy(b[at:at+60], again[index.Name(1)][at:])
		return b
	})
	for field, at := range map[string]int{"flags": 44, "end": 48, "first sequence": 56, "last sequence": 64, "lowest timestamp": 72, "highest timestamp": 80,
		"highest version": 88, "entries": 96} {
		forgeIndex("footer: another "+field, func(b []byte) []byte { b[len(b)-forgery.IndexFooterBytes+at] ^= 2; return b })
	}
	forgeIndex("plaintext, without an entry", func(b []byte) []byte {
		f := forgery.FooterOf(t, b)
		f = index.Footer{DatabaseID: f.DatabaseID, Segment: f.Segment, SegmentCRC: f.SegmentCRC, End: f.End, FirstSeq: f.FirstSeq,
			LastSeq: f.LastSeq, MinTs: f.MinTs, MaxTs: f.MaxTs, MaxVersion: f.MaxVersion}
		plain := vfstest.NewDisk()
		l := mustOpen(t, faultOptions(plain, true, nil))
		defer l.Close()
		mustPut(t, l, 1, "a", "value 0")
		return forgery.Index(t, l.w.active.mem(), f, func(int, []byte, *y.ValueStruct) bool { return true })
	})
}

// answersOrCorrupt: each version reads as it was written, or is ErrCorrupt.
func answersOrCorrupt(t *testing.T, l *Log, want map[string]string) {
	t.Helper()
	v := l.Acquire()
	require.NotNil(t, v)
	defer v.Release()
	for name, value := range want {
		var version uint64
		_, err := fmt.Sscanf(name[2:], "%d", &version)
		require.NoError(t, err)
		ref, ok, err := v.Get([]byte(name[:1]), version, false)
		if err == nil {
			require.True(t, ok, name)
			require.Equal(t, version, ref.Version, name)
			var got []byte
			if got, err = v.Value(ref, nil); err == nil {
				require.Equal(t, value, string(got), name)
			}
		}
		if err != nil {
			require.ErrorIs(t, err, ErrCorrupt, name)
		}
	}
}

// searchFS looks for words in all that is written to any file.
type searchFS struct {
	*vfstest.Disk
	words [][]byte
	mu    sync.Mutex
	found map[string]string // word by the suffix of the file
	names map[string]bool
}

type searchFile struct {
	File
	fs   *searchFS
	name string
}

func (s *searchFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := s.Disk.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &searchFile{f, s, filepath.Base(name)}, nil
}

func (f *searchFile) WriteAt(b []byte, at int64) (int, error) {
	f.fs.mu.Lock()
	suffix := f.name[strings.Index(f.name+".", "."):]
	f.fs.names[suffix] = true
	for _, w := range f.fs.words {
		if bytes.Contains(b, w) {
			f.fs.found[suffix] = string(w)
		}
	}
	f.fs.mu.Unlock()
	return f.File.WriteAt(b, at)
}

// With a key no part of a key or value is written to any file at any time, temporary ones too.
// Without one the search finds them.
func TestNothingIsWrittenInPlaintext(t *testing.T) {
	for _, size := range []int{0, 16, 24, 32} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			user := bytes.Repeat([]byte{0xA7}, size)
			s := &searchFS{Disk: vfstest.NewDisk(), found: map[string]string{}, names: map[string]bool{}}
			for _, w := range []string{"qzkey-", "9f3ce1", "qzvalue-", "77b1ed"} {
				s.words = append(s.words, []byte(w))
			}
			if size > 0 {
				s.words = append(s.words, user)
			}
			o := faultOptions(nil, true, nil)
			o.FS, o.EncryptionKey, o.CacheSize = s, user, 1<<20
			if size == 0 {
				o.EncryptionKey = nil
			}
			l := mustOpen(t, o)
			for i := range 60 {
				mustPut(t, l, uint64(i+1), fmt.Sprintf("qzkey-%03d-9f3ce1-%d", i, i), strings.Repeat(fmt.Sprintf("qzvalue-%d-77b1ed", i), 1+i%20))
			}
			require.NoError(t, l.Seal())
			m := l.NewMerge(Position{}, math.MaxInt64)
			require.NotNil(t, m)
			_, _ = collect(t, m, 1000, Retention{Versions: 1})
			m.Close()
			require.NoError(t, l.MarkReplayed(20))
			require.NoError(t, l.Close())
			l = mustOpen(t, o)
			require.Greater(t, len(dump(t, l)), 39)
			require.NoError(t, l.DiscardAll())
			require.NoError(t, l.Close())
			require.Subset(t, slices.Collect(maps.Keys(s.names)), []string{".seg", ".idx.tmp", ".tmp"})
			if size == 0 {
				require.Contains(t, s.found, ".seg")
				require.Contains(t, s.found, ".idx.tmp")
				return
			}
			require.Empty(t, s.found)
		})
	}
}

// An index whose checksums are right, and that points to what cannot be there: nothing is allocated
// for it, and it is made again.
func TestIndexEntryOutsideOfItsSegment(t *testing.T) {
	for name, forge := range map[string]func(at *index.Location){
		"another segment":                   func(at *index.Location) { at.Segment = 2 },
		"a block of 4 GiB":                  func(at *index.Location) { at.Stored = math.MaxUint32 },
		"a value of 4 GiB":                  func(at *index.Location) { at.ValueLen = math.MaxUint32 },
		"a key of 4 GiB":                    func(at *index.Location) { at.KeyLen = math.MaxUint32 },
		"an entry far behind its block":     func(at *index.Location) { at.Offset = math.MaxUint32 },
		"a block in the header":             func(at *index.Location) { at.Block = 10 },
		"a block behind the end":            func(at *index.Location) { at.Block = 1 << 40 },
		"a block before the file":           func(at *index.Location) { at.Block = -1 },
		"a block whose end is out of range": func(at *index.Location) { at.Block = math.MaxInt64 - 5 },
	} {
		t.Run(name, func(t *testing.T) {
			m := vfstest.NewDisk()
			l := mustOpen(t, faultOptions(m, true, nil))
			mustPut(t, l, 1, "a", "one")
			mustPut(t, l, 2, "b", "two")
			mem := l.w.active.mem()
			want := dump(t, l)
			require.NoError(t, l.Close())
			files := m.Files()
			forged := forgery.Index(t, mem, forgery.FooterOf(t, []byte(files[index.Name(1)])), func(_ int, _ []byte, vs *y.ValueStruct) bool {
				place, _, err := index.ParseLocation(vs.Value)
				require.NoError(t, err)
				forge(&place)
				vs.Value = index.AppendLocation(nil, place)
				return true
			})
			files[index.Name(1)] = string(forged)
			for how, read := range map[string]func(l *Log){
				"get":      func(l *Log) { answersOrCorrupt(t, l, want) },
				"iterator": func(l *Log) { requireSame(t, want, dump(t, l)) },
				"merge": func(l *Log) {
					m := l.NewMerge(Position{}, math.MaxInt64)
					defer m.Close()
					all, _ := collect(t, m, 1<<20, Retention{Versions: 1})
					require.Len(t, all, 2)
				},
			} {
				var lines strings.Builder
				var mu sync.Mutex
				o := faultOptions(nil, true, nil)
				o.Logf = func(format string, args ...any) {
					mu.Lock()
					fmt.Fprintf(&lines, format+"\n", args...)
					mu.Unlock()
				}
				l, _, err := damaged(t, o, files)
				require.NoError(t, err)
				bounded(t, len(forged), 0, func() { read(l) })
				require.NoError(t, l.Close())
				require.Contains(t, lines.String(), "is made again", how)
			}
		})
	}
}
