package workspace

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/flagcheck"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/text"
	"github.com/badgerspill/badgerspill/badgerspill/internal/scratch"
)

// Options say where the workspace is and what it must have room for.
type Options struct {
	Dir    string // empty or absent, and kept; "" = a temporary one
	Keep   bool   // keep the temporary one
	Prefix string // of the temporary one's name
	Need   int64  // bytes of disk that the command takes at its peak
	Advice string // what to do when there is less, as part of a sentence
}

// Workspace is a directory that the user named and keeps, or a temporary one.
type Workspace struct {
	dir     string
	remove  bool // the directory goes at the end
	created bool // Open made the directory
	// the same, if it is temporary: one that a killed run leaves goes with the next
	temp *scratch.Dir
}

// Open makes the directory and checks that its disk has room. A named directory with something in
// it is a *flagcheck.Error.
func Open(o Options) (*Workspace, error) {
	w := &Workspace{remove: o.Dir == "" && !o.Keep}
	if err := w.make(o); err != nil {
		return nil, err
	}
	if v, ok := volumeOf(w.dir); ok {
		if err := checkSpace(w.dir, o.Need+v.reserve(), v.free, o.Advice); err != nil {
			switch {
			case w.temp != nil:
				_ = w.temp.Remove()
			case w.created:
				_ = os.Remove(w.dir)
			}
			return nil, err
		}
	}
	return w, nil
}

func (w *Workspace) make(o Options) (err error) {
	if o.Dir == "" {
		w.created = true
		if w.temp, err = scratch.Make(o.Prefix); err != nil {
			return fmt.Errorf("make a temporary directory: %w", err)
		}
		w.dir = w.temp.Path()
		if o.Keep {
			return w.temp.Keep()
		}
		return nil
	}
	if w.dir, err = filepath.Abs(o.Dir); err != nil {
		return fmt.Errorf("--dir %s: %w", o.Dir, err)
	}
	entries, err := os.ReadDir(w.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		w.created = true
		err = os.MkdirAll(w.dir, 0o700)
	case len(entries) > 0:
		return flagcheck.New("--dir", o.Dir, "must be empty or absent, and holds %q", entries[0].Name())
	}
	if err != nil {
		return fmt.Errorf("--dir: %w", err)
	}
	return nil
}

// Dir returns the absolute path.
func (w *Workspace) Dir() string { return w.dir }

// Make makes a directory in the workspace, which must not be there yet, and returns its path.
func (w *Workspace) Make(name string) (string, error) {
	dir := filepath.Join(w.dir, name)
	return dir, os.Mkdir(dir, 0o700)
}

// Keep makes the workspace stay: what is in it is evidence.
func (w *Workspace) Keep() {
	if w.remove && w.temp != nil {
		_ = w.temp.Keep() // without it the next run would take it away
	}
	w.remove = false
}

// Done removes a directory that needs no second look, so that two never need room at once, unless
// the workspace is kept.
func (w *Workspace) Done(name string) error {
	if !w.remove {
		return nil
	}
	return w.Remove(name)
}

// Remove removes a directory, in a workspace that is kept, too.
func (w *Workspace) Remove(name string) error { return os.RemoveAll(filepath.Join(w.dir, name)) }

// Close removes the workspace unless it is to be kept.
func (w *Workspace) Close() error {
	switch {
	case !w.remove:
		return nil
	case w.temp != nil:
		return w.temp.Remove()
	}
	return os.RemoveAll(w.dir)
}

// volume is the file system below a directory; sizes in bytes.
type volume struct{ size, free int64 }

// reserve is what badgerspill leaves free by default (Options.MinFreeSpace): below it commits fail.
func (v volume) reserve() int64 { return min(1<<30, v.size/100) }

func checkSpace(dir string, need, free int64, advice string) error {
	if free >= need {
		return nil
	}
	return fmt.Errorf("not enough disk space in %s: about %s needed, %s free; %s, or name another --dir",
		dir, text.Bytes(need), text.Bytes(free), advice)
}
