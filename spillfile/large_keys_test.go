package spillfile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile/internal/index"
)

// Keys of 60 KB, whether they differ in their first bytes or in their last. Beside the first and
// the last key of a segment its index takes some bytes an entry, on disk what the entries need, and
// finds each.
func TestIndexMemoryOfLongKeys(t *testing.T) {
	const size, entries = 60_000, 300
	for name, key := range map[string]func(i int) []byte{
		"differ early": func(i int) []byte {
			return append(binary.BigEndian.AppendUint32(nil, uint32(i)), bytes.Repeat([]byte{'k'}, size-4)...)
		},
		"differ late": func(i int) []byte {
			return binary.BigEndian.AppendUint32(bytes.Repeat([]byte{'k'}, size-4), uint32(i))
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := testOptions(t.TempDir())
			o.SegmentSize, o.IndexArena = 64<<20, index.MaxArena
			l := mustOpen(t, o)
			defer l.Close()
			for i := range entries {
				mustPutEntries(t, l, uint64(i+1), Entry{Key: key(i), Value: []byte("v")})
			}
			require.NoError(t, l.Seal())
			require.NoError(t, l.syncAll(false))
			require.NoError(t, l.indexSealed())
			v := l.Acquire()
			defer v.Release()
			require.Len(t, v.segs, 1)
			x := v.segs[0].index.Load().file
			t.Logf("%d bytes of memory, a file of %d bytes", x.Memory(), x.Size)
			beside := float64(x.Memory()-2*size-1024) / entries
			require.LessOrEqual(t, beside, 64.0, "bytes an entry")
			for i := range entries {
				_, ok, err := v.Get(key(i), math.MaxUint64, false)
				require.NoError(t, err)
				require.True(t, ok, "%d", i)
			}
			_, ok, err := v.Get(key(entries), math.MaxUint64, false)
			require.NoError(t, err)
			require.False(t, ok)
			require.Len(t, dump(t, l), entries)
		})
	}
}

// A key with 100,000 versions, all of which a reader may still see: the merge gives all, oldest
// first, and gathers few.
func TestMergeOfAHotKey(t *testing.T) {
	const versions, perBatch = 100_000, 500
	o := testOptions(t.TempDir())
	o.SegmentSize, o.IndexArena = 4<<20, 16<<20
	l := mustOpen(t, o)
	defer l.Close()
	for ts := uint64(1); ts <= versions; {
		b := NewBatch()
		for range perBatch {
			b.Add(&Entry{Key: []byte("hot"), Value: fmt.Append(nil, ts), Version: ts})
			ts++
		}
		b.Finish()
		l.Enqueue(b, ts)
		require.NoError(t, l.Commit(b))
		b.Free()
	}
	require.NoError(t, l.Seal())
	m := l.NewMerge(Position{}, math.MaxInt64)
	defer m.Close()
	c := new(Chunk)
	want := uint64(1)
	for {
		_, err := m.Next(c, 64<<10, Retention{DiscardTs: 0, Versions: 1})
		require.NoError(t, err)
		if len(c.Entries) == 0 {
			break
		}
		for _, e := range c.Entries {
			require.Equal(t, want, e.Version)
			require.Equal(t, fmt.Sprint(want), string(e.Value))
			want++
		}
		require.LessOrEqual(t, cap(m.versions), 2*maxVersions)
	}
	require.EqualValues(t, versions+1, want)
}
