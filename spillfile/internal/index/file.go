package index

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/dgraph-io/badger/v4/y"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/vfs"
)

// File is the index of a sealed segment on disk. In memory are its filter and the table of its
// leaves. Safe for concurrent use.
type File struct {
	sealer
	Footer Footer // not to be changed, as all here
	file   vfs.File
	Path   string // of the file
	Size   int64  // of the file, in bytes
	Filter Filter // of the user keys
	table  leafTable
	cache  *block.Cache
}

// Open opens an index by its file at path, which it closes if that fails. What is not an intact
// index is a *CorruptError. It reads all but the leaves.
func Open(f vfs.File, path string, userKey []byte, cache *block.Cache) (x *File, err error) {
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	x = &File{file: f, Path: path, cache: cache}
	if x.Footer, x.Size, err = ReadFooter(f, path); err != nil {
		return nil, err
	}
	at := x.Size - footerSize
	x.segment = x.Footer.Segment
	if x.Footer.Encrypted {
		if x.aead, err = block.OpenKey(userKey, x.Footer.nonce[:], x.Footer.wrapped[:], x.Footer.aad()); err != nil {
			return nil, block.Corrupt(path, at, "index key does not open: %v", err)
		}
	}
	return x, x.load()
}

// ReadFooter returns the footer of an index file, and the file's size.
func ReadFooter(f vfs.File, path string) (footer Footer, size int64, err error) {
	if size, err = f.Size(); err != nil {
		return footer, 0, fmt.Errorf("spill index %s: %w", path, err)
	}
	at := size - footerSize
	if at < 0 {
		return footer, 0, block.Corrupt(path, 0, "index of %d bytes", size)
	}
	b := make([]byte, footerSize)
	if n, err := f.ReadAt(b, at); n < len(b) {
		if err == io.EOF {
			return footer, 0, block.Corrupt(path, at, "index footer is cut off after %d bytes", n)
		}
		return footer, 0, fmt.Errorf("spill index %s: read of the footer: %w", path, err)
	}
	return footer, size, footer.unmarshal(path, at, b)
}

// load reads what stays in memory.
func (x *File) load() error {
	filter, err := x.readFilter()
	if err != nil {
		return err
	}
	table, err := x.readTable()
	if err != nil {
		return err
	}
	if err := x.table.unmarshal(table, x.Footer.filter); err != nil {
		return block.Corrupt(x.Path, x.Footer.table, "table of leaves: %v", err)
	}
	if len(filter) == 0 || len(filter)%filterBlock != 0 {
		return block.Corrupt(x.Path, x.Footer.filter, "filter of %d bytes", len(filter))
	}
	x.Filter = bytes.Clone(filter)
	return nil
}

func (x *File) readFilter() ([]byte, error) {
	return x.readBlock(x.file, x.Path, kindFilter, x.Footer.filter, x.Footer.table, nil)
}

func (x *File) readTable() ([]byte, error) {
	return x.readBlock(x.file, x.Path, kindTable, x.Footer.table, x.Size-footerSize, nil)
}

// Close closes the file. What is read from it afterwards fails.
func (x *File) Close() error { return x.file.Close() }

// Memory returns the bytes held beside the cache.
func (x *File) Memory() int64 {
	const fixed = 512 // this struct and the file
	return int64(cap(x.Filter)) + x.table.memory() + fixed
}

// mayHave is false if no version of the user key is in the segment: by the filter, which nearly
// always knows, and by the range of keys.
func (x *File) mayHave(key []byte, hash uint64) bool {
	return x.Filter.MayContain(hash) && bytes.Compare(key, y.ParseKey(x.table.low(0))) >= 0 &&
		bytes.Compare(key, y.ParseKey(x.table.biggest)) <= 0
}

// Get returns the newest version of the user key at or below ts. hash is Hash of the key.
func (x *File) Get(key []byte, ts uint64, hash uint64) (vs y.ValueStruct, found bool, err error) {
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
func (x *File) value(l *leaf, i int) (y.ValueStruct, error) {
	vs, err := l.value(i)
	if err != nil {
		return vs, err
	}
	at, _, err := ParseLocation(vs.Value)
	if err == nil && !at.within(x.segment, x.Footer.End) {
		err = fmt.Errorf("entry %d points to %d bytes at %d of segment %d", i, at.Stored, at.Block, at.Segment)
	}
	return vs, err
}

func (x *File) damaged(i int, err error) error {
	return block.Corrupt(x.Path, int64(x.table.offsets[i]), "leaf %d: %v", i, err)
}

// leaf returns leaf i, by way of the cache.
func (x *File) leaf(i int) (leaf, error) {
	at, end := int64(x.table.offsets[i]), int64(x.table.offsets[i+1])
	raw, _ := x.cache.Get(block.CacheIndex, x.segment, at)
	if raw == nil {
		var err error
		if raw, err = x.readBlock(x.file, x.Path, kindLeaf, at, end, nil); err != nil {
			return leaf{}, err
		}
		x.cache.Put(block.CacheIndex, x.segment, at, raw, 0)
	}
	l, err := parseLeaf(raw)
	if err != nil {
		err = x.damaged(i, err)
	}
	return l, err
}

// leafInto is leaf for who reads many in a row: it takes what is cached, and adds nothing. The leaf
// lies in buf or in the cache.
func (x *File) leafInto(i int, buf []byte) (leaf, []byte, error) {
	return x.leafFrom(x.file, i, buf)
}

// leafFrom is leafInto through another reader of the file.
func (x *File) leafFrom(r io.ReaderAt, i int, buf []byte) (leaf, []byte, error) {
	at, end := int64(x.table.offsets[i]), int64(x.table.offsets[i+1])
	raw, _ := x.cache.Get(block.CacheIndex, x.segment, at)
	if raw == nil {
		if int64(cap(buf)) < end-at && end-at <= block.MaxPiece {
			buf = make([]byte, end-at)
		}
		var err error
		if raw, err = x.readBlock(r, x.Path, kindLeaf, at, end, buf); err != nil {
			return leaf{}, buf, err
		}
	}
	l, err := parseLeaf(raw)
	if err != nil {
		err = x.damaged(i, err)
	}
	return l, buf, err
}

// Verify reads all blocks of the file, up to the first that is damaged: a *CorruptError. paced is
// told how many bytes of a leaf were read; its error ends it.
func (x *File) Verify(ctx context.Context, paced func(ctx context.Context, n int64) error) error {
	var buf []byte
	footer, _, err := ReadFooter(x.file, x.Path)
	if err == nil && footer != x.Footer {
		err = block.Corrupt(x.Path, max(0, x.Size-footerSize), "the footer is not the one that was opened")
	}
	for i := 0; err == nil && i < x.table.len(); i++ {
		if _, buf, err = x.leafInto(i, buf); err == nil {
			err = paced(ctx, int64(len(buf)))
		}
	}
	if err == nil {
		_, err = x.readFilter()
	}
	if err == nil {
		_, err = x.readTable()
	}
	if err == io.EOF {
		err = block.Corrupt(x.Path, 0, "the file ends early")
	}
	return err
}
