package room

import (
	"context"
	"io/fs"

	"github.com/dgraph-io/badger/v4"

	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/wbm"
)

// Env is what room needs of what is around it.
type Env struct {
	Files  Files
	Volume func(fs.FileInfo) (volume uint64, known bool) // tells the volume of a file from others

	Memory *wbm.Account // of the database in the budget
	Spill  *wbm.SpilloverManager
	Ledger *Ledger // of Spill
	Log    Log     // nil: there is no spill

	Badger   Badger
	Replay   Replay
	Listener Listener

	Closing    context.Context // ends when no commit is to wait any longer
	Background func(func())    // starts a goroutine that closing waits for
	Now        func() int64    // a monotonic clock in nanoseconds
}

// Files is what is asked of the file system. It is a part of spillfile.FS, which says more.
type Files interface {
	Stat(name string) (fs.FileInfo, error)
	Free(dir string) (free, total int64, err error)
	FreeFiles(dir string) (free int64, err error)
}

// Log is what is asked of the spill's log. *spillfile.Log is one. No method blocks.
type Log interface {
	State() spillfile.State
	// Usage returns the bytes on disk, and those of the indexes in memory.
	Usage() (disk, index int64)
}

// Badger is what is asked of Badger, and told about it.
type Badger interface {
	// Levels is that of badger.DB.
	Levels() []badger.LevelInfo
	// Held returns why Badger must get no writes, nil if it may get them. It may block for the file
	// system.
	Held() error
	// HeldNow is Held as it was last known. It does not block.
	HeldNow() error
	// Took says that Badger has memory bytes of the budget, reserved as wbm.InFlight, up to
	// timestamp ts: they are its memtables' from here on. It may wait for a look at Badger's files.
	Took(memory int64, ts uint64)
}

// Replay is what room has to know of replay. No method blocks.
type Replay interface {
	// Stopped returns why replay has stopped, nil if it goes on.
	Stopped() error
	// Going returns a context that ends when replay stops. There is a new one before Stopped
	// returns nil again.
	Going() context.Context
	// SegmentSize is that of the spill now, in bytes.
	SegmentSize() int64
}

// Listener is told of volumes, by one look at a time. It must not block, nor call what looks.
type Listener interface {
	// Low: a side's volume is short, and was not. spill says that it is the spill's side.
	Low(spill bool, short *ShortError)
	// HasRoom: it is not short any more; dir is where it was.
	HasRoom(spill bool, dir string)
}

// Options of a Room.
type Options struct {
	// Off: the disks are not looked at, and count as having room.
	Off        bool
	BadgerDirs []string // the directories that Badger writes to; the same twice is once
	SpillDir   string   // that of the spill, if Env has a Log
	// MinFree is the floor of each volume in bytes; 0 takes the default.
	MinFree int64

	// Badger's options of these names.
	LevelSizeMultiplier int
	NumCompactors       int
	BaseTableSize       int64
}
