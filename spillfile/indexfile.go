package spillfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4/y"

	"github.com/badgerspill/badgerspill/spillfile/vfs"
)

// indexFile is the index of a sealed segment on disk. In memory are its filter and the table of its
// leaves. Safe for concurrent use.
type indexFile struct {
	indexSealer
	footer indexFooter
	file   *pooledFile
	path   string
	size   int64
	filter filter
	table  leafTable
	cache  *blockCache
}

// openIndexFile opens the index at path. What is not an intact index is a *CorruptError.
func openIndexFile(files *openFiles, path string, userKey []byte, cache *blockCache) (x *indexFile, err error) {
	f := files.file(path, os.O_RDONLY)
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	x = &indexFile{file: f, path: path, cache: cache}
	if x.footer, x.size, err = readIndexFooter(f, path); err != nil {
		return nil, err
	}
	at := x.size - indexFooterSize
	x.segment = x.footer.segment
	if x.footer.encrypted {
		if x.aead, err = openKey(userKey, x.footer.nonce[:], x.footer.wrapped[:], x.footer.aad()); err != nil {
			return nil, corrupt(path, at, "index key does not open: %v", err)
		}
	}
	return x, x.load()
}

// readIndexFooter returns the footer of an index file, and the file's size.
func readIndexFooter(f File, path string) (footer indexFooter, size int64, err error) {
	if size, err = f.Size(); err != nil {
		return footer, 0, fmt.Errorf("spill index %s: %w", path, err)
	}
	at := size - indexFooterSize
	if at < 0 {
		return footer, 0, corrupt(path, 0, "index of %d bytes", size)
	}
	b := make([]byte, indexFooterSize)
	if n, err := f.ReadAt(b, at); n < len(b) {
		if err == io.EOF {
			return footer, 0, corrupt(path, at, "index footer is cut off after %d bytes", n)
		}
		return footer, 0, fmt.Errorf("spill index %s: read of the footer: %w", path, err)
	}
	return footer, size, footer.unmarshal(path, at, b)
}

// load reads what stays in memory.
func (x *indexFile) load() error {
	filter, err := x.readBlock(x.file, x.path, kindFilter, x.footer.filter, x.footer.table, nil)
	if err != nil {
		return err
	}
	table, err := x.readBlock(x.file, x.path, kindTable, x.footer.table, x.size-indexFooterSize, nil)
	if err != nil {
		return err
	}
	if err := x.table.unmarshal(table, x.footer.filter); err != nil {
		return corrupt(x.path, x.footer.table, "table of leaves: %v", err)
	}
	if len(filter) == 0 || len(filter)%filterBlock != 0 {
		return corrupt(x.path, x.footer.filter, "filter of %d bytes", len(filter))
	}
	x.filter = bytes.Clone(filter)
	return nil
}

// memory returns the bytes held beside the cache.
func (x *indexFile) memory() int64 {
	const fixed = 512 // this struct and the file
	return int64(cap(x.filter)) + x.table.memory() + fixed
}

// mayHave is false if no version of the user key is in the segment: by the filter, which nearly
// always knows, and by the range of keys.
func (x *indexFile) mayHave(key []byte, hash uint64) bool {
	return x.filter.mayContain(hash) && bytes.Compare(key, y.ParseKey(x.table.low(0))) >= 0 &&
		bytes.Compare(key, y.ParseKey(x.table.biggest)) <= 0
}

// get returns the newest version of the user key at or below ts. hash is filterHash of the key.
func (x *indexFile) get(key []byte, ts uint64, hash uint64) (vs y.ValueStruct, found bool, err error) {
	if !x.mayHave(key, hash) {
		return vs, false, nil
	}
	var stack [128]byte
	target := append(stack[:0], key...)
	target = binary.BigEndian.AppendUint64(target, math.MaxUint64-ts)
	i := max(x.table.find(target), 0)
	for ; i < x.table.len(); i++ {
		l, err := x.leaf(i)
		if err != nil {
			return vs, false, err
		}
		var scratch [128]byte
		pos, internal, err := l.search(target, scratch[:0])
		if err != nil {
			return vs, false, x.damaged(i, err)
		}
		if pos == l.len() { // the version wanted may begin the next leaf
			if i+1 < x.table.len() && bytes.Equal(y.ParseKey(x.table.low(i+1)), key) {
				continue
			}
			return vs, false, nil
		}
		if internal, err = l.key(internal[:0], pos); err != nil {
			return vs, false, x.damaged(i, err)
		}
		if !bytes.Equal(y.ParseKey(internal), key) {
			return vs, false, nil
		}
		if vs, err = x.value(&l, pos); err != nil {
			return vs, false, x.damaged(i, err)
		}
		vs.Version = y.ParseTs(internal)
		return vs, true, nil
	}
	return vs, false, nil
}

// value returns what the index says of entry i of a leaf, once it is known to point into the
// segment.
func (x *indexFile) value(l *leaf, i int) (y.ValueStruct, error) {
	vs, err := l.value(i)
	if err != nil {
		return vs, err
	}
	at, _, err := parseLocation(vs.Value)
	if err == nil && !at.within(x.segment, x.footer.end) {
		err = fmt.Errorf("entry %d points to %d bytes at %d of segment %d", i, at.stored, at.block, at.segment)
	}
	return vs, err
}

func (x *indexFile) damaged(i int, err error) error {
	return corrupt(x.path, int64(x.table.offsets[i]), "leaf %d: %v", i, err)
}

// leaf returns leaf i, by way of the cache.
func (x *indexFile) leaf(i int) (leaf, error) {
	at, end := int64(x.table.offsets[i]), int64(x.table.offsets[i+1])
	raw, _ := x.cache.get(cacheIndex, x.segment, at)
	if raw == nil {
		var err error
		if raw, err = x.readBlock(x.file, x.path, kindLeaf, at, end, nil); err != nil {
			return leaf{}, err
		}
		x.cache.put(cacheIndex, x.segment, at, raw, 0)
	}
	l, err := parseLeaf(raw)
	if err != nil {
		err = x.damaged(i, err)
	}
	return l, err
}

// leafInto is leaf for who reads many in a row: it takes what is cached, and adds nothing. The leaf
// lies in buf or in the cache.
func (x *indexFile) leafInto(i int, buf []byte) (leaf, []byte, error) {
	return x.leafFrom(x.file, i, buf)
}

// leafFrom is leafInto through another reader of the file.
func (x *indexFile) leafFrom(r io.ReaderAt, i int, buf []byte) (leaf, []byte, error) {
	at, end := int64(x.table.offsets[i]), int64(x.table.offsets[i+1])
	raw, _ := x.cache.get(cacheIndex, x.segment, at)
	if raw == nil {
		if int64(cap(buf)) < end-at && end-at <= maxPiece {
			buf = make([]byte, end-at)
		}
		var err error
		if raw, err = x.readBlock(r, x.path, kindLeaf, at, end, buf); err != nil {
			return leaf{}, buf, err
		}
	}
	l, err := parseLeaf(raw)
	if err != nil {
		err = x.damaged(i, err)
	}
	return l, buf, err
}

// writeIndex makes the index file of a sealed segment from its index in memory, whole or not at
// all, and opens it.
func (l *Log) writeIndex(s *segment, mem *memIndex) (*indexFile, error) {
	path := filepath.Join(l.o.Dir, indexName(s.id()))
	temp := path + vfs.TempSuffix
	b := &indexBuilder{seal: indexSealer{segment: s.id()}}
	footer := indexFooter{
		databaseID: l.o.DatabaseID, segment: s.id(), segmentCRC: s.header.checksum(), mixed: s.mixed.Load(),
		end: s.end.Load(), firstSeq: s.header.firstSeq, lastSeq: s.lastSeq.Load(),
		minTs: s.minTs.Load(), maxTs: s.maxTs.Load(), maxVersion: s.maxVersion.Load(),
	}
	var key []byte
	if s.aead != nil {
		footer.encrypted = true
		var err error
		if key, b.seal.aead, err = newDataKey(); err != nil {
			return nil, fmt.Errorf("spill index %s: %w", path, err)
		}
	}
	it := mem.iterator(false)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		vs := it.Value()
		b.add(it.Key(), &vs)
	}
	if b.entries == 0 {
		return nil, errEmptyIndex
	}
	out, err := b.finish(&footer, l.o.EncryptionKey, key)
	if err != nil {
		return nil, fmt.Errorf("spill index %s: %w", path, err)
	}
	if int64(len(out)) > math.MaxUint32 {
		return nil, fmt.Errorf("%w: the index of segment %s takes %d bytes", ErrTooLarge, s.path, len(out))
	}
	f, err := vfs.CreateTemp(l.fs, path)
	if err == nil {
		err = vfs.Complete(f, out)
	}
	if err == nil {
		err = l.nameIndex(s, temp, path, int64(len(out)))
	}
	if err != nil {
		if rerr := l.fs.Remove(temp); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			l.o.Logf("spill index %s could not be removed, the next Open does it: %v", temp, rerr)
		}
		return nil, fmt.Errorf("spill index %s: %w", path, err)
	}
	x := &indexFile{indexSealer: b.seal, footer: footer, path: path, size: int64(len(out)), table: b.table, cache: l.cache,
		file: l.files.file(path, os.O_RDONLY)}
	if err := x.load(); err != nil { // exact in memory, and read once
		if s.unlinked() {
			err = errUnlinked
		}
		return nil, errors.Join(err, x.file.Close())
	}
	return x, nil
}

var (
	errEmptyIndex = errors.New("segment has no entries")
	errUnlinked   = errors.New("segment is gone")
)

// aad is what the data key is bound to: all of the footer before it. So the footer is
// authenticated, too.
func (f *indexFooter) aad() []byte {
	var b [indexFooterSize]byte
	f.marshal(b[:])
	return b[:footerAAD]
}
