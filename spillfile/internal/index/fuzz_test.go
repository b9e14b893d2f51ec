package index

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"testing"

	"github.com/dgraph-io/badger/v4/y"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
)

// Fuzzing of the index file: its parts alone, and the file as a whole, read in every way.

// seedFile returns a small intact index file, with three versions of each key.
func seedFile(tb testing.TB) []byte {
	mem := NewMemory(1<<20, 0)
	for i := range 120 {
		at := Location{Segment: 1, Block: block.SegmentHeaderSize, Stored: 5_000, Offset: uint32(i), KeyLen: 24, ValueLen: 1}
		mem.Put(y.KeyWithTs(fmt.Appendf(nil, "a long common prefix/%03d", i/3), uint64(i%3+1)),
			y.ValueStruct{Value: AppendLocation(nil, at), ExpiresAt: uint64(i % 2)})
	}
	file, _ := builtOf(tb, mem)
	return file
}

// FuzzFile: whatever the file holds, opening, searching and iterating it end with an answer or an
// error that matches ErrCorrupt.
func FuzzFile(f *testing.F) {
	file := seedFile(f)
	f.Add(file, false)
	f.Add(file, true)
	f.Add(file[len(file)-footerSize:], true)
	f.Add(file[:100], false)
	f.Add([]byte{}, true)
	for _, at := range []int{0, 8, 12, 20, 200, len(file) / 2, len(file) - footerSize - 20, len(file) - 100, len(file) - 80} {
		b := bytes.Clone(file)
		b[at] ^= 0xff
		f.Add(b, true)
	}
	f.Fuzz(func(t *testing.T, b []byte, stamped bool) {
		b = bytes.Clone(b)
		if stamped {
			restamp(b)
		}
		bounded(t, len(b), 40, func() { exercise(t, b) })
	})
}

// restamp makes the checksums of an index file right, wherever its offsets lead, so that the fuzzer
// gets past them.
func restamp(b []byte) {
	at := len(b) - footerSize
	if at < 0 {
		return
	}
	copy(b[at:], magic)
	le.PutUint32(b[at+8:], block.Version)
	le.PutUint32(b[at+12:], footerSize)
	le.PutUint32(b[at+188:], crc32.Checksum(b[at:at+188], castagnoli))
	var f Footer
	if f.unmarshal("", int64(at), b[at:]) != nil {
		return
	}
	seal := sealer{segment: f.Segment}
	stamp := func(start, end int64) {
		if start >= 0 && end-start >= blockHeaderSize && end <= int64(at) {
			part := b[start:end]
			le.PutUint32(part[4:], uint32(len(part)-blockHeaderSize))
			le.PutUint32(part, seal.crc(part[:blockHeaderSize], part[blockHeaderSize:], start))
		}
	}
	stamp(f.filter, f.table)
	stamp(f.table, int64(at))
	var t leafTable
	if f.table+blockHeaderSize > int64(at) || t.unmarshal(b[f.table+blockHeaderSize:at], f.filter) != nil {
		return
	}
	for i := range t.len() {
		stamp(int64(t.offsets[i]), int64(t.offsets[i+1]))
	}
}

// exercise opens, searches and iterates an index file.
func exercise(t *testing.T, b []byte) {
	x, err := Open(fileOf(t, b), "i", nil, nil)
	if err != nil {
		require.ErrorIs(t, err, block.ErrCorrupt)
		return
	}
	defer x.Close()
	corrupted := func(err error) {
		if err != nil {
			require.ErrorIs(t, err, block.ErrCorrupt)
		}
	}
	keys := [][]byte{{}, []byte("a long common prefix/007"), bytes.Repeat([]byte{0xff}, 300)}
	end := errors.New("not healed")
	for _, reverse := range []bool{false, true} {
		it := x.Iterator(reverse, AllVersions, func(err error) { require.ErrorIs(t, err, end) },
			func(_ *File, cause error) (y.Iterator, error) {
				corrupted(cause)
				return nil, end
			})
		n := 0
		for it.Rewind(); it.Valid(); it.Next() {
			n++
			require.LessOrEqual(t, n, len(b), "it goes round in circles")
			at, _, err := ParseLocation(it.Value().Value)
			require.NoError(t, err)
			require.True(t, at.within(x.segment, x.Footer.End))
			if n < 5 {
				keys = append(keys, bytes.Clone(y.ParseKey(it.Key())))
			}
		}
		for _, key := range keys {
			it.Seek(y.KeyWithTs(key, 2))
			if it.Valid() {
				it.Next()
			}
		}
	}
	for _, key := range keys {
		for _, ts := range []uint64{0, 2, math.MaxUint64} {
			_, _, err := x.Get(key, ts, Hash(key))
			corrupted(err)
		}
	}
}

// FuzzLeaf: a leaf that parses can be searched and read.
func FuzzLeaf(f *testing.F) {
	file := seedFile(f)
	var ft Footer
	at := len(file) - footerSize
	require.NoError(f, ft.unmarshal("", int64(at), file[at:]))
	f.Add(file[blockHeaderSize:ft.filter], []byte("a long common prefix/007"))
	f.Add([]byte{0, 0, 1, 0, 0, 0}, []byte{})
	f.Add([]byte{0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}, []byte("k"))
	f.Fuzz(func(t *testing.T, raw, key []byte) {
		l, err := parseLeaf(raw)
		if err != nil {
			return
		}
		require.LessOrEqual(t, 4*l.len(), len(raw))
		x := &File{sealer: sealer{segment: 1}, Footer: Footer{End: 1 << 30}}
		for i := range l.len() {
			k, kerr := l.key(nil, i)
			_, verr := x.value(&l, i)
			if kerr == nil {
				require.GreaterOrEqual(t, len(k), 8)
			} else {
				require.Error(t, verr)
			}
		}
		if pos, _, err := l.search(y.KeyWithTs(key, 3), nil); err == nil {
			require.LessOrEqual(t, pos, l.len())
		}
	})
}

// FuzzTable: a table that parses is written as it was read, and its leaves fill the file up to
// the filter.
func FuzzTable(f *testing.F) {
	b := &builder{seal: sealer{segment: 1}}
	for i := range 300 {
		b.add(y.KeyWithTs(fmt.Appendf(nil, "%0200d", i), 1), &y.ValueStruct{Value: AppendLocation(nil, Location{Segment: 1, Block: 192})})
	}
	var ft Footer
	_, err := b.finish(&ft, nil, nil)
	require.NoError(f, err)
	f.Add(b.table.marshal(), ft.filter)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff}, int64(1))
	f.Add(b.table.marshal(), int64(math.MaxInt64))
	f.Fuzz(func(t *testing.T, raw []byte, end int64) {
		if end < 0 {
			return // the footer does not allow it
		}
		var table leafTable
		var err error
		bounded(t, len(raw), 20, func() { err = table.unmarshal(raw, end) })
		if err != nil {
			return
		}
		require.Len(t, table.offsets, table.len()+1)
		require.EqualValues(t, end, table.offsets[table.len()])
		for i := range table.len() {
			require.GreaterOrEqual(t, len(table.low(i)), 8)
			require.Less(t, table.offsets[i], table.offsets[i+1])
		}
		require.GreaterOrEqual(t, table.find(table.biggest), -1)
		var again leafTable
		require.NoError(t, again.unmarshal(table.marshal(), end))
		require.Equal(t, table.offsets, again.offsets)
		require.Equal(t, table.lows, again.lows)
	})
}

// FuzzFooter: a footer that is accepted has its parts in order within the file, and is written
// as it was read.
func FuzzFooter(f *testing.F) {
	file := seedFile(f)
	f.Add(file[len(file)-footerSize:], int64(len(file)-footerSize), true)
	f.Add(make([]byte, footerSize), int64(0), false)
	f.Fuzz(func(t *testing.T, b []byte, at int64, stamped bool) {
		if at < 0 {
			return // it is at the end of the file
		}
		b = bytes.Clone(b)
		if stamped && len(b) == footerSize {
			copy(b, magic)
			le.PutUint32(b[8:], block.Version)
			le.PutUint32(b[12:], footerSize)
			le.PutUint32(b[188:], crc32.Checksum(b[:188], castagnoli))
		}
		var ft, again Footer
		if err := ft.unmarshal("i", at, b); err != nil {
			require.ErrorIs(t, err, block.ErrCorrupt)
			return
		}
		require.True(t, 0 <= ft.filter && ft.filter <= ft.table && ft.table <= at)
		out := make([]byte, footerSize)
		ft.marshal(out)
		require.NoError(t, again.unmarshal("i", at, out))
		require.Equal(t, ft, again)
	})
}
