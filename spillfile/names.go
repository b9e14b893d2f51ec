package spillfile

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
	lockName     = "LOCK"
	manifestName = "MANIFEST"
	manifestTemp = manifestName + vfs.TempSuffix
	newestName   = "NEWEST" // of the number of the newest segment
	placeName    = "REPLAY" // of the place that a merge has come to
	placeTemp    = placeName + vfs.TempSuffix
)

// Directories in it. Open looks at none of them, and removes the first two once it has found a
// spill that it takes.
const (
	rebuildingName  = "salvage.tmp" // in which Salvage makes the new spill
	rebuiltName     = "salvage.new" // the same, complete and durable
	asidePrefix     = "corrupt-"    // with a number: to which Salvage moves the old files
	discardingName  = "discard.tmp" // to which Discard moves the files
	discardedPrefix = "discarded-"  // with a date: the same, complete
)

// isSpillFile knows the names that this package gives to files, but for LOCK.
func isSpillFile(name string) bool {
	_, isSegment := block.ParseSegmentName(name)
	_, isIndex := index.ParseName(strings.TrimSuffix(name, vfs.TempSuffix))
	return isSegment || isIndex || name == newestName || name == placeName || name == placeTemp || name == manifestName || name == manifestTemp
}

// discardInterrupted says whether a Discard was interrupted while it moved files.
func discardInterrupted(fsys FS, dir string) bool {
	entries, err := fsys.ReadDir(filepath.Join(dir, discardingName))
	return err == nil && slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == manifestName })
}

// clearDir removes a directory of files, in falling order: the manifest before the segments, so
// that what a kill leaves is not taken for complete.
func clearDir(fsys FS, dir string) error {
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
