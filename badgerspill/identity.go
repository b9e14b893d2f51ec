package badgerspill

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/spillfile/vfs"
)

// identityName is a file in Dir with the random identity of the database in hexadecimal. The spill
// carries the same, so that a spill directory of another database is not replayed into this one.
const identityName = "BADGERSPILL"

// readIdentity returns the identity of the database in dir, and whether it has one.
func readIdentity(fsys spillfile.FS, dir string) (id [16]byte, ok bool, err error) {
	path := filepath.Join(dir, identityName)
	text, ok, err := readFile(fsys, path, 33)
	if err != nil || !ok {
		return id, false, err
	}
	if len(text) != 33 || text[32] != '\n' {
		return id, false, badIdentity(path)
	}
	if _, err := hex.Decode(id[:], text[:32]); err != nil {
		return id, false, badIdentity(path)
	}
	return id, true, nil
}

func badIdentity(path string) error {
	return &spillfile.CorruptError{File: path, Reason: "not 32 hexadecimal digits and a line feed"}
}

// writeIdentity gives the database in dir a new identity, durably.
func writeIdentity(fsys spillfile.FS, dir string) (id [16]byte, err error) {
	if _, err := rand.Read(id[:]); err != nil {
		return id, err
	}
	path := filepath.Join(dir, identityName)
	if err := writeFile(fsys, path, []byte(hex.EncodeToString(id[:])+"\n")); err != nil {
		return id, fmt.Errorf("badgerspill: identity: %w", err)
	}
	return id, nil
}

// readFile returns what a file has, up to limit bytes of it; ok is false if there is no such file.
func readFile(fsys spillfile.FS, path string, limit int64) (text []byte, ok bool, err error) {
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

// writeFile is vfs.WriteFile, with the path in its error.
func writeFile(fsys spillfile.FS, path string, text []byte) error {
	if err := vfs.WriteFile(fsys, path, text); err != nil {
		return fmt.Errorf("write of %s: %w", path, err)
	}
	return nil
}
