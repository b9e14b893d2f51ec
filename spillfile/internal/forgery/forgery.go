package forgery

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

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	le         = binary.LittleEndian
)

// Bytes of an index file.
const (
	IndexFooterBytes = 192 // at the end of an index file
	IndexBlockHeader = 12  // before each of its parts
)

// RestampBlock makes the checksum of the block at an offset of a segment right.
func RestampBlock(b []byte, id uint64, at int64) {
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

// RestampIndexKeepingPlace is RestampIndex for a file whose table of leaves cannot be read, as it
// is encrypted: one leaf.
func RestampIndexKeepingPlace(b []byte) {
	at := len(b) - IndexFooterBytes
	le.PutUint32(b[at+188:], crc32.Checksum(b[at:at+188], castagnoli))
	filter, table := int64(le.Uint64(b[at+104:])), int64(le.Uint64(b[at+112:]))
	segment := le.Uint64(b[at+32:])
	for _, part := range [][2]int64{{0, filter}, {filter, table}, {table, int64(at)}} {
		part, start := b[part[0]:part[1]], part[0]
		le.PutUint32(part, placedCRC(part[IndexBlockHeader:], part[4:IndexBlockHeader], segment, start))
	}
}

// Index makes an index file with sound checksums of what forge makes of the entries of an
// index in memory; false leaves an entry out.
func Index(t *testing.T, mem *index.Memory, footer index.Footer, forge func(i int, key []byte, vs *y.ValueStruct) bool) []byte {
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

// Restamp makes the checksums of a segment right wherever its lengths lead, so that the fuzzer gets
// past them.
func Restamp(b []byte, id uint64) {
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
		RestampBlock(b, id, int64(at))
		at = end
	}
}

// RestampIndex makes the checksums of an index file right, wherever its offsets lead, so that the
// fuzzer gets past them.
func RestampIndex(b []byte) {
	at := len(b) - IndexFooterBytes
	if at < 0 {
		return
	}
	copy(b[at:], "bspilidx")
	le.PutUint32(b[at+8:], block.Version)
	le.PutUint32(b[at+12:], IndexFooterBytes)
	le.PutUint32(b[at+188:], crc32.Checksum(b[at:at+188], castagnoli))
	segment, filter, table := le.Uint64(b[at+32:]), int64(le.Uint64(b[at+104:])), int64(le.Uint64(b[at+112:]))
	if filter < 0 || table < filter || table > int64(at) {
		return
	}
	stamp := func(start, end int64) {
		if start >= 0 && end-start >= IndexBlockHeader && end <= int64(at) {
			part := b[start:end]
			le.PutUint32(part[4:], uint32(len(part)-IndexBlockHeader))
			le.PutUint32(part, placedCRC(part[IndexBlockHeader:], part[4:IndexBlockHeader], segment, start))
		}
	}
	stamp(filter, table)
	stamp(table, int64(at))
	start := int64(0)
	for _, end := range LeavesOf(b)[1:] {
		stamp(start, end)
		start = end
	}
}

// IndexParts returns where the filter and the table of an index file begin.
func IndexParts(b []byte) (filter, table int64) {
	at := len(b) - IndexFooterBytes
	return int64(le.Uint64(b[at+104:])), int64(le.Uint64(b[at+112:]))
}

// LeavesOf returns where the leaves of a plaintext index file begin, and the end of the last one,
// as far as its table says it.
func LeavesOf(b []byte) []int64 {
	at := []int64{0}
	filter, table := IndexParts(b)
	if end := int64(len(b) - IndexFooterBytes); table < 0 || table+IndexBlockHeader+4 > end {
		return at
	}
	list := b[table+IndexBlockHeader : len(b)-IndexFooterBytes]
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

// TableKeys returns the keys in the table of a plaintext index file: those of its leaves, and
// behind them its last key. They lie in b.
func TableKeys(b []byte) (keys [][]byte) {
	_, table := IndexParts(b)
	list := b[table+IndexBlockHeader : len(b)-IndexFooterBytes]
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

// FooterOf returns the footer of an index file.
func FooterOf(t *testing.T, b []byte) index.Footer {
	t.Helper()
	f, err := vfstest.DiskOf("/spill", map[string]string{"i": string(b)}).OpenFile("/spill/i", os.O_RDONLY, 0)
	require.NoError(t, err)
	defer f.Close()
	ft, _, err := index.ReadFooter(f, "i")
	require.NoError(t, err)
	return ft
}

// BlocksOf returns where the blocks of a segment begin, and its end.
func BlocksOf(b []byte) (at []int64) {
	for off := int64(block.SegmentHeaderSize); off+block.HeaderSize <= int64(len(b)); {
		at = append(at, off)
		off += block.HeaderSize + int64(le.Uint32(b[off+4:]))
	}
	return append(at, int64(len(b)))
}

// Flip changes the bits of mask of the byte at an offset.
func Flip(s string, at int, mask byte) string {
	b := []byte(s)
	b[at] ^= mask
	return string(b)
}
