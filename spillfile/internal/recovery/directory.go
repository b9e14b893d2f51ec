package recovery

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/filepool"
	"github.com/badgerspill/badgerspill/spillfile/internal/index"
	"github.com/badgerspill/badgerspill/spillfile/internal/layout"
	"github.com/badgerspill/badgerspill/spillfile/vfs"
)

// Why a directory is refused.
var (
	// ErrForeignSpill means that the spill holds commits of another database.
	ErrForeignSpill = errors.New("spill belongs to another database")
	// ErrNoManifest means that a directory holds segments but no MANIFEST.
	ErrNoManifest = errors.New("spill directory has segments but no MANIFEST")
	// ErrOptions means that a field of Options is out of its bounds.
	ErrOptions = errors.New("invalid spill options")
)

// Options says which directory is read, and how.
type Options struct {
	Dir           string   // of the spill
	FS            vfs.FS   // nil is that of the operating system
	DatabaseID    [16]byte // identity of the database that the spill should be of
	EncryptionKey []byte   // empty: there is none
	ReadOnly      bool     // nothing is written, and Dir need not exist
	OpenFiles     int      // bounds the files that are open at once; 0 is the default of the pool
	CacheSize     int64    // bytes of decoded blocks that are kept; 0 or less is no cache
	// Progress is told of each MiB of segments that was read, and when all is; nil: nobody is.
	Progress func(Progress)
	// Logf takes a line about what an operator should know; nil drops it.
	Logf func(format string, args ...any)
}

// Check returns an error that matches ErrOptions where the directory or the key cannot be right,
// and fills in what is left out.
func (o *Options) Check() error {
	if err := CheckDir(o.Dir); err != nil {
		return err
	}
	if err := CheckKey(o.EncryptionKey); err != nil {
		return err
	}
	if o.FS == nil {
		o.FS = vfs.OS
	}
	if o.Logf == nil {
		o.Logf = func(string, ...any) {}
	}
	if o.Progress == nil {
		o.Progress = func(Progress) {}
	}
	return nil
}

// CheckDir returns an error that matches ErrOptions unless dir names a directory.
func CheckDir(dir string) error {
	if dir == "" {
		return fmt.Errorf("%w: Dir is empty; name a directory", ErrOptions)
	}
	return nil
}

// CheckKey returns an error that matches ErrOptions unless the key is one of AES, or empty.
func CheckKey(key []byte) error {
	switch len(key) {
	case 0, 16, 24, 32:
		return nil
	}
	return fmt.Errorf("%w: EncryptionKey has %d bytes, want 0, 16, 24 or 32", ErrOptions, len(key))
}

// Directory is a directory of a spill, and what reads its files.
type Directory struct {
	Options Options
	FS      vfs.FS         // for what is not in Pool
	Pool    *filepool.Pool // of the files of segments and indexes
	Cache   *block.Cache   // of decoded blocks
}

// NewDirectory takes checked options, and reads nothing.
func NewDirectory(o Options) *Directory {
	files := filepool.New(o.FS, o.OpenFiles)
	return &Directory{Options: o, FS: files.FS(), Pool: files, Cache: block.NewCache(o.CacheSize)}
}

// LockError says what to do about a lock that was not taken.
func LockError(dir string, err error) error {
	if errors.Is(err, vfs.ErrLocked) {
		return fmt.Errorf("spill %s: %w; close the other process, or give this one another directory", dir, err)
	}
	return fmt.Errorf("spill %s: %w; the directory and LOCK must be writable by this process, or readable if it opens read-only", dir, err)
}

// Foreign returns an error that matches ErrForeignSpill: the spill in dir is of database found, and
// database want is opened.
func Foreign(dir string, found, want [16]byte) error {
	return fmt.Errorf("%w: %s holds commits of database %x, this one is %x", ErrForeignSpill, dir, found, want)
}

// Contents is what the directory holds.
type Contents struct {
	IDs      []uint64         // segments, ascending
	Manifest *layout.Manifest // nil: none
	Indexes  []uint64         // segments that have an index file
	Temp     []string         // files that were being written when the process ended
	Salvages []string         // directories of a Salvage that was interrupted
	Newest   *layout.Note     // nil: none
}

// Inspect returns what the directory holds, with its manifest and its note of the newest segment.
// Segments without a manifest are ErrNoManifest.
func (d *Directory) Inspect() (*Contents, error) {
	c, err := d.List()
	if err != nil {
		return nil, err
	}
	if c.Newest, err = layout.ReadNote(d.FS, d.Options.Dir); err != nil {
		return nil, err
	}
	m, err := layout.ReadManifest(d.FS, d.Options.Dir)
	switch {
	case err == nil:
		c.Manifest = m
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	case len(c.IDs) > 0:
		return nil, noManifest(d.FS, d.Options.Dir, c)
	}
	return c, nil
}

func noManifest(fsys vfs.FS, dir string, c *Contents) error {
	if layout.DiscardInterrupted(fsys, dir) {
		return fmt.Errorf("%w: %s, first segment %s; a discard was interrupted: discard it again to finish, or put what is in %s back",
			ErrNoManifest, dir, block.SegmentName(c.IDs[0]), filepath.Join(dir, layout.DiscardingName))
	}
	return fmt.Errorf("%w: %s, first segment %s; put %s back, or get out what is intact with \"badgerspill salvage\"",
		ErrNoManifest, dir, block.SegmentName(c.IDs[0]), filepath.Join(dir, layout.ManifestName))
}

// List returns what the directory holds by the names of its files. Manifest and Newest are nil.
func (d *Directory) List() (*Contents, error) {
	c := new(Contents)
	entries, err := d.FS.ReadDir(d.Options.Dir)
	if err != nil && !(d.Options.ReadOnly && errors.Is(err, fs.ErrNotExist)) {
		return nil, fmt.Errorf("spill %s: %w", d.Options.Dir, err)
	}
	for _, e := range entries {
		if e.IsDir() && (e.Name() == layout.RebuildingName || e.Name() == layout.RebuiltName) {
			c.Salvages = append(c.Salvages, e.Name())
		}
		if id, ok := block.ParseSegmentName(e.Name()); ok {
			c.IDs = append(c.IDs, id)
		}
		if id, ok := index.ParseName(e.Name()); ok {
			c.Indexes = append(c.Indexes, id)
		}
		if stem, ok := strings.CutSuffix(e.Name(), index.TempSuffix); ok {
			_, ok = block.ParseSegmentName(stem + block.SegmentSuffix)
			if ok {
				c.Temp = append(c.Temp, e.Name())
			}
		}
		if e.Name() == layout.ManifestTemp || e.Name() == layout.PlaceTemp {
			c.Temp = append(c.Temp, e.Name())
		}
	}
	slices.Sort(c.IDs)
	slices.Sort(c.Indexes)
	return c, nil
}
