package repair

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/badgerspill/badgerspill/spillfile/check"
	"github.com/badgerspill/badgerspill/spillfile/internal/layout"
	"github.com/badgerspill/badgerspill/spillfile/internal/recovery"
	"github.com/badgerspill/badgerspill/spillfile/vfs"
)

// ErrNothingToDiscard means that Discard found neither files of a spill nor an interlock.
var ErrNothingToDiscard = errors.New("there is no spill to discard")

// Discard sets a spill aside for who gives its commits up: all its files, and the interlock of its
// database (the path of a file; "" is none), go together to a folder in Dir that is named for now.
// It removes nothing: moving the interlock back first, then the other files, the MANIFEST last,
// undoes it, as long as nothing was written since. It returns the path of the folder.
//
// It keeps others away (spillfile.ErrLocked), and blocks for the disk. Interrupted before the
// interlock is gone from its place, Open and plain Badger refuse the database, and another Discard
// finishes it; later, it is done.
func Discard(src check.Source, interlock string, now time.Time) (folder string, err error) {
	if src.FS == nil {
		src.FS = vfs.OS
	}
	fsys := src.FS
	if err := fsys.MkdirAll(src.Dir, 0o700); err != nil {
		return "", fmt.Errorf("spill %s: %w", src.Dir, err)
	}
	lock, err := fsys.Lock(filepath.Join(src.Dir, layout.LockName), false)
	if err != nil {
		return "", recovery.LockError(src.Dir, err)
	}
	defer lock.Close()
	folder, err = discard(src, interlock, now)
	if err != nil && !errors.Is(err, ErrNothingToDiscard) {
		err = fmt.Errorf("spill %s: setting it aside: %w; discard it again to finish", src.Dir, err)
	}
	return folder, err
}

// discard does it in this order, and each step may find itself done already:
//
//  1. A copy of the interlock, durable, in the folder: the spill may be on another volume, so it
//     cannot be moved there.
//  2. The files, the manifest first: from here on Open refuses, since there are segments without a
//     manifest, or since the interlock says that there is a spill. Plain Badger is kept out by the
//     interlock.
//  3. The folder gets its name.
//  4. The interlock goes.
func discard(src check.Source, interlock string, now time.Time) (string, error) {
	s := salvage{src: src, fs: src.FS}
	temp := filepath.Join(src.Dir, layout.DiscardingName)
	entries, err := src.FS.ReadDir(src.Dir)
	if err != nil {
		return "", err
	}
	var text []byte
	if interlock != "" {
		if text, err = readSmall(src.FS, interlock); err != nil {
			return "", err
		}
	}
	begun := slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == layout.DiscardingName })
	files := slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return !e.IsDir() && layout.IsSpillFile(e.Name()) })
	if !begun && !files {
		if interlock == "" {
			return "", ErrNothingToDiscard
		}
		// One that was interrupted between the last two steps has this interlock already.
		for _, e := range slices.Backward(entries) {
			if !strings.HasPrefix(e.Name(), layout.DiscardedPrefix) {
				continue
			}
			folder := filepath.Join(src.Dir, e.Name())
			if there, err := readSmall(src.FS, filepath.Join(folder, filepath.Base(interlock))); err == nil && bytes.Equal(there, text) {
				return folder, removeDurably(src.FS, interlock)
			}
		}
	}
	if err := src.FS.MkdirAll(temp, 0o700); err != nil {
		return "", err
	}
	if interlock != "" {
		if err := vfs.WriteFile(src.FS, filepath.Join(temp, filepath.Base(interlock)), text); err != nil {
			return "", err
		}
	}
	for _, which := range []func(name string) bool{func(name string) bool { return name == layout.ManifestName }, layout.IsSpillFile} {
		if err := s.move(src.Dir, temp, which); err != nil {
			return "", err
		}
	}
	folder := filepath.Join(src.Dir, layout.DiscardedPrefix+now.UTC().Format("2006-01-02T150405Z"))
	for n := 2; ; n++ { // a second one within a second
		if _, err := src.FS.Stat(folder); errors.Is(err, fs.ErrNotExist) {
			break
		} else if err != nil {
			return "", err
		}
		folder = filepath.Join(src.Dir, fmt.Sprintf("%s%s-%d", layout.DiscardedPrefix, now.UTC().Format("2006-01-02T150405Z"), n))
	}
	if err := src.FS.Rename(temp, folder); err != nil {
		return "", err
	}
	if err := src.FS.SyncDir(src.Dir); err != nil {
		return "", err
	}
	if interlock == "" {
		return folder, nil
	}
	return folder, removeDurably(src.FS, interlock)
}

// readSmall reads a file of a few lines.
func readSmall(fsys vfs.FS, path string) ([]byte, error) {
	f, err := fsys.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.NewSectionReader(f, 0, 64<<10))
}

func removeDurably(fsys vfs.FS, path string) error {
	return errors.Join(fsys.Remove(path), fsys.SyncDir(filepath.Dir(path)))
}
