package badgerspill

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/dgraph-io/badger/v4"
)

// memLogHeader is what comes before the entries of a memtable's log: the id of the data key, and the base of the IVs.
const memLogHeader = 20

// memLogEntries returns how many bytes the entries take in a memtable's log, without those that fill it (badgerEngine.seal): all
// have the same key and make one entry of a table. The headers of entries are not encrypted. What cannot be understood ends the
// walk and counts as if all bytes to the end were entries.
func memLogEntries(path string, size, fillerKey int64) int64 {
	f, err := os.Open(path)
	if err != nil {
		return size
	}
	defer f.Close()
	in := bufio.NewReaderSize(io.LimitReader(f, size), 1<<20)
	if _, err := in.Discard(memLogHeader); err != nil {
		return size
	}
	var kept int64
	for at := int64(memLogHeader); ; {
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
		if got, err := in.Discard(int(entry)); err != nil { // torn
			return kept + int64(got)
		}
		at += entry
		if key != uint64(fillerKey)+8 || value != 0 { // 8: the version
			kept += entry
		}
	}
}

// Logs of memtables that are flushed must not be read again. An iterator holds the log of its memtable beyond the flush, and after a kill Badger reads it
// again: if a compaction has dropped a value in it with a tombstone that came in a later memtable, whose log is gone, the key would be back.
//
// Which are flushed is seen from the numbers, but not from any gap in them. An open Badger gives numbers one after the other, seals only memtables that hold something, and
// flushes them in order: where one of its own is missing, all before are flushed, and in its manifest. But a Badger that opens what a kill has left removes
// the log of a memtable in which nothing was written, and goes on with the next number, before it has flushed what came before; killed again it leaves a gap that proves nothing. So
// it has to be known with which number the last process began. It is noted in Badger's own LOCK file, which everybody who opens the
// database writes anew, and which a clean close removes: a note that is there was made by the last who opened it.

// lockName is the file in Dir that holds the process id of who has it open.
const lockName = "LOCK"

var memtablesNote = regexp.MustCompile(`\nbadgerspill: memtables from (\d+)\n`)

func openedWith(number int) []byte {
	return fmt.Appendf(nil, "\nbadgerspill: memtables from %d\n", number)
}

// noteMemtables notes in the LOCK file the number of the first memtable of this process. Badger must just have been opened. If it fails nothing will be
// removed, which is no worse than without.
func noteMemtables(opt badger.Options) {
	if opt.BypassLockGuard { // others may not write it anew
		return
	}
	numbers, err := memNumbers(opt.Dir)
	if err != nil || len(numbers) == 0 {
		return
	}
	f, err := os.OpenFile(filepath.Join(opt.Dir, lockName), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return
	}
	_, _ = f.Write(openedWith(numbers[len(numbers)-1]))
	_ = f.Sync()
	_ = f.Close()
}

// removeFlushedLogs removes logs of memtables that are flushed, if a note tells which are, and then the note: Badger, which is opened next, changes what it speaks of.
func removeFlushedLogs(opt badger.Options) error {
	if opt.BypassLockGuard {
		return nil
	}
	lock := filepath.Join(opt.Dir, lockName)
	text, err := os.ReadFile(lock)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("badgerspill: %w", err)
	}
	note := memtablesNote.FindSubmatch(text)
	if note == nil {
		return nil
	}
	from, err := strconv.Atoi(string(note[1]))
	if err != nil {
		return fmt.Errorf("badgerspill: %s: %w; remove the file if no process has the database open", lock, err)
	}
	numbers, err := memNumbers(opt.Dir)
	if err != nil {
		return fmt.Errorf("badgerspill: %w", err)
	}
	first := len(numbers) - 1 // of those that follow one another without a gap to the last
	for first > 0 && numbers[first-1] == numbers[first]-1 {
		first--
	}
	if first > 0 && numbers[first]-1 >= from {
		for _, n := range numbers[:first] {
			if err := os.Remove(memPath(opt.Dir, n)); err != nil {
				return fmt.Errorf("badgerspill: the log of a memtable that is flushed: %w", err)
			}
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
