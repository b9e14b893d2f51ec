package badgerspill

import (
	"io/fs"
	"math"
	"runtime"

	"github.com/badgerspill/badgerspill/badgerspill/internal/host"
)

// system is what Open has to know of the operating system, beside what spillfile.FS does. A test
// puts its own in place of thisSystem.
type system struct {
	name  string // GOOS and GOARCH, for texts
	maps  bool   // files can be mapped into memory, which Badger does with each of its own
	locks bool   // the layer holds Badger's directory locks itself; see host.DirLocks
	notes bool   // LOCK can be read and written beside the lock; see host.NoteMemtable
	// volume returns what tells the volume of a file from all others; false if that is not known.
	volume func(fs.FileInfo) (uint64, bool)
	// descriptorsFree reports whether n more files could be open, as far as opening the directory
	// tells.
	descriptorsFree func(dir string, n int) bool
	// maxPiece is the largest piece of memory in bytes, and of the file that is mapped into it.
	maxPiece int64
}

var thisSystem = &system{
	name:     runtime.GOOS + "/" + runtime.GOARCH,
	maps:     systemMaps,
	locks:    host.SystemLocks,
	notes:    host.PIDFiles,
	volume:   volumeOf,
	maxPiece: math.MaxInt,

	descriptorsFree: host.DescriptorsFree,
}

func (opt *Options) system() *system {
	if opt.seams.system != nil {
		return opt.seams.system
	}
	return thisSystem
}

// checkSystem refuses what the system cannot do. Badger meets it in the middle of Open, or panics.
func (opt *Options) checkSystem() error {
	sys := opt.system()
	if !sys.maps && !opt.InMemory {
		return bad("InMemory", opt.InMemory, "true on %s, where Badger cannot map files into memory", sys.name)
	}
	// Badger maps logs of both kinds at twice their size.
	most := sys.maxPiece / 2
	const bound = "at most %d bytes in the address space of %s: the log is mapped into memory at twice that"
	if opt.MemTableSize > most {
		return bad("MemTableSize", opt.MemTableSize, bound, most, sys.name)
	}
	if opt.ValueLogFileSize > most && !opt.InMemory {
		return bad("ValueLogFileSize", opt.ValueLogFileSize, bound, most, sys.name)
	}
	if limit := opt.MemoryLimit; limit > sys.maxPiece {
		return bad("MemoryLimit", limit, "at most %d bytes in the address space of %s", sys.maxPiece, sys.name)
	}
	if m := opt.WriteBufferManager; m != nil && m.Limit() > sys.maxPiece {
		return bad("WriteBufferManager", m.Limit(), "one with a limit of at most %d bytes in the address space of %s", sys.maxPiece, sys.name)
	}
	return nil
}

// defaultMemoryLimit is what MemoryLimit 0 means: what all memtables hold, as far as it can be had.
func (opt *Options) defaultMemoryLimit() int64 {
	return min(opt.slots()*opt.MemTableSize, opt.system().maxPiece)
}
