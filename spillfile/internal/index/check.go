package index

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4/y"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/vfs"
)

// Checked is an index file that Check has read.
type Checked struct {
	File
	tell func(at int64, err error)
	Bad  bool // a fault was found
}

func (v *Checked) fault(at int64, err error) {
	v.Bad = true
	v.tell(at, err)
}

// Fault tells of a fault of the whole file, at its footer.
func (v *Checked) Fault(err error) { v.fault(v.Size-footerSize, err) }

// Check reads and checks all blocks of an index file, each by itself, without a cache. It tells of
// each fault with its offset. fits says why an intact footer is not that of the segment. It returns
// nil if the footer is not intact, or does not fit: nothing can be found without it. It leaves the
// file open.
func Check(f vfs.File, path string, userKey []byte, fits func(*Footer) error, tell func(at int64, err error)) *Checked {
	v := &Checked{File: File{file: f, Path: path}, tell: tell}
	if !v.open(userKey, fits) {
		return nil
	}
	v.leaves()
	return v
}

// open reads all but the leaves. It returns false if there is no footer to find them by.
func (v *Checked) open(userKey []byte, fits func(*Footer) error) bool {
	var err error
	v.Footer, v.Size, err = ReadFooter(v.file, v.Path)
	at := max(0, v.Size-footerSize)
	ft := &v.Footer
	if err == nil {
		err = fits(ft)
	}
	if err == nil && ft.Encrypted {
		if v.aead, err = block.OpenKey(userKey, ft.nonce[:], ft.wrapped[:], ft.aad()); err != nil {
			err = fmt.Errorf("index key does not open: %v", err)
		}
	}
	if err != nil {
		v.fault(at, err)
		return false
	}
	v.segment = ft.Segment
	v.Filter, err = v.readFilter()
	if err == nil && (len(v.Filter) == 0 || len(v.Filter)%filterBlock != 0) {
		err = fmt.Errorf("filter of %d bytes", len(v.Filter))
	}
	if err != nil {
		v.fault(ft.filter, err)
	}
	table, err := v.readTable()
	if err == nil {
		if err = v.table.unmarshal(table, ft.filter); err != nil {
			err = fmt.Errorf("table of leaves: %v", err)
		}
	}
	if err != nil {
		v.table = leafTable{} // no leaf can be found
		v.fault(ft.table, err)
	}
	return true
}

// leaves checks each leaf by itself.
func (v *Checked) leaves() {
	var entries uint64
	var buf, last, key []byte
	for i := range v.table.len() {
		at := int64(v.table.offsets[i])
		l, b, err := v.leafInto(i, buf)
		buf = b
		for pos := 0; err == nil && pos < l.len(); pos++ {
			if key, err = l.key(key[:0], pos); err != nil {
				break
			}
			low := v.table.low(i)
			switch {
			case len(last) > 0 && y.CompareKeys(last, key) >= 0:
				err = fmt.Errorf("leaf %d: entry %d is not behind the one before", i, pos)
			case pos == 0 && (y.CompareKeys(low, key) > 0 || len(last) > 0 && y.CompareKeys(low, last) <= 0):
				err = fmt.Errorf("leaf %d: the table has a key for it that does not lead to it", i)
			}
			if err != nil {
				break
			}
			last = append(last[:0], key...)
			entries++
			_, err = v.value(&l, pos)
		}
		if err != nil {
			v.fault(at, err)
		}
	}
	switch ft := &v.Footer; {
	case v.Bad:
	case entries != ft.Entries:
		v.Fault(fmt.Errorf("it says %d entries, its leaves have %d", ft.Entries, entries))
	case !bytes.Equal(v.table.biggest, last):
		v.fault(ft.table, errors.New("the table has another last key than the leaves"))
	}
}

// Compare holds the index against mem, the one that its segment makes. It may miss what lies in
// blocks before the offset live.
func (v *Checked) Compare(mem *Memory, live int64) {
	it := mem.Iterator(false)
	defer it.Close()
	it.Rewind()
	var buf, key []byte
	for i := range v.table.len() {
		l, b, err := v.leafInto(i, buf)
		buf = b
		for pos := 0; err == nil && pos < l.len(); pos++ {
			if key, err = l.key(key[:0], pos); err != nil {
				break
			}
			vs, verr := v.value(&l, pos)
			if err = verr; err != nil {
				break
			}
			for it.Valid() && !bytes.Equal(it.Key(), key) && mayMiss(it.Value(), live) {
				it.Next()
			}
			switch {
			case !it.Valid() || !bytes.Equal(it.Key(), key):
				err = fmt.Errorf("leaf %d: entry %d is not the next of the segment", i, pos)
			case !sameIndexed(it.Value(), vs):
				err = fmt.Errorf("leaf %d: entry %d is not as in the segment", i, pos)
			case !v.Filter.MayContain(Hash(y.ParseKey(key))):
				err = fmt.Errorf("leaf %d: the filter does not know the key of entry %d", i, pos)
			}
			if err == nil {
				it.Next()
			}
		}
		if err != nil {
			v.fault(int64(v.table.offsets[i]), err)
			return
		}
	}
	for ; it.Valid(); it.Next() {
		if !mayMiss(it.Value(), live) {
			v.fault(v.Footer.table, errors.New("an entry of the segment is missing"))
			return
		}
	}
}

func sameIndexed(a, b y.ValueStruct) bool {
	return a.Meta == b.Meta && a.UserMeta == b.UserMeta && a.ExpiresAt == b.ExpiresAt && bytes.Equal(a.Value, b.Value)
}

// mayMiss says whether an entry lies in a block before the offset live.
func mayMiss(vs y.ValueStruct, live int64) bool {
	at, _, err := ParseLocation(vs.Value)
	return err == nil && at.Block < live
}
