package marker

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// LockName is Badger's file in Dir that holds the process id of who has it open. Everybody who
// opens the database writes it anew, and a clean close removes it. So a note that is in it was made
// by the last who opened the database.
const LockName = "LOCK"

// Note is a line in LOCK. Each is true of the memtable that is active when it is made.
type Note string

// The notes.
const (
	Opened  Note = "badgerspill: memtables from %d"     // were made by this process
	Dropped Note = "badgerspill: no memtable before %d" // is of use any more
)

// WriteNote adds a note of a memtable's number. It fails if there is no LOCK. It must not be called
// where LOCK is what is locked: Windows would refuse it, and on AIX it would end the lock.
func WriteNote(dir string, note Note, number int) error {
	f, err := os.OpenFile(filepath.Join(dir, LockName), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "\n"+string(note)+"\n", number)
	return errors.Join(err, f.Sync(), f.Close())
}

// ReadNotes returns the numbers of the latest notes of each kind, -1 for none.
func ReadNotes(text []byte) (opened, dropped int) {
	opened, dropped = -1, -1
	lines := bytes.Split(text, []byte("\n"))
	for _, line := range lines[:len(lines)-1] { // what follows the last line feed is not whole
		var n int
		if _, err := fmt.Sscanf(string(line), string(Opened), &n); err == nil {
			opened = n
		}
		if _, err := fmt.Sscanf(string(line), string(Dropped), &n); err == nil {
			dropped = n
		}
	}
	return opened, dropped
}
