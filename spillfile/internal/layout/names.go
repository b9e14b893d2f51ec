package layout

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/index"
	"github.com/badgerspill/badgerspill/spillfile/vfs"
)

// Files in the directory of a spill, beside those of segments and of indexes.
const (
	LockName     = "LOCK"
	ManifestName = "MANIFEST"
	ManifestTemp = ManifestName + vfs.TempSuffix
	NewestName   = "NEWEST" // of the number of the newest segment
	PlaceName    = "REPLAY" // of the place that a merge has come to
	PlaceTemp    = PlaceName + vfs.TempSuffix
)

// Directories in it. Open looks at none of them, and removes the first two once it has found a
// spill that it takes.
const (
	RebuildingName  = "salvage.tmp" // in which Salvage makes the new spill
	RebuiltName     = "salvage.new" // the same, complete and durable
	AsidePrefix     = "corrupt-"    // with a number: to which Salvage moves the old files
	DiscardingName  = "discard.tmp" // to which Discard moves the files
	DiscardedPrefix = "discarded-"  // with a date: the same, complete
)

// IsSpillFile says whether a spill gives that name to a file; LOCK is left out.
func IsSpillFile(name string) bool {
	_, isSegment := block.ParseSegmentName(name)
	_, isIndex := index.ParseName(strings.TrimSuffix(name, vfs.TempSuffix))
	return isSegment || isIndex || name == NewestName || name == PlaceName || name == PlaceTemp || name == ManifestName || name == ManifestTemp
}

// DiscardInterrupted says whether a Discard of the spill in dir was interrupted while it moved
// files.
func DiscardInterrupted(fsys vfs.FS, dir string) bool {
	entries, err := fsys.ReadDir(filepath.Join(dir, DiscardingName))
	return err == nil && slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == ManifestName })
}

// ClearDir removes a directory of files, in falling order: the manifest before the segments, so
// that what a kill leaves is not taken for complete.
func ClearDir(fsys vfs.FS, dir string) error {
	entries, err := fsys.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range slices.Backward(entries) {
		err = errors.Join(err, fsys.Remove(filepath.Join(dir, e.Name())))
	}
	if err == nil {
		err = fsys.Remove(dir)
	}
	if err != nil {
		return fmt.Errorf("%w; remove %s", err, dir)
	}
	return nil
}
