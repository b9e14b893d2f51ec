package place

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/spf13/cobra"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/spillfile/check"
	"github.com/badgerspill/badgerspill/spillfile/vfs"
)

// Names of files in Dir; see docs/design.md, What lies beside.
const (
	interlockName = "UNREPLAYED-SPILL--open-with-badgerspill.mem"
	identityName  = "BADGERSPILL"
	dropName      = "BADGERSPILL-DROP"
	spillName     = "spill"
	lockName      = "LOCK"
)

// Flags are those that every command about a database has.
type Flags struct {
	ValueDir, SpillDir, KeyFile string
}

// Register gives cmd the flags, and makes its argument and theirs complete to directories.
func (f *Flags) Register(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.SpillDir, "spill-dir", "", "`directory` of the spill, if it is not the folder spill in DIR")
	fs.StringVar(&f.ValueDir, "vlog-dir", "", "`directory` of Badger's value log, if it is not DIR")
	fs.StringVar(&f.KeyFile, "encryption-key-file", "",
		"`file` with the encryption key, as Badger's own command takes it: 16, 24 or 32 bytes and nothing else")
	_ = cmd.MarkFlagDirname("spill-dir")
	_ = cmd.MarkFlagDirname("vlog-dir")
	_ = cmd.MarkFlagFilename("encryption-key-file")
	cmd.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return nil, cobra.ShellCompDirectiveFilterDirs
	}
}

// Database is a database that was found. Paths are as given, cleaned.
type Database struct {
	Dir, ValueDir, SpillDir string
	Key                     []byte // nil: none was given

	Interlock string // the directory that the interlock names, "" if there is no interlock
	Locked    bool   // there is an interlock
	Drop      bool   // a DropAll or DropPrefix was interrupted
	Identity  [16]byte
	Known     bool  // Identity was read
	BadID     error // why it could not be
}

// Find looks for the database in dir and reads the key. It writes nothing and opens no database.
// Each error names the path and says what to do.
func (f *Flags) Find(dir string) (*Database, error) {
	d := &Database{Dir: filepath.Clean(dir), ValueDir: f.ValueDir, SpillDir: f.SpillDir}
	if d.ValueDir == "" {
		d.ValueDir = d.Dir
	}
	if d.SpillDir == "" {
		d.SpillDir = filepath.Join(d.Dir, spillName)
	}
	for _, p := range []struct{ flag, dir string }{{"", dir}, {"--vlog-dir ", f.ValueDir}, {"--spill-dir ", f.SpillDir}} {
		if p.dir == "" && p.flag != "" {
			continue
		}
		if err := isDirectory(p.flag, p.dir); err != nil {
			return nil, err
		}
	}
	if err := isDatabase(d.Dir); err != nil {
		return nil, err
	}
	var err error
	if d.Key, err = readKey(f.KeyFile); err != nil {
		return nil, err
	}
	if err := d.readInterlock(); err != nil {
		return nil, err
	}
	d.readIdentity()
	if _, err := os.Lstat(filepath.Join(d.Dir, dropName)); err == nil {
		d.Drop = true
	}
	return d, nil
}

func isDirectory(flag, dir string) error {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s%s: there is no such directory; name the one that the program gives to Open", flag, dir)
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s%s: this is not a directory; name the one that the program gives to Open", flag, dir)
	}
	return nil
}

// isDatabase tells Badger's directory from that of a spill, and from any other.
func isDatabase(dir string) error {
	head, err := readHead(filepath.Join(dir, badger.ManifestFilename), 8)
	if err == nil && bytes.HasPrefix(head, []byte("Bdgr")) {
		return nil
	}
	if segments, _ := filepath.Glob(filepath.Join(dir, "[0-9]*.seg")); len(segments) > 0 || bytes.HasPrefix(head, []byte("bspilman")) {
		return fmt.Errorf("%s: this is the directory of a spill; name that of its database, which is %s unless SpillDir was set", dir, filepath.Dir(dir))
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: this is not a Badger database, it has no file MANIFEST; name the directory that the program gives to Open", dir)
	case err != nil:
		return err
	}
	return fmt.Errorf("%s: this is not a Badger database, its MANIFEST is not one of Badger's; restore the file from a copy, or name another directory", dir)
}

func readHead(path string, n int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, n))
}

func readKey(path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	const most = 4 << 10
	key, err := readHead(path, most)
	if err != nil {
		return nil, fmt.Errorf("--encryption-key-file: %w", err)
	}
	switch len(key) {
	case 16, 24, 32:
		return key, nil
	case 17, 25, 33:
		if key[len(key)-1] == '\n' {
			return nil, fmt.Errorf("--encryption-key-file %s: %d bytes, of which the last is a line feed; remove that, the key is every byte of the file", path, len(key))
		}
	}
	return nil, fmt.Errorf("--encryption-key-file %s: %d bytes, want 16, 24 or 32: the key itself, not in hexadecimal or base64", path, len(key))
}

// InterlockPath is the file that keeps plain Badger out.
func (d *Database) InterlockPath() string { return filepath.Join(d.Dir, interlockName) }

func (d *Database) readInterlock() error {
	head, err := readHead(d.InterlockPath(), 8<<10)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	d.Locked = true
	d.Interlock, _, _ = strings.Cut(string(head), "\n")
	return nil
}

// SetInterlock makes the interlock, durably, where it is missing: commits are in the spill, and
// plain Badger must not open the directory. It says, as an Open that finds none does, that Badger
// is not compared with the spill yet.
func (d *Database) SetInterlock() error {
	spill, err := filepath.Abs(d.SpillDir)
	if err == nil {
		err = vfs.WriteFile(spillfile.OS, d.InterlockPath(), []byte(spill+"\nwas missing, and Badger is not compared with the spill yet\n"))
	}
	if err != nil {
		return fmt.Errorf("interlock %s: %w", d.InterlockPath(), err)
	}
	d.Locked, d.Interlock = true, spill
	return nil
}

// IdentityPath is the file with the identity of the database.
func (d *Database) IdentityPath() string { return filepath.Join(d.Dir, identityName) }

func (d *Database) readIdentity() {
	head, err := readHead(d.IdentityPath(), 34)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil && (len(head) != 33 || head[32] != '\n') {
		err = errors.New("not 32 hexadecimal digits and a line feed")
	}
	if err == nil {
		_, err = hex.Decode(d.Identity[:], head[:32])
	}
	if err != nil {
		d.BadID = err
		return
	}
	d.Known = true
}

// Source is the spill, to be looked at.
func (d *Database) Source() check.Source {
	return check.Source{Dir: d.SpillDir, EncryptionKey: d.Key}
}

// Judge says whether Open would take the spill that in has found, nil, or why not.
func (d *Database) Judge(in *check.Inspection) error {
	return check.Judge(in, d.claims())
}

func (d *Database) claims() check.Claims {
	c := check.Claims{ID: d.Identity, IDFile: d.IdentityPath(), IDErr: d.BadID, Names: d.Interlock}
	if d.BadID == nil && !d.Known {
		c.IDErr = fs.ErrNotExist
	}
	if d.Locked {
		c.Interlock = d.InterlockPath()
	}
	return c
}

// Explain adds to an error of package badgerspill or spillfile what to do about it on a command
// line. It names the database.
func (d *Database) Explain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, badgerspill.ErrLocked):
		who := ""
		if pids := d.Holders().PIDs; len(pids) > 0 {
			who = fmt.Sprintf(" (%s)", processes(pids))
		}
		return fmt.Errorf("%s: another process has it open%s; stop that, and try again: %w", d.Dir, who, err)
	case errors.Is(err, spillfile.ErrKeyMissing):
		return fmt.Errorf("%s: it is encrypted; give its key with --encryption-key-file: %w", d.Dir, err)
	case errors.Is(err, spillfile.ErrWrongKey), errors.Is(err, badgerspill.ErrEncryptionKeyMismatch):
		return fmt.Errorf("%s: the key does not open it; give the one of this database with --encryption-key-file: %w", d.Dir, err)
	case errors.Is(err, spillfile.ErrCorrupt), errors.Is(err, spillfile.ErrNoManifest):
		return fmt.Errorf("%s: \"badgerspill verify\" names all of the damage: %w", d.Dir, err)
	case errors.Is(err, badgerspill.ErrMissingSpill), errors.Is(err, badgerspill.ErrForeignSpill):
		return fmt.Errorf("%s: the directory of a spill is given with --spill-dir: %w", d.Dir, err)
	}
	return fmt.Errorf("%s: %w", d.Dir, err)
}

func processes(pids []int) string {
	var b strings.Builder
	for i, pid := range pids {
		switch {
		case i == 0:
			b.WriteString("process ")
		default:
			b.WriteString(", ")
		}
		fmt.Fprint(&b, pid)
	}
	return b.String()
}
