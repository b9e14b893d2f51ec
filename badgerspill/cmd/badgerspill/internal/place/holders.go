package place

import (
	"path/filepath"
	"strconv"
	"strings"
)

// Holders says who has a database open, found without taking a lock, which could make somebody's
// Open fail.
type Holders struct {
	Known bool  // the platform tells
	PIDs  []int // processes that hold a lock; 0 for one that is not seen from here
	// Hint is the process that Badger's own LOCK file names, 0 if there is no such file: Badger
	// removes it when it is closed, and leaves it when it is killed.
	Hint int
}

// Open says whether somebody is known to have it open.
func (h Holders) Open() bool { return len(h.PIDs) > 0 }

// String says it in words.
func (h Holders) String() string {
	switch {
	case h.Open():
		return "open in " + processes(h.PIDs)
	case !h.Known && h.Hint != 0:
		return "perhaps open in process " + strconv.Itoa(h.Hint) + ", which its LOCK file names"
	case !h.Known:
		return "whether another process has it open is not known on this system"
	}
	return "not open"
}

// Holders looks for processes that hold a lock of the database or of its spill. Badger locks the
// directory, the spill a file.
func (d *Database) Holders() Holders {
	h := Holders{}
	h.PIDs, h.Known = holders(d.Dir, d.ValueDir, filepath.Join(d.SpillDir, lockName))
	if head, err := readHead(filepath.Join(d.Dir, lockName), 32); err == nil {
		pid, _, _ := strings.Cut(string(head), "\n") // the layer adds a line of its own
		h.Hint, _ = strconv.Atoi(pid)
	}
	return h
}
