package spillfile

import (
	"encoding/binary"
	"hash/crc32"
	"os"
	"slices"
	"testing"

	"github.com/dgraph-io/badger/v4/y"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/index"
	"github.com/badgerspill/badgerspill/spillfile/vfs/vfstest"
)

// What tests know of the bytes, to forge files: by docs/format.md, not by the code that they test.
const (
	indexFooterBytes = 192 // at the end of an index file
	indexBlockHeader = 12  // before each of its parts
)

// restampBlock makes the checksum of the block at an offset of a segment right.
func restampBlock(b []byte, id uint64, at int64) {
	h := b[at : at+block.HeaderSize]
	payload := b[at+block.HeaderSize:][:le.Uint32(h[4:])]
	le.PutUint32(h, placedCRC(payload, h[4:], id, at))
}

// placedCRC is the checksum of a block of a segment or of an index file, as docs/format.md has it:
// over the payload, the rest of the header, and the place.
func placedCRC(payload, header []byte, segment uint64, at int64) uint32 {
	place := le.AppendUint64(le.AppendUint64(nil, segment), uint64(at))
	return crc32.Checksum(slices.Concat(payload, header, place), castagnoli)
}

// restampIndexKeepingPlace is restampIndex for a file whose table of leaves cannot be read, as it
// is encrypted: one leaf.
func restampIndexKeepingPlace(b []byte) {
	at := len(b) - indexFooterBytes
	le.PutUint32(b[at+188:], crc32.Checksum(b[at:at+188], castagnoli))
	filter, table := int64(le.Uint64(b[at+104:])), int64(le.Uint64(b[at+112:]))
	segment := le.Uint64(b[at+32:])
	for _, part := range [][2]int64{{0, filter}, {filter, table}, {table, int64(at)}} {
		part, start := b[part[0]:part[1]], part[0]
		le.PutUint32(part, placedCRC(part[indexBlockHeader:], part[4:indexBlockHeader], segment, start))
	}
}

// forgedIndex makes an index file with sound checksums of what forge makes of the entries of an
// index in memory; false leaves an entry out.
func forgedIndex(t *testing.T, mem *index.Memory, footer index.Footer, forge func(i int, key []byte, vs *y.ValueStruct) bool) []byte {
	t.Helper()
	forged := index.NewMemory(1<<20, 0)
	it := mem.Iterator(false)
	defer it.Close()
	i := 0
	for it.Rewind(); it.Valid(); it.Next() {
		if vs := it.Value(); forge(i, it.Key(), &vs) {
			forged.Put(it.Key(), vs)
		}
		i++
	}
	built, err := index.Build(forged, footer, nil)
	require.NoError(t, err)
	return built.Bytes
}

// restamp makes the checksums of a segment right wherever its lengths lead, so that the fuzzer gets
// past them.
func restamp(b []byte, id uint64) {
	if len(b) < block.SegmentHeaderSize {
		return
	}
	le.PutUint32(b[188:], crc32.Checksum(b[:188], castagnoli))
	for at := block.SegmentHeaderSize; at+block.HeaderSize <= len(b); {
		stored := int(le.Uint32(b[at+4:]))
		end := at + block.HeaderSize + stored
		if stored == 0 || end > len(b) {
			return
		}
		restampBlock(b, id, int64(at))
		at = end
	}
}

// restampIndex makes the checksums of an index file right, wherever its offsets lead, so that the
// fuzzer gets past them.
func restampIndex(b []byte) {
	at := len(b) - indexFooterBytes
	if at < 0 {
		return
	}
	copy(b[at:], "bspilidx")
	le.PutUint32(b[at+8:], block.Version)
	le.PutUint32(b[at+12:], indexFooterBytes)
	le.PutUint32(b[at+188:], crc32.Checksum(b[at:at+188], castagnoli))
	segment, filter, table := le.Uint64(b[at+32:]), int64(le.Uint64(b[at+104:])), int64(le.Uint64(b[at+112:]))
	if filter < 0 || table < filter || table > int64(at) {
		return
	}
	stamp := func(start, end int64) {
		if start >= 0 && end-start >= indexBlockHeader && end <= int64(at) {
			part := b[start:end]
			le.PutUint32(part[4:], uint32(len(part)-indexBlockHeader))
			le.PutUint32(part, placedCRC(part[indexBlockHeader:], part[4:indexBlockHeader], segment, start))
		}
	}
	stamp(filter, table)
	stamp(table, int64(at))
	start := int64(0)
	for _, end := range leavesOf(b)[1:] {
		stamp(start, end)
		start = end
	}
}

// indexParts returns where the filter and the table of an index file begin.
func indexParts(b []byte) (filter, table int64) {
	at := len(b) - indexFooterBytes
	return int64(le.Uint64(b[at+104:])), int64(le.Uint64(b[at+112:]))
}

// leavesOf returns where the leaves of a plaintext index file begin, and the end of the last one,
// as far as its table says it.
func leavesOf(b []byte) []int64 {
	at := []int64{0}
	filter, table := indexParts(b)
	if end := int64(len(b) - indexFooterBytes); table < 0 || table+indexBlockHeader+4 > end {
		return at
	}
	list := b[table+indexBlockHeader : len(b)-indexFooterBytes]
	leaves, list := le.Uint32(list), list[4:]
	start := int64(0)
	for range leaves {
		size, n := binary.Uvarint(list)
		key, m := binary.Uvarint(list[max(n, 0):])
		if n <= 0 || m <= 0 || key > uint64(len(list)-n-m) || size > uint64(filter-start) {
			break
		}
		start, list = start+int64(size), list[n+m+int(key):]
		at = append(at, start)
	}
	return at
}

// tableKeys returns the keys in the table of a plaintext index file: those of its leaves, and
// behind them its last key. They lie in b.
func tableKeys(b []byte) (keys [][]byte) {
	_, table := indexParts(b)
	list := b[table+indexBlockHeader : len(b)-indexFooterBytes]
	leaves, list := le.Uint32(list), list[4:]
	for i := range leaves + 1 {
		if i < leaves { // the size of the leaf
			_, n := binary.Uvarint(list)
			list = list[n:]
		}
		key, n := binary.Uvarint(list)
		keys, list = append(keys, list[n:n+int(key)]), list[n+int(key):]
	}
	return keys
}

// footerOf returns the footer of an index file.
func footerOf(t *testing.T, b []byte) index.Footer {
	t.Helper()
	f, err := vfstest.DiskOf("/spill", map[string]string{"i": string(b)}).OpenFile("/spill/i", os.O_RDONLY, 0)
	require.NoError(t, err)
	defer f.Close()
	ft, _, err := index.ReadFooter(f, "i")
	require.NoError(t, err)
	return ft
}
