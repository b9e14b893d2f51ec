package spillfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/dgraph-io/badger/v4/y"
)

// Verify is Walk that also reads every block of every index file and compares it with its segment:
// each entry that a read would look for must be there, in its place, and pass the filter. It takes
// the memory of one segment's index. progress (nil: nobody) is told after each segment how many
// bytes of segments are done, and of how many.
func Verify(ctx context.Context, src Source, progress func(done, total int64)) (*Findings, error) {
	w, err := newWalker(ctx, src, nil)
	if err != nil {
		return nil, err
	}
	defer w.close()
	var done, total int64
	for _, f := range w.chain {
		total += f.size
	}
	w.read = func(f *foundSegment) {
		if done += f.size; progress != nil {
			progress(done, total)
		}
	}
	n, err := w.run()
	if err != nil {
		return nil, err
	}
	for _, id := range w.indexes {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := w.index(id); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// index checks the index file of a segment.
func (w *walker) index(id uint64) error {
	var f *foundSegment
	for _, c := range w.chain {
		if c.id == id {
			f = c
		}
	}
	if f == nil || f.bad != nil || f.seg.header.databaseID != w.contents.manifest.databaseID {
		return nil // nobody uses it
	}
	v := indexCheck{w: w, f: f, x: &indexFile{path: w.indexPath(id)}}
	if err := v.open(); err != nil || v.x.file == nil {
		return err
	}
	defer v.x.file.Close()
	v.leaves()
	if !v.bad && w.sound[id] {
		if err := v.compare(); err != nil {
			return err
		}
	}
	w.report.Indexes++
	return nil
}

// indexCheck is the check of one index file.
type indexCheck struct {
	w   *walker
	f   *foundSegment
	x   *indexFile
	bad bool // a fault was found
}

func (v *indexCheck) fault(at int64, err error) {
	f := Fault{Kind: IndexDamage, File: v.x.path, Offset: at, End: at, Reason: err.Error()}
	if c := new(CorruptError); errors.As(err, &c) {
		f.Offset, f.Reason = c.Offset, c.Reason
	}
	v.bad = true
	v.w.report.Faults = append(v.w.report.Faults, f)
}

// open reads all but the leaves. x.file stays nil if the footer is not intact: nothing can be found
// without it.
func (v *indexCheck) open() error {
	x := v.x
	file := v.w.files.file(x.path, os.O_RDONLY)
	err := file.keep()
	if err != nil {
		return fmt.Errorf("spill index %s: %w", x.path, err)
	}
	x.footer, x.size, err = readIndexFooter(file, x.path)
	at := max(0, x.size-indexFooterSize)
	ft := &x.footer
	switch {
	case err != nil:
	case !v.f.hasIndex(ft, v.w.contents.manifest.databaseID):
		err = corrupt(x.path, at, "this is not the index of %s", v.f.path)
	case !v.f.mayEnd(ft.end):
		err = corrupt(x.path, at, "it says that %s ends at %d, want %d", v.f.path, ft.end, max(v.f.want, v.f.limit))
	case ft.encrypted:
		if x.aead, err = openKey(v.w.o.EncryptionKey, ft.nonce[:], ft.wrapped[:], ft.aad()); err != nil {
			err = corrupt(x.path, at, "index key does not open: %v", err)
		}
	}
	if err != nil {
		v.fault(at, err)
		return file.Close()
	}
	x.file, x.segment = file, ft.segment
	x.filter, err = x.readBlock(file, x.path, kindFilter, ft.filter, ft.table, nil)
	if err == nil && (len(x.filter) == 0 || len(x.filter)%filterBlock != 0) {
		err = corrupt(x.path, ft.filter, "filter of %d bytes", len(x.filter))
	}
	if err != nil {
		v.fault(ft.filter, err)
	}
	table, err := x.readBlock(file, x.path, kindTable, ft.table, at, nil)
	if err == nil {
		if terr := x.table.unmarshal(table, ft.filter); terr != nil {
			err = corrupt(x.path, ft.table, "table of leaves: %v", terr)
		}
	}
	if err != nil {
		x.table = leafTable{} // no leaf can be found
		v.fault(ft.table, err)
	}
	return nil
}

// leaves checks each leaf by itself.
func (v *indexCheck) leaves() {
	var entries uint64
	var buf, last, key []byte
	for i := range v.x.table.len() {
		at := int64(v.x.table.offsets[i])
		l, b, err := v.x.leafInto(i, buf)
		buf = b
		for pos := 0; err == nil && pos < l.len(); pos++ {
			if key, err = l.key(key[:0], pos); err != nil {
				break
			}
			low := v.x.table.low(i)
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
			_, err = v.x.value(&l, pos)
		}
		if err != nil {
			v.fault(at, err)
		}
	}
	switch ft := &v.x.footer; {
	case v.bad:
	case entries != ft.entries:
		v.fault(v.x.size-indexFooterSize, fmt.Errorf("it says %d entries, its leaves have %d", ft.entries, entries))
	case !bytes.Equal(v.x.table.biggest, last):
		v.fault(ft.table, errors.New("the table has another last key than the leaves"))
	}
}

// compare holds the index against the one that its segment makes. An index that was made when a
// part of its segment was replayed need not have that part.
func (v *indexCheck) compare() error {
	s := &segment{header: v.f.seg.header, file: v.f.file, path: v.f.path, aead: v.f.seg.aead}
	s.end.Store(v.x.footer.end)
	s.lastSeq.Store(v.x.footer.lastSeq)
	mem, err := s.readIndex()
	if errors.Is(err, ErrCorrupt) {
		v.fault(v.x.size-indexFooterSize, fmt.Errorf("the segment does not end as the index says: %w", err))
		return nil
	}
	if err != nil {
		return err
	}
	it := mem.iterator(false)
	defer it.Close()
	it.Rewind()
	live := v.w.liveFrom[v.f.id]
	var buf, key []byte
	for i := range v.x.table.len() {
		l, b, err := v.x.leafInto(i, buf)
		buf = b
		for pos := 0; err == nil && pos < l.len(); pos++ {
			if key, err = l.key(key[:0], pos); err != nil {
				break
			}
			vs, verr := v.x.value(&l, pos)
			if err = verr; err != nil {
				break
			}
			for it.Valid() && !bytes.Equal(it.Key(), key) && v.mayMiss(it.Value(), live) {
				it.Next()
			}
			switch {
			case !it.Valid() || !bytes.Equal(it.Key(), key):
				err = fmt.Errorf("leaf %d: entry %d is not the next of the segment", i, pos)
			case !sameIndexed(it.Value(), vs):
				err = fmt.Errorf("leaf %d: entry %d is not as in the segment", i, pos)
			case !v.x.filter.mayContain(filterHash(y.ParseKey(key))):
				err = fmt.Errorf("leaf %d: the filter does not know the key of entry %d", i, pos)
			}
			if err == nil {
				it.Next()
			}
		}
		if err != nil {
			v.fault(int64(v.x.table.offsets[i]), err)
			return nil
		}
	}
	for ; it.Valid(); it.Next() {
		if !v.mayMiss(it.Value(), live) {
			v.fault(v.x.footer.table, errors.New("an entry of the segment is missing"))
			return nil
		}
	}
	return nil
}

func sameIndexed(a, b y.ValueStruct) bool {
	return a.Meta == b.Meta && a.UserMeta == b.UserMeta && a.ExpiresAt == b.ExpiresAt && bytes.Equal(a.Value, b.Value)
}

// mayMiss says whether an entry of the segment lies before what is not replayed.
func (v *indexCheck) mayMiss(vs y.ValueStruct, live int64) bool {
	at, _, err := parseLocation(vs.Value)
	return err == nil && at.block < live
}
