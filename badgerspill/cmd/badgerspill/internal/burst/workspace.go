package burst

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// workspace is where the databases live: a directory that the user named and keeps, or a temporary one.
type workspace struct {
	dir     string
	remove  bool // the directory goes at the end
	created bool // this run made the directory
}

// openWorkspace makes the directory, which must be empty or absent if the user named it, and checks that its disk has room.
func openWorkspace(cfg Config) (*workspace, error) {
	w := &workspace{dir: cfg.Dir}
	if cfg.Dir == "" {
		dir, err := os.MkdirTemp("", "badgerspill-burst-")
		if err != nil {
			return nil, fmt.Errorf("make a temporary directory: %w", err)
		}
		w.dir, w.remove, w.created = dir, !cfg.Keep, true
	} else {
		dir, err := filepath.Abs(cfg.Dir)
		if err != nil {
			return nil, fmt.Errorf("--dir %s: %w", cfg.Dir, err)
		}
		w.dir = dir
		entries, err := os.ReadDir(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			if err := os.MkdirAll(dir, 0o700); err != nil {
				return nil, fmt.Errorf("--dir: %w", err)
			}
			w.created = true
		case err != nil:
			return nil, fmt.Errorf("--dir: %w", err)
		case len(entries) > 0:
			return nil, &FlagError{"--dir", cfg.Dir,
				fmt.Sprintf("must be empty or absent, and holds %q", entries[0].Name())}
		}
	}
	if v, ok := volumeOf(w.dir); ok {
		if err := checkSpace(w.dir, w.need(cfg)+v.reserve(), v.free); err != nil {
			if w.created {
				_ = os.Remove(w.dir)
			}
			return nil, err
		}
	}
	return w, nil
}

// need estimates how many bytes of disk a run takes at its peak.
func (w *workspace) need(cfg Config) int64 {
	data := cfg.keysAndValues()
	// The tables, and beside them either what compaction is rewriting or the spill that is being replayed, each at most
	// as large as the data; and Badger's logs.
	const logs = 512 << 20
	need := 2*data + logs
	if !w.remove && len(cfg.engines()) > 1 {
		need += data + logs // the first database is still there
	}
	return need
}

// volume is the file system below a directory; sizes in bytes.
type volume struct{ size, free int64 }

// reserve is what badgerspill leaves free by default (Options.MinFreeSpace): below it commits fail.
func (v volume) reserve() int64 { return min(1<<30, v.size/100) }

func checkSpace(dir string, need, free int64) error {
	if free >= need {
		return nil
	}
	return fmt.Errorf("not enough disk space in %s: about %s needed, %s free; "+
		"lower --burst-rate, --burst or --value-size, or name another --dir", dir, bytesText(need), bytesText(free))
}

// engineDir makes the directory of one engine's database.
func (w *workspace) engineDir(engine string) (string, error) {
	dir := filepath.Join(w.dir, engine)
	return dir, os.Mkdir(dir, 0o700)
}

// engineDone removes the database of a run that needs no second look, so that two never need room at once.
func (w *workspace) engineDone(engine string) error {
	if !w.remove {
		return nil
	}
	return os.RemoveAll(filepath.Join(w.dir, engine))
}

// close removes the directory unless it is to be kept.
func (w *workspace) close() error {
	if !w.remove {
		return nil
	}
	return os.RemoveAll(w.dir)
}
