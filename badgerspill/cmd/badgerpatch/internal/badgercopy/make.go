package badgercopy

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/badgerpatch/internal/mend"
)

// noteName is the file in a copy that says what it is.
const noteName = "BADGERPATCH.json"

// note is how a copy is known again.
type note struct {
	Version string   `json:"version"`
	Mends   []string `json:"mends"`
	Tree    string   `json:"tree"` // SHA-256 of all other files
}

// Make makes a copy of the release with the mends in dir, which must be absent, empty, or such a
// copy that nobody has changed. If it fails dir is as it was. The same mends make the same bytes.
func Make(release Release, mends []mend.Mend, dir string) error {
	changed, err := mend.Apply(mends, release.Read)
	if err != nil {
		return err
	}
	replaced, err := replaceable(dir)
	if err != nil {
		return err
	}
	work := dir + ".badgerpatch"
	if err := os.Mkdir(work, 0o755); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there: another badgerpatch is at work, or was killed and has left that behind", work)
	} else if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	fresh := filepath.Join(work, "new")
	if err := copyTree(release.dir, fresh, changed); err != nil {
		return err
	}
	if err := writeNote(fresh, mends); err != nil {
		return err
	}
	if !replaced {
		return os.Rename(fresh, dir)
	}
	old := filepath.Join(work, "old")
	if err := os.Rename(dir, old); err != nil {
		return err
	}
	if err := os.Rename(fresh, dir); err != nil {
		return errors.Join(err, os.Rename(old, dir))
	}
	return nil
}

// IsCopy reports whether dir is a copy that Make has made.
func IsCopy(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, noteName))
	return err == nil
}

// replaceable reports whether there is something at dir, and returns an error if it must stay.
func replaceable(dir string) (there bool, err error) {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return true, err
	case len(entries) == 0:
		return true, nil
	}
	text, err := os.ReadFile(filepath.Join(dir, noteName))
	if errors.Is(err, fs.ErrNotExist) {
		return true, fmt.Errorf("%s is not empty, and not made by badgerpatch: name another directory", dir)
	}
	var was note
	if err == nil {
		err = json.Unmarshal(text, &was)
	}
	if err != nil {
		return true, fmt.Errorf("%s: %w", filepath.Join(dir, noteName), err)
	}
	tree, err := treeHash(dir)
	if err == nil && tree != was.Tree {
		err = fmt.Errorf("%s was changed since badgerpatch made it: name another directory", dir)
	}
	return true, err
}

func writeNote(dir string, mends []mend.Mend) error {
	tree, err := treeHash(dir)
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(note{Version, mend.Names(mends), tree}, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, noteName), append(text, '\n'), 0o644)
}

// copyTree copies the files of from to to, with those of changed in their places.
func copyTree(from, to string, changed map[string][]byte) error {
	for path, text := range changed {
		if err := writeFile(filepath.Join(to, filepath.FromSlash(path)), text); err != nil {
			return err
		}
	}
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if _, ok := changed[filepath.ToSlash(rel)]; ok {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return writeFile(filepath.Join(to, rel), text)
	})
}

func writeFile(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}

// treeHash is a hash of all files in dir and of their names, but of the note.
func treeHash(dir string) (string, error) {
	var lines []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil || rel == noteName {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		lines = append(lines, fmt.Sprintf("%x %s\n", sha256.Sum256(text), filepath.ToSlash(rel)))
		return nil
	})
	slices.Sort(lines)
	hash := sha256.Sum256([]byte(strings.Join(lines, "")))
	return hex.EncodeToString(hash[:]), err
}
