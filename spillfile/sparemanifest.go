package spillfile

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/badgerspill/badgerspill/spillfile/internal/layout"
	"github.com/badgerspill/badgerspill/spillfile/vfs"
)

// spareManifest is the file that the next manifest will be written to. It is made beforehand: where
// a volume has no room for another file, the spill can still say that something is replayed, and so
// make room. It stays open, since a file of that name which this process has not made may be
// anything.
type spareManifest struct {
	mu   sync.Mutex // serializes changes of the manifest, and of Log.replayed
	file File       // nil: there is none
}

// writeManifest replaces the manifest, and makes the file of the one after that. manifest.mu must
// be held.
func (l *Log) writeManifest(m *layout.Manifest) error {
	spare := l.manifest.file
	l.manifest.file = nil
	err := m.WriteOver(l.fs, l.o.Dir, spare)
	if !l.files.Closed() {
		l.makeSpare()
	}
	return err
}

// makeSpare makes the file of the next manifest, if there is room, unless it is there. It has its
// size, so that it has its block. manifest.mu must be held, or nobody else know l.
func (l *Log) makeSpare() {
	if l.manifest.file != nil {
		return
	}
	temp := filepath.Join(l.o.Dir, layout.ManifestTemp)
	f, err := vfs.CreateTemp(l.fs, filepath.Join(l.o.Dir, layout.ManifestName))
	if err == nil {
		if err = vfs.WriteAll(f, make([]byte, layout.ManifestSize)); err != nil {
			err = errors.Join(err, f.Close(), l.fs.Remove(temp))
		}
	}
	if err != nil { // the next manifest needs room for it
		l.note(Event{Kind: BackgroundError, Err: fmt.Errorf("spill manifest %s: the file of the next one cannot be made beforehand: %w", temp, err)})
		l.wakeBackground() // to send it
		return
	}
	l.manifest.file = f
}

// closeSpare closes the file, and removes it unless the spill holds something: then the next Open
// may find no room for another. manifest.mu must be held.
func (l *Log) closeSpare(holds bool) {
	if holds {
		l.makeSpare()
	}
	if l.manifest.file == nil {
		return
	}
	err := l.manifest.file.Close()
	l.manifest.file = nil
	if !holds {
		err = errors.Join(err, l.fs.Remove(filepath.Join(l.o.Dir, layout.ManifestTemp)))
	}
	if err != nil { // there is nothing in it, and the next Open removes it
		l.note(Event{Kind: BackgroundError, Err: err})
	}
}
