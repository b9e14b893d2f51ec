package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"

	"github.com/dgraph-io/badger/v4/y"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/vfs"
)

// ErrEmpty means that there are no entries: such an index has no file.
var ErrEmpty = errors.New("segment has no entries")

// Built is an index file that is not written yet.
type Built struct {
	Bytes  []byte // all of it
	seal   sealer
	footer Footer
	table  leafTable
}

// Build makes the index file of a segment from its index in memory. footer must be complete but for
// what only the builder knows. Where it says so the file is encrypted, under a data key of its own
// that userKey wraps. Errors: ErrEmpty, or that userKey is no key.
func Build(mem *Memory, footer Footer, userKey []byte) (*Built, error) {
	b := &builder{seal: sealer{segment: footer.Segment}}
	var key []byte
	if footer.Encrypted {
		var err error
		if key, b.seal.aead, err = block.NewDataKey(); err != nil {
			return nil, err
		}
	}
	it := mem.Iterator(false)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		vs := it.Value()
		b.add(it.Key(), &vs)
	}
	if b.entries == 0 {
		return nil, ErrEmpty
	}
	out, err := b.finish(&footer, userKey, key)
	if err != nil {
		return nil, err
	}
	return &Built{Bytes: out, seal: b.seal, footer: footer, table: b.table}, nil
}

// Open opens the index by the file to which it was written. It does not close that if it fails.
func (b *Built) Open(f vfs.File, path string, cache *block.Cache) (*File, error) {
	x := &File{sealer: b.seal, Footer: b.footer, Path: path, Size: int64(len(b.Bytes)), table: b.table, cache: cache, file: f}
	return x, x.load() // exact in memory, and read once
}

// builder makes an index file from entries that come in order.
type builder struct {
	seal   sealer
	out    []byte // finished blocks
	table  leafTable
	hashes []uint64 // of user keys, for the filter

	keys    []byte // of the open leaf, one after the other
	keyEnd  []int
	values  []byte
	valEnd  []int
	last    []byte // internal key added last
	raw     []byte // scratch
	entries uint64
}

// add takes the next entry, of an index in memory.
func (b *builder) add(key []byte, vs *y.ValueStruct) {
	vs.Value = withoutValue(vs.Value)
	if b.full(key, int(vs.EncodedSize())) {
		b.closeLeaf()
	}
	if len(b.keyEnd) == 0 {
		b.beginLeaf(key)
	}
	b.keys = append(b.keys, key...)
	b.keyEnd = append(b.keyEnd, len(b.keys))
	at := len(b.values)
	b.values = append(b.values, make([]byte, vs.EncodedSize())...)
	vs.Encode(b.values[at:])
	b.valEnd = append(b.valEnd, len(b.values))
	// Versions of one key need one place in the filter.
	if len(b.last) == 0 || !y.SameKey(key, b.last) {
		b.hashes = append(b.hashes, Hash(y.ParseKey(key)))
	}
	b.last = append(b.last[:0], key...)
	b.entries++
}

// FileFixed is what an index file takes beside its entries, at most. The first and the last
// key are in the table as they are.
const FileFixed = 2 << 10

// FileEntry is what an entry takes in an index file at most, with its share of the leaves'
// headers, of the filter and of the table. In the table each leaf has a key of its own, and of long
// keys a leaf has few; and the last key is there.
func FileEntry(internalKey, value int) int64 {
	const (
		overhead = 16
		short    = 512
	)
	n := internalKey + value + overhead
	if internalKey <= short {
		return int64(n + internalKey/32)
	}
	return int64(n + 2*internalKey)
}

// full says that the open leaf should not take another entry, of that key and so many bytes of
// value. What all keys of a leaf share is stored once, and does not count. So of long keys that
// differ late a leaf has many, and the table, with a key for each leaf, few.
func (b *builder) full(key []byte, value int) bool {
	n := len(b.keyEnd)
	if n == 0 {
		return false
	}
	shared := commonPrefix(y.ParseKey(b.keys[:b.keyEnd[0]]), y.ParseKey(key))
	size := len(b.keys) + len(key) - (n+1)*shared + len(b.values) + value + 5*(n+1)
	switch {
	case size <= leafTarget:
		return false
	case size > leafMax:
		return true
	}
	table := len(b.table.lows) + leafCost*(b.table.len()+1) + len(b.last)
	return uint64(table) <= tableShare*b.entries
}

func (b *builder) beginLeaf(first []byte) {
	t := &b.table
	if t.len() == 0 {
		t.offsets = append(t.offsets, 0)
	}
	t.lows = append(t.lows, separator(b.last, first)...)
	t.lowEnd = append(t.lowEnd, uint32(len(t.lows)))
}

// separator returns a short internal key above last and at or below first.
func separator(last, first []byte) []byte {
	if len(last) == 0 {
		return first
	}
	a, k := y.ParseKey(last), y.ParseKey(first)
	common := commonPrefix(a, k)
	if common == len(k) { // the same key: only the versions differ
		return first
	}
	// the highest timestamp, which sorts first
	return binary.BigEndian.AppendUint64(bytes.Clone(k[:common+1]), 0)
}

func commonPrefix(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

func (b *builder) closeLeaf() {
	n := len(b.keyEnd)
	if n == 0 {
		return
	}
	// All lie between the first and the last, so what these two share all share.
	firstKey, lastStart := b.keys[:b.keyEnd[0]], 0
	if n > 1 {
		lastStart = b.keyEnd[n-2]
	}
	prefix := firstKey[:min(commonPrefix(y.ParseKey(firstKey), y.ParseKey(b.keys[lastStart:])), math.MaxUint16)]
	raw := le.AppendUint16(b.raw[:0], uint16(len(prefix)))
	raw = append(raw, prefix...)
	body := len(raw)
	offsets := make([]uint32, n)
	key, val := 0, 0
	for i := range n {
		offsets[i] = uint32(len(raw) - body)
		rest := b.keys[key+len(prefix) : b.keyEnd[i]]
		raw = binary.AppendUvarint(raw, uint64(len(rest)))
		raw = append(raw, rest...)
		raw = append(raw, b.values[val:b.valEnd[i]]...)
		key, val = b.keyEnd[i], b.valEnd[i]
	}
	for _, o := range offsets {
		raw = le.AppendUint32(raw, o)
	}
	raw = le.AppendUint32(raw, uint32(n))
	b.raw = raw
	b.out = b.seal.seal(b.out, kindLeaf, raw, int64(len(b.out)))
	b.table.offsets = append(b.table.offsets, uint32(len(b.out)))
	b.keys, b.keyEnd, b.values, b.valEnd = b.keys[:0], b.keyEnd[:0], b.values[:0], b.valEnd[:0]
}

// finish returns the whole file. footer must be complete but for what finish knows. dataKey, nil
// for plaintext, is that of the sealer.
func (b *builder) finish(footer *Footer, userKey, dataKey []byte) ([]byte, error) {
	b.closeLeaf()
	b.table.biggest = b.last
	footer.Entries = b.entries
	footer.filter = int64(len(b.out))
	b.out = b.seal.seal(b.out, kindFilter, newFilter(b.hashes), footer.filter)
	footer.table = int64(len(b.out))
	b.out = b.seal.seal(b.out, kindTable, b.table.marshal(), footer.table)
	if dataKey != nil {
		if err := block.WrapKey(userKey, dataKey, footer.nonce[:], footer.wrapped[:], footer.aad()); err != nil {
			return nil, err
		}
	}
	at := len(b.out)
	b.out = append(b.out, make([]byte, footerSize)...)
	footer.marshal(b.out[at:])
	return b.out, nil
}
