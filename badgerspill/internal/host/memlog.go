package host

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/dgraph-io/badger/v4"

	"github.com/badgerspill/badgerspill/badgerspill/internal/marker"
)

// MemSuffix ends the names of logs of memtables.
const MemSuffix = ".mem"

// MemLogHeader is what comes before the entries of a memtable's log: the id of the data key, and
// the base of the IVs.
const MemLogHeader = 20

// MemLogEntries returns how many bytes the entries take in a memtable's log, without those that
// fill it, whose key is fillerKey long (see FillerKey): all have the same key and make one entry of
// a table. The headers of entries are not encrypted. What cannot be understood ends the walk and
// counts as if all bytes to the end were entries.
func MemLogEntries(path string, size, fillerKey int64) int64 {
	f, err := os.Open(path)
	if err != nil {
		return size
	}
	defer f.Close()
	in := bufio.NewReaderSize(io.LimitReader(f, size), 1<<20)
	if _, err := in.Discard(MemLogHeader); err != nil {
		return size
	}
	var kept int64
	for at := int64(MemLogHeader); ; {
		header, err := in.Peek(2 + 3*binary.MaxVarintLen64)
		n := 2
		var fields [3]uint64 // length of the key, of the value, and when it expires
		for i := range fields {
			if n > len(header) {
				return kept + size - at
			}
			v, used := binary.Uvarint(header[n:])
			if used <= 0 {
				if err != nil { // the rest is too short for an entry
					return kept
				}
				return kept + size - at
			}
			fields[i] = v
			n += used
		}
		key, value := fields[0], fields[1]
		if key == 0 { // nothing was written from here on
			return kept
		}
		const checksum = 4
		if key > uint64(size) || value > uint64(size) {
			return kept + size - at
		}
		entry := int64(n) + int64(key) + int64(value) + checksum
		if entry > math.MaxInt32 { // none is as large
			return kept + size - at
		}
		if got, err := in.Discard(int(entry)); err != nil { // torn
			return kept + int64(got)
		}
		at += entry
		if key != uint64(fillerKey)+8 || value != 0 { // 8: the version
			kept += entry
		}
	}
}

// Logs that are not to be read again. An iterator holds the log of its memtable beyond the flush,
// and beyond a drop. After a kill Badger reads it again. What was dropped would be back. So would a
// key if a compaction has dropped its value with a tombstone that came in a later memtable, whose
// log is gone.
//
// Which are flushed is seen from the numbers, but not from any gap in them. An open Badger gives
// numbers one after the other, seals only memtables that hold something, and flushes them in order.
// Where one of its own is missing, all before are flushed, and in its manifest. A Badger that opens
// what a kill has left is another matter. It removes the log of a memtable in which nothing was
// written, and goes on with the next number before it has flushed what came before. Killed again it
// leaves a gap that proves nothing. So it has to be known with which number the last process began:
// package marker notes that in Badger's LOCK file, and drops too.

// RemoveDeadLogs removes logs of memtables that are flushed or dropped, as far as notes tell which
// are, and then the notes: Badger, which is opened next, changes what they speak of.
func RemoveDeadLogs(opt badger.Options) error {
	if opt.BypassLockGuard {
		return nil
	}
	lock := filepath.Join(opt.Dir, marker.LockName)
	text, err := os.ReadFile(lock)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("badgerspill: %w", err)
	}
	opened, dropped := marker.ReadNotes(text)
	if opened < 0 && dropped < 0 {
		return nil
	}
	numbers, err := MemNumbers(opt.Dir)
	if err != nil {
		return fmt.Errorf("badgerspill: %w", err)
	}
	first := len(numbers) - 1 // of those that follow one another without a gap to the last
	for first > 0 && numbers[first-1] == numbers[first]-1 {
		first--
	}
	dead := dropped // all before it are
	if first > 0 && opened >= 0 && numbers[first]-1 >= opened {
		dead = max(dead, numbers[first])
	}
	for _, n := range numbers {
		if n >= dead {
			break
		}
		if err := os.Remove(MemPath(opt.Dir, n)); err != nil {
			return fmt.Errorf("badgerspill: the log of a memtable that is flushed or dropped: %w", err)
		}
	}
	f, err := os.OpenFile(lock, os.O_WRONLY|os.O_TRUNC, 0)
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	}
	if err != nil {
		return fmt.Errorf("badgerspill: %w", err)
	}
	return nil
}

// NoteMemtable makes a note of the active memtable's number in LOCK, for RemoveDeadLogs; nobody may
// write to Badger meanwhile. If it fails no log is removed because of it, as without. Only where
// PIDFiles may it be called: Windows would refuse it, and on AIX it would end the lock.
func NoteMemtable(opt badger.Options, note marker.Note) {
	// the notes are another's; others may not write the file anew
	if opt.ReadOnly || opt.BypassLockGuard {
		return
	}
	numbers, err := MemNumbers(opt.Dir)
	if err != nil || len(numbers) == 0 {
		return
	}
	_ = marker.WriteNote(opt.Dir, note, numbers[len(numbers)-1])
}

// MemNumbers returns the numbers of the logs of Badger's live memtables in dir, oldest first.
func MemNumbers(dir string) ([]int, error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var numbers []int
	for _, f := range list {
		digits, ok := strings.CutSuffix(f.Name(), MemSuffix)
		if n, err := strconv.Atoi(digits); ok && err == nil && !f.IsDir() {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// MemPath returns the path of a memtable's log.
func MemPath(dir string, number int) string {
	return filepath.Join(dir, fmt.Sprintf("%05d%s", number, MemSuffix))
}

// ValuePath returns the path of a file of the value log.
func ValuePath(dir string, number uint32) string {
	return filepath.Join(dir, fmt.Sprintf("%06d.vlog", number))
}

// RemoveEmptyLogs removes logs of no length, which hold nothing. Badger creates a log before it
// gives it a size, and truncates one before it removes it; killed in between it refuses to open
// what it has left. It needs the locks of the directories.
func RemoveEmptyLogs(opt badger.Options) error {
	for _, in := range [][2]string{{opt.Dir, MemSuffix}, {opt.ValueDir, ".vlog"}} {
		files, err := os.ReadDir(in[0])
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("badgerspill: %w", err)
		}
		for _, f := range files {
			if ok, _ := filepath.Match("[0-9]*"+in[1], f.Name()); !ok {
				continue
			}
			path := filepath.Join(in[0], f.Name())
			if info, err := os.Stat(path); err == nil && info.Size() == 0 {
				if err := os.Remove(path); err != nil {
					return fmt.Errorf("badgerspill: an empty log that a killed process has left: %w", err)
				}
			}
		}
	}
	return nil
}

// WrittenMemTableSize returns the largest MemTableSize with which a memtable's log in dir was
// written, 0 if there is none.
func WrittenMemTableSize(dir string) (size int64, err error) {
	numbers, err := MemNumbers(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	for _, n := range numbers {
		info, err := os.Stat(MemPath(dir, n))
		if err != nil {
			return 0, err
		}
		size = max(size, info.Size()/2) // Badger makes the log twice as long as the memtable
	}
	return size, err
}

// FilesKeptOpen returns how many files Badger keeps open once it has opened the directories: all
// that have entries, and three of its own. What cannot be read is not counted; Badger tells of it.
func FilesKeptOpen(opt badger.Options) (n int) {
	dirs := []string{opt.Dir}
	if opt.ValueDir != opt.Dir {
		dirs = append(dirs, opt.ValueDir)
	}
	for _, dir := range dirs {
		files, _ := os.ReadDir(dir)
		for _, f := range files {
			switch filepath.Ext(f.Name()) {
			case MemSuffix, ".sst", ".vlog":
				n++
			}
		}
	}
	return n + 3 // MANIFEST, DISCARD and the next memtable's log
}
