package marker

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/badgerspill/badgerspill/spillfile"
)

// DropName is a file in Dir that says what is being dropped. It is there from before anything is
// dropped until all of it is, so that Open can finish what a crash has interrupted: a half of it,
// the spill's or Badger's, would bring back the past.
const DropName = "BADGERSPILL-DROP"

// DropPath returns the path of that file.
func DropPath(dir string) string { return filepath.Join(dir, DropName) }

// AnnounceDrop makes the file, durably: a line for each prefix in hexadecimal, none for everything,
// and a line "end".
func AnnounceDrop(fsys spillfile.FS, dir string, prefixes [][]byte) error {
	var text bytes.Buffer
	for _, p := range prefixes {
		fmt.Fprintf(&text, "%x\n", p)
	}
	text.WriteString("end\n")
	return WriteFile(fsys, DropPath(dir), text.Bytes())
}

// WithdrawDrop removes the file, durably, if it is there.
func WithdrawDrop(fsys spillfile.FS, dir string) error {
	err := fsys.Remove(DropPath(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return fsys.SyncDir(dir)
}

// AnnouncedDrop returns what was being dropped when the database was used last. prefixes is empty
// for everything.
func AnnouncedDrop(fsys spillfile.FS, dir string) (prefixes [][]byte, found bool, err error) {
	path := DropPath(dir)
	text, found, err := ReadFile(fsys, path, 1<<30)
	if err != nil || !found {
		return nil, false, err
	}
	body, ok := strings.CutSuffix(string(text), "end\n")
	if !ok {
		return nil, false, &spillfile.CorruptError{File: path, Reason: "does not end with \"end\": a DropAll or DropPrefix was interrupted, " +
			"and what it was to drop is not known; remove the file to forget it"}
	}
	for line := range strings.Lines(body) {
		p, err := hex.DecodeString(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, false, &spillfile.CorruptError{File: path, Reason: fmt.Sprintf("%q is not a prefix in hexadecimal; "+
				"remove the file to forget the interrupted DropPrefix", line)}
		}
		prefixes = append(prefixes, p)
	}
	return prefixes, true, nil
}
