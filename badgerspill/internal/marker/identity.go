package marker

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"path/filepath"

	"github.com/badgerspill/badgerspill/spillfile"
)

// IdentityName is a file in Dir with the random identity of the database in hexadecimal. The spill
// carries the same, so that a spill directory of another database is not replayed into this one.
const IdentityName = "BADGERSPILL"

// ReadIdentity returns the identity of the database in dir, and whether it has one.
func ReadIdentity(fsys spillfile.FS, dir string) (id [16]byte, ok bool, err error) {
	path := filepath.Join(dir, IdentityName)
	text, ok, err := ReadFile(fsys, path, 33)
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

// WriteIdentity gives the database in dir a new identity, durably.
func WriteIdentity(fsys spillfile.FS, dir string) (id [16]byte, err error) {
	if _, err := rand.Read(id[:]); err != nil {
		return id, err
	}
	path := filepath.Join(dir, IdentityName)
	if err := WriteFile(fsys, path, []byte(hex.EncodeToString(id[:])+"\n")); err != nil {
		return id, fmt.Errorf("badgerspill: identity: %w", err)
	}
	return id, nil
}
