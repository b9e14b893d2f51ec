package marker

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/spillfile/vfs"
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

// WriteFile is vfs.WriteFile, with the path in its error.
func WriteFile(fsys spillfile.FS, path string, text []byte) error {
	if err := vfs.WriteFile(fsys, path, text); err != nil {
		return fmt.Errorf("write of %s: %w", path, err)
	}
	return nil
}
