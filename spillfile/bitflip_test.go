package spillfile

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile/check"
	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/forgery"
	"github.com/badgerspill/badgerspill/spillfile/internal/index"
)

// A bit flips in memory at some point of a commit's way. docs/guarantees.md says what catches it.
func TestBitFlipsInMemory(t *testing.T) {
	value := bytes.Repeat([]byte("value "), 30) // too long for the index
	for _, row := range []struct {
		name   string
		before bool // the block is compressed
		flip   func(b *Batch)
		get    string // what a read by key finds: "right", "other", "nothing", "corrupt"
		replay string // what replay gives: "right", "other", "corrupt"
		verify string // what Verify names after a close: "", "segment", "index"
	}{
		{"nothing", false, func(b *Batch) {}, "right", "right", ""},
		{"a value before its checksum", true, func(b *Batch) { b.raw[len(b.raw)-1] ^= 4 }, "other", "other", ""},
		{"the block behind its checksum", false, func(b *Batch) { b.out[len(b.out)-3] ^= 4 }, "corrupt", "corrupt", "segment"},
		{"a key in the index", false, func(b *Batch) { b.raw[b.ents[0].key] ^= 4 }, "nothing", "corrupt", "index"},
		{"a place in the index", false, func(b *Batch) { b.ents[0].offset ^= 1 }, "corrupt", "corrupt", "index"},
		{"a length in the index", false, func(b *Batch) { b.ents[0].valueLen ^= 2 }, "corrupt", "corrupt", "index"},
		{"the mark of a delete in the index", false, func(b *Batch) { b.ents[0].meta ^= MetaDelete }, "corrupt", "corrupt", "index"},
		{"an expiry in the index", false, func(b *Batch) { b.ents[0].expiresAt ^= 1 << 40 }, "corrupt", "corrupt", "index"},
	} {
		t.Run(row.name, func(t *testing.T) {
			o := testOptions(t.TempDir())
			l := mustOpen(t, o)
			b := NewBatch()
			b.Add(&Entry{Key: []byte("key"), Value: value})
			if row.before {
				row.flip(b)
			}
			b.Finish()
			if !row.before {
				row.flip(b)
			}
			l.Enqueue(b, 1)
			require.NoError(t, l.Commit(b), "it is acknowledged")
			b.Free()

			got := func() string {
				v := l.Acquire()
				defer v.Release()
				r, ok, err := v.Get([]byte("key"), math.MaxUint64, false)
				require.NoError(t, err)
				if !ok {
					return "nothing"
				}
				found, err := v.Value(r, nil)
				return outcome(t, err, bytes.Equal(found, value))
			}
			require.Equal(t, row.get, got())
			require.NoError(t, l.Seal())
			require.NoError(t, l.syncAll(false))

			m := l.NewMerge(Position{}, math.MaxInt64)
			c := new(Chunk)
			_, err := m.Next(c, 1<<20, Retention{Versions: 1})
			right := err == nil && len(c.Entries) == 1 && string(c.Entries[0].Key) == "key" && bytes.Equal(c.Entries[0].Value, value)
			require.Equal(t, row.replay, outcome(t, err, right))
			m.Close()

			damage, err := l.VerifyOpen(t.Context(), 0, 0)
			require.NoError(t, err)
			require.Equal(t, row.verify == "segment", len(damage) > 0)
			require.NoError(t, l.Close())
			n, err := check.Verify(t.Context(), check.Source{Dir: o.Dir}, nil)
			require.NoError(t, err)
			file := ""
			if len(n.Faults) > 0 {
				file = map[string]string{".seg": "segment", ".idx": "index"}[filepath.Ext(n.Faults[0].File)]
			}
			require.Equal(t, row.verify, file, "%+v", n.Faults)
		})
	}
}

func outcome(t *testing.T, err error, right bool) string {
	t.Helper()
	switch {
	case err != nil:
		require.ErrorIs(t, err, ErrCorrupt)
		return "corrupt"
	case right:
		return "right"
	}
	return "other"
}

// A bit flips in what is in memory of an index file, or in a decoded block in the cache. Reads by
// key may answer from an older version; replay, iteration of the index and the next Open do not use
// it.
func TestBitFlipsOfWhatIsLoaded(t *testing.T) {
	older, newer := bytes.Repeat([]byte("older "), 30), bytes.Repeat([]byte("newer "), 30)
	for _, row := range []struct {
		name  string
		flip  func(l *Log, s *segment)
		found []byte // by a read by key while the flip is there
	}{
		{"filter", func(l *Log, s *segment) { clear(s.index.Load().file.Filter) }, older},
		{"table of leaves", func(l *Log, s *segment) {
			// It is loaded from a file that says so, and the file is as it was again.
			was := s.index.Load().file
			whole, err := os.ReadFile(was.Path)
			require.NoError(t, err)
			other := bytes.Clone(whole)
			forgery.TableKeys(other)[0][0] ^= 0x80 // above the key
			forgery.RestampIndex(other)
			require.NoError(t, os.WriteFile(was.Path, other, 0o600))
			x, err := index.Open(l.files.File(was.Path, os.O_RDONLY), was.Path, nil, l.cache)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(was.Path, whole, 0o600))
			l.setIndex(s, &segmentIndex{file: x})
			require.NoError(t, was.Close())
		}, older},
		{"cached block", func(l *Log, s *segment) {
			raw, _ := l.cache.Get(block.CacheBlock, s.id(), block.SegmentHeaderSize)
			require.NotEmpty(t, raw)
			raw[len(raw)-1] ^= 4
		}, append(bytes.Clone(newer[:len(newer)-1]), newer[len(newer)-1]^4)},
	} {
		t.Run(row.name, func(t *testing.T) {
			o := testOptions(t.TempDir())
			o.CacheSize = 1 << 20
			l := mustOpen(t, o)
			for ts, value := range [][]byte{older, newer} {
				mustPut(t, l, uint64(ts+1), "key", string(value))
				require.NoError(t, l.Seal())
			}
			require.NoError(t, l.syncAll(false))
			require.NoError(t, l.indexSealed())
			get := func(l *Log) []byte {
				v := l.Acquire()
				defer v.Release()
				r, ok, err := v.Get([]byte("key"), math.MaxUint64, false)
				require.NoError(t, err)
				require.True(t, ok)
				value, err := v.Value(r, nil)
				require.NoError(t, err)
				return value
			}
			require.Equal(t, newer, get(l))
			v := l.Acquire()
			row.flip(l, v.segs[1])
			v.Release()
			require.Equal(t, row.found, get(l))

			m := l.NewMerge(Position{}, math.MaxInt64)
			c := new(Chunk)
			_, err := m.Next(c, 1<<20, Retention{Versions: 2})
			require.NoError(t, err)
			m.Close()
			values := map[string]bool{}
			for _, e := range c.Entries {
				values[string(e.Value)] = true
			}
			require.Equal(t, map[string]bool{string(older): true, string(newer): true}, values, "replay")
			require.NoError(t, l.Close())
			l = mustOpen(t, o)
			require.Equal(t, newer, get(l), "after the next Open")
			require.NoError(t, l.Close())
		})
	}
}
