package spillfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
)

// Source names a spill for who reads its files without opening it: Inspect, Walk, Verify and
// Salvage. Unlike a Log they go on past damage.
type Source struct {
	// Dir is the directory of the spill.
	Dir string
	// FS is the file system; nil is OS.
	FS FS
	// EncryptionKey is that of the database, empty if it has none.
	EncryptionKey []byte
	// Rate bounds in bytes a second how fast Walk and Verify read segments; 0 is no bound.
	Rate int64
}

// Lock keeps writers away until the Closer is closed. It writes nothing, does not wait, and does
// not keep other readers away. A spill that is open for writing is an error that matches ErrLocked.
// A directory without a lock file, to which nobody has written yet or which is a copy, is not
// locked. Inspect, Walk and Verify do not lock: without it they may meet files that change under
// them.
func (src Source) Lock() (io.Closer, error) {
	fsys := src.FS
	if fsys == nil {
		fsys = OS
	}
	lock, err := fsys.Lock(filepath.Join(src.Dir, lockName), true)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return io.NopCloser(nil), nil
	case err != nil:
		return nil, fmt.Errorf("spill %s: %w", src.Dir, err)
	}
	return lock, nil
}

func (src Source) options() Options {
	return Options{Dir: src.Dir, FS: src.FS, EncryptionKey: src.EncryptionKey, ReadOnly: true, OpenFiles: MinOpenFiles}
}

// look is what is found in a spill's directory: recovery's own eyes, read-only and without a lock.
type look struct {
	*recovery
	manifestErr error // why contents.manifest is not the one on disk, nil if it is
	absent      bool  // there is no spill
}

// newLook opens the segments and puts them in order as far as their headers say it. It is to be
// closed. Damage is no error; a file in a newer format is, and so is one that cannot be read.
func newLook(src Source) (_ *look, err error) {
	o := src.options()
	if err := o.check(); err != nil {
		return nil, err
	}
	d := newDirectory(o)
	c, err := d.list()
	if err != nil {
		return nil, err
	}
	if c.newest, err = readNewest(d.fs, o.Dir); err != nil {
		return nil, err
	}
	k := &look{recovery: &recovery{directory: d, contents: c, ctx: context.Background(), pastGaps: true}}
	m, err := readManifest(d.fs, o.Dir)
	switch {
	case err == nil:
	case errors.Is(err, fs.ErrNotExist) && len(c.ids) == 0:
		m, k.absent = &manifest{next: 1, firstLive: 1}, true
	case errors.Is(err, fs.ErrNotExist):
		m, k.manifestErr = &manifest{}, noManifest(d.fs, o.Dir, c)
	case errors.Is(err, ErrCorrupt):
		m, k.manifestErr = &manifest{}, err
	default:
		return nil, err
	}
	c.manifest = m
	defer func() {
		if err != nil {
			k.close()
		}
	}()
	if err := k.openAll(); err != nil {
		return nil, err
	}
	if k.manifestErr != nil { // the identity is the last segment's
		for _, f := range k.found {
			if f.bad == nil {
				m.databaseID = f.header.DatabaseID
			}
		}
	}
	k.o.DatabaseID = m.databaseID
	if err := k.link(); err != nil {
		return nil, err
	}
	// Without a manifest nobody knows whether what came before the first segment is replayed.
	if n := len(k.gaps); k.manifestErr != nil && n > 0 && k.gaps[n-1].before == k.chain[0] {
		k.gaps = k.gaps[:n-1]
	}
	return k, nil
}

func (k *look) close() {
	for _, f := range k.found {
		if f.file != nil {
			f.file.Close()
		}
	}
}

// verdict is what Open would say: nil, or why it would refuse; and how many bytes it would cut off
// as a torn tail, none if it refuses.
func verdict(src Source) (dropped int64, err error) {
	o := src.options()
	if err := o.check(); err != nil {
		return 0, err
	}
	d := newDirectory(o)
	c, err := d.inspect()
	if err != nil || c.manifest == nil {
		return 0, err
	}
	d.o.DatabaseID = c.manifest.databaseID
	r := &recovery{directory: d, contents: c, ctx: context.Background()}
	defer r.closeUnused(nil)
	if err := r.decide(); err != nil {
		return 0, err
	}
	return r.droppedBytes, nil
}
