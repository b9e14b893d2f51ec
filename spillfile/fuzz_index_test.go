package spillfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/dgraph-io/badger/v4/y"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/vfs/vfstest"
)

// Fuzzing of the index file: its parts alone, and the file as a whole, read in every way.

// seedIndex is a log with one indexed segment, its files and the bytes of the index.
func seedIndex(tb testing.TB) (files map[string]string, index []byte) {
	m := vfstest.NewDisk()
	l, err := Open(faultOptions(m, true, nil))
	require.NoError(tb, err)
	b := NewBatch()
	for i := range 120 {
		b.Add(&Entry{Key: fmt.Appendf(nil, "a long common prefix/%03d", i/3), Version: uint64(i%3 + 1), Value: []byte("v"), ExpiresAt: uint64(i % 2)})
	}
	l.Enqueue(b, 7)
	require.NoError(tb, l.Commit(b))
	b.Free()
	require.NoError(tb, l.Seal())
	require.NoError(tb, put(l, 8, "z", "last"))
	require.NoError(tb, l.syncAll(false))
	require.NoError(tb, l.indexSealed())
	files = m.Files()
	require.NoError(tb, l.Close())
	index = []byte(files[indexName(1)])
	require.NotEmpty(tb, index)
	return files, index
}

// restampIndex makes the checksums of an index file right, wherever its offsets lead, so that the
// fuzzer gets past them.
func restampIndex(b []byte) {
	at := len(b) - indexFooterSize
	if at < 0 {
		return
	}
	copy(b[at:], indexMagic)
	le.PutUint32(b[at+8:], block.Version)
	le.PutUint32(b[at+12:], indexFooterSize)
	le.PutUint32(b[at+188:], crc32.Checksum(b[at:at+188], castagnoli))
	segment, filter, table := le.Uint64(b[at+32:]), int64(le.Uint64(b[at+104:])), int64(le.Uint64(b[at+112:]))
	if filter < 0 || table < filter || table > int64(at) {
		return
	}
	stamp := func(start, end int64) {
		if start >= 0 && end-start >= indexBlockHeaderSize && end <= int64(at) {
			part := b[start:end]
			le.PutUint32(part[4:], uint32(len(part)-indexBlockHeaderSize))
			le.PutUint32(part, placedCRC(part[indexBlockHeaderSize:], part[4:indexBlockHeaderSize], segment, start))
		}
	}
	stamp(filter, table)
	stamp(table, int64(at))
	if table+indexBlockHeaderSize+4 > int64(at) {
		return
	}
	list := b[table+indexBlockHeaderSize : at]
	leaves, list := le.Uint32(list), list[4:]
	start := int64(0)
	for range leaves {
		size, n := binary.Uvarint(list)
		key, m := binary.Uvarint(list[max(n, 0):])
		if n <= 0 || m <= 0 || key > uint64(len(list)-n-m) || size > uint64(filter-start) {
			return
		}
		stamp(start, start+int64(size))
		start, list = start+int64(size), list[n+m+int(key):]
	}
}

// bounded requires that f allocates at most perByte bytes for each byte of the input, beside what
// any input takes.
func bounded(t *testing.T, input, perByte int, f func()) {
	const fixed = 8 << 20 // pools, buffers of fixed size, and what other goroutines do
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	require.LessOrEqual(t, after.TotalAlloc-before.TotalAlloc, uint64(fixed+perByte*input), "bytes allocated for an input of %d", input)
}

// FuzzIndexFile: whatever the file holds, opening, searching and iterating it end with an answer or
// an error that matches ErrCorrupt; and a log that finds it beside its segment never answers
// otherwise than the segment does.
func FuzzIndexFile(f *testing.F) {
	files, index := seedIndex(f)
	f.Add(index, false)
	f.Add(index, true)
	f.Add(index[len(index)-indexFooterSize:], true)
	f.Add(index[:100], false)
	f.Add([]byte{}, true)
	for _, at := range []int{0, 8, 12, 20, 200, len(index) / 2, len(index) - indexFooterSize - 20, len(index) - 100, len(index) - 80} {
		f.Add([]byte(flip(string(index), at, 0xff)), true)
	}
	whole := vfstest.DiskOf("/spill", files)
	l, err := Open(faultOptions(whole, true, nil))
	require.NoError(f, err)
	want := dump(f, l)
	require.NoError(f, l.Close())
	f.Fuzz(func(t *testing.T, b []byte, stamped bool) {
		b = bytes.Clone(b)
		if stamped {
			restampIndex(b)
		}
		bounded(t, len(b), 40, func() { exerciseIndex(t, b) })
		if stamped {
			// who can forge checksums can make an index that leaves entries out: only encryption
			// prevents that
			return
		}
		disk := clone(files)
		disk[indexName(1)] = string(b)
		l, err := Open(faultOptions(vfstest.DiskOf("/spill", disk), true, nil))
		require.NoError(t, err)
		defer l.Close()
		requireSame(t, want, dump(t, l))
	})
}

func exerciseIndex(t *testing.T, b []byte) {
	m := vfstest.DiskOf("/spill", map[string]string{indexName(1): string(b)})
	path := filepath.Join("/spill", indexName(1))
	f, err := m.OpenFile(path, os.O_RDONLY, 0)
	require.NoError(t, err)
	x, err := openIndexFile(f, path, nil, nil)
	if err != nil {
		require.ErrorIs(t, err, ErrCorrupt)
		return
	}
	defer x.close()
	corrupted := func(err error) {
		if err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
		}
	}
	keys := [][]byte{{}, []byte("a long common prefix/007"), bytes.Repeat([]byte{0xff}, 300)}
	end := errors.New("not healed")
	for _, reverse := range []bool{false, true} {
		it := x.iterator(reverse, allVersions, func(err error) { require.ErrorIs(t, err, end) },
			func(_ *indexFile, cause error) (y.Iterator, error) {
				corrupted(cause)
				return nil, end
			})
		n := 0
		for it.Rewind(); it.Valid(); it.Next() {
			n++
			require.LessOrEqual(t, n, len(b), "it goes round in circles")
			at, _, err := parseLocation(it.Value().Value)
			require.NoError(t, err)
			require.True(t, at.within(x.segment, x.footer.end))
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
			_, _, err := x.get(key, ts, filterHash(key))
			corrupted(err)
		}
	}
}

// FuzzIndexLeaf: a leaf that parses can be searched and read.
func FuzzIndexLeaf(f *testing.F) {
	_, index := seedIndex(f)
	var ft indexFooter
	at := len(index) - indexFooterSize
	require.NoError(f, ft.unmarshal("", int64(at), index[at:]))
	f.Add(index[indexBlockHeaderSize:ft.filter], []byte("a long common prefix/007"))
	f.Add([]byte{0, 0, 1, 0, 0, 0}, []byte{})
	f.Add([]byte{0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}, []byte("k"))
	f.Fuzz(func(t *testing.T, raw, key []byte) {
		l, err := parseLeaf(raw)
		if err != nil {
			return
		}
		require.LessOrEqual(t, 4*l.len(), len(raw))
		x := &indexFile{indexSealer: indexSealer{segment: 1}, footer: indexFooter{end: 1 << 30}}
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

// FuzzIndexTable: a table that parses is written as it was read, and its leaves fill the file up to
// the filter.
func FuzzIndexTable(f *testing.F) {
	b := &indexBuilder{seal: indexSealer{segment: 1}}
	for i := range 300 {
		b.add(y.KeyWithTs(fmt.Appendf(nil, "%0200d", i), 1), &y.ValueStruct{Value: appendLocation(nil, location{segment: 1, block: 192})})
	}
	var ft indexFooter
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

// FuzzIndexFooter: a footer that is accepted has its parts in order within the file, and is written
// as it was read.
func FuzzIndexFooter(f *testing.F) {
	_, index := seedIndex(f)
	f.Add(index[len(index)-indexFooterSize:], int64(len(index)-indexFooterSize), true)
	f.Add(make([]byte, indexFooterSize), int64(0), false)
	f.Fuzz(func(t *testing.T, b []byte, at int64, stamped bool) {
		if at < 0 {
			return // it is at the end of the file
		}
		b = bytes.Clone(b)
		if stamped && len(b) == indexFooterSize {
			copy(b, indexMagic)
			le.PutUint32(b[8:], block.Version)
			le.PutUint32(b[12:], indexFooterSize)
			le.PutUint32(b[188:], crc32.Checksum(b[:188], castagnoli))
		}
		var ft, again indexFooter
		if err := ft.unmarshal("i", at, b); err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
			return
		}
		require.True(t, 0 <= ft.filter && ft.filter <= ft.table && ft.table <= at)
		out := make([]byte, indexFooterSize)
		ft.marshal(out)
		require.NoError(t, again.unmarshal("i", at, out))
		require.Equal(t, ft, again)
	})
}
