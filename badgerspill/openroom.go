package badgerspill

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/badgerspill/badgerspill/badgerspill/internal/host"
)

const (
	// openSlack is what Badger needs to open, beside the tables of the memtable logs that it finds:
	// the first pages of new logs.
	openSlack = 1 << 20
	// openFiles is how many files Badger makes to open, beside those tables: logs, manifests and
	// what is renamed into place.
	openFiles = 16
)

// filesToOpen returns an error where Badger, opening, would end the process: it does if it cannot
// open its statistics of the value log (value.go, init). The locks must be held.
func (opt *Options) filesToOpen() error {
	if opt.InMemory || opt.ReadOnly {
		return nil
	}
	f, err := os.OpenFile(filepath.Join(opt.ValueDir, "DISCARD"), os.O_RDWR, 0)
	if err == nil {
		err = f.Close()
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("badgerspill: option ValueDir: Badger's statistics of the value log: %w", err)
	}
	need := host.FilesKeptOpen(opt.Badger())
	if !opt.system().descriptorsFree(opt.Dir, need) {
		return fmt.Errorf("badgerspill: opening %s needs %d file descriptors, and fewer are free; "+
			"raise the limit of the process (ulimit -n), or have it hold fewer open", opt.Dir, need)
	}
	return nil
}

// roomToOpen returns an error matching ErrNoSpace if Badger cannot open without more room than
// there is: it writes tables of the memtable logs that an unclean stop has left.
func (opt *Options) roomToOpen() error {
	if opt.InMemory || opt.ReadOnly || opt.MinFreeSpace < 0 {
		return nil
	}
	numbers, err := host.MemNumbers(opt.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("badgerspill: option Dir: %w", err)
	}
	// exact reads the logs, and is only for when it matters: most of a log may be filling.
	needed := func(exact bool) int64 {
		need := int64(openSlack)
		for _, n := range numbers {
			path := host.MemPath(opt.Dir, n)
			info, err := os.Stat(path)
			switch {
			case err != nil:
			case exact:
				need += min(allocated(info), host.MemLogEntries(path, info.Size(), int64(len(host.FillerKey(opt.MemTableSize)))))
			default:
				need += min(allocated(info), info.Size())
			}
		}
		return need
	}
	need, exact := needed(false), false
	for _, dir := range []string{opt.Dir, opt.ValueDir} {
		free, _, err := opt.fs().Free(dir)
		if err == nil && free < need && !exact {
			need, exact = needed(true), true
		}
		if files, ferr := opt.fs().FreeFiles(dir); ferr == nil && files < openFiles+int64(len(numbers)) {
			return fmt.Errorf("badgerspill: %w: opening makes %d files in %s at most, there are inodes for %d", ErrNoSpace, openFiles+len(numbers), dir, files)
		}
		if err == nil && free < need {
			return fmt.Errorf("badgerspill: %w: opening needs %d bytes in %s, %d are free", ErrNoSpace, need, dir, free)
		}
	}
	return nil
}
