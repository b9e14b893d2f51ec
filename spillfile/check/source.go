package check

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/badgerspill/badgerspill/spillfile/internal/filepool"
	"github.com/badgerspill/badgerspill/spillfile/internal/layout"
	"github.com/badgerspill/badgerspill/spillfile/internal/recovery"
	"github.com/badgerspill/badgerspill/spillfile/vfs"
)

// Source names a spill for who reads its files without opening it: Inspect, Walk, Verify, and those
// of package repair. Unlike a Log they go on past damage.
type Source struct {
	// Dir is the directory of the spill.
	Dir string
	// FS is the file system; nil is that of the operating system.
	FS vfs.FS
	// EncryptionKey is that of the database, empty if it has none.
	EncryptionKey []byte
	// Rate bounds in bytes a second how fast Walk and Verify read segments; 0 is no bound.
	Rate int64
}

// Lock keeps writers away until the Closer is closed. It writes nothing, does not wait, and does
// not keep other readers away. A spill that is open for writing is an error that matches
// spillfile.ErrLocked. A directory without a lock file, to which nobody has written yet or which is
// a copy, is not locked. Inspect, Walk and Verify do not lock: without it they may meet files that
// change under them.
func (src Source) Lock() (io.Closer, error) {
	fsys := src.FS
	if fsys == nil {
		fsys = vfs.OS
	}
	lock, err := fsys.Lock(filepath.Join(src.Dir, layout.LockName), true)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return io.NopCloser(nil), nil
	case err != nil:
		return nil, fmt.Errorf("spill %s: %w", src.Dir, err)
	}
	return lock, nil
}

func (src Source) options() recovery.Options {
	return recovery.Options{Dir: src.Dir, FS: src.FS, EncryptionKey: src.EncryptionKey, ReadOnly: true, OpenFiles: filepool.Min}
}
