package marker

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/badgerspill/badgerspill/spillfile"
)

// Exists tells a file that is not there from one of which that is not known.
func Exists(fsys spillfile.FS, path string) (bool, error) {
	_, err := fsys.Stat(path)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	}
	return false, fmt.Errorf("badgerspill: %w", err)
}

// ReadFile returns what a file has, up to limit bytes of it; ok is false if there is no such file.
func ReadFile(fsys spillfile.FS, path string, limit int64) (text []byte, ok bool, err error) {
	f, err := fsys.OpenFile(path, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("badgerspill: %w", err)
	}
	defer f.Close()
	if text, err = io.ReadAll(io.NewSectionReader(f, 0, limit)); err != nil {
		return nil, false, fmt.Errorf("badgerspill: %s: %w", path, err)
	}
	return text, true, nil
}

// WriteFile makes a file durably, whole or not at all: written beside, synced, renamed, the
// directory synced.
func WriteFile(fsys spillfile.FS, path string, text []byte) error {
	// What a crash has left is in the way of O_EXCL; so is anything that somebody else has put
	// there.
	err := fsys.Remove(path + ".tmp")
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	var f spillfile.File
	if err == nil {
		f, err = fsys.OpenFile(path+".tmp", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	}
	if err == nil {
		_, werr := f.WriteAt(text, 0)
		err = errors.Join(f.Chmod(0o600), werr, f.Sync(), f.Close()) // whatever the umask
	}
	if err == nil {
		err = fsys.Rename(path+".tmp", path)
	}
	if err == nil {
		err = fsys.SyncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("write of %s: %w", path, err)
	}
	return nil
}
