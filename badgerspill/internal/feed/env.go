package feed

import (
	"sync"
	"time"

	"github.com/badgerspill/badgerspill/badgerspill/internal/pipeline"
	"github.com/badgerspill/badgerspill/spillfile"
)

// Env is what the feed needs of what is around it. Where a method says nothing else it is called
// under the feed's lock, and may block. Those that are called in the last step of a hand-over say
// so: they are called under the commit lock, too, and must not call the pipeline.
type Env struct {
	Log       Log // nil: there is no spill that could be replayed
	Badger    Badger
	Guard     Guard
	Room      Room
	Spill     Spill
	Pipeline  Pipeline
	Interlock Interlock
	Audience  Audience

	// Background counts work that closing waits for.
	Background *sync.WaitGroup
	// Begin is when the clock of all times in nanoseconds begins.
	Begin time.Time
}

// Log is the spill. *spillfile.Log is one. Pending calls State without the lock. The last step of a
// hand-over calls State, ReadChunkInto, Sync, Behind and MarkReplayedIfLast.
type Log interface {
	State() spillfile.State
	Behind(at spillfile.Position) (bytes int64)
	Sync() error
	Seal() error
	ReadChunkInto(c *spillfile.Chunk, from spillfile.Position, maxBytes int64) error
	NewMerge(from spillfile.Position, maxBytes int64) *spillfile.Merge
	ResumeMerge(from spillfile.Position, p spillfile.Place) *spillfile.Merge
	MarkReplayed(seq uint64) error
	MarkReplayedIfLast(seq uint64) (bool, error)
	Place() (spillfile.Place, bool)
	NotePlace(p spillfile.Place) error
	VoidPlace() error
}

// Badger is where entries go.
type Badger interface {
	// Load writes entries with their own versions, and waits for the answer. Called in the last
	// step of a hand-over, from a goroutine of its own that may outlive that.
	Load(entries []spillfile.Entry) error
	// Sync makes all that Badger has answered durable. Called in the last step of a hand-over.
	Sync() error
	// SyncDir makes the names in Badger's directory durable.
	SyncDir() error
	// Memtables returns the numbers of the memtables that are not in tables yet, oldest first.
	Memtables() ([]int, error)
}

// Guard keeps writes from Badger that it would not survive, and knows what it has lost.
type Guard interface {
	// Blocked returns why Badger gets nothing, as it was last known. It does not block. Called in
	// the last step of a hand-over.
	Blocked() error
	// Pauses returns why replay has to wait. It looks if that is due. Called without the lock.
	Pauses() error
	// Replays is Pauses for a batch that takes so many bytes of memory.
	Replays(memory int64) error
	// Check is Pauses after a look now.
	Check() error
	// Lost returns an error if Badger may have lost what it was given, or that cannot be told.
	// Called in the last step of a hand-over.
	Lost() error
	// Failed returns why Badger gets nothing until the next Open, nil if it has not failed. It does
	// not block.
	Failed() error
}

// Room is what a batch takes: memory, and Badger's disk. Low, Memory and AskRelief are called
// without the lock, and ChunkRoom under it. The others are called in the last step of a hand-over,
// too, and Settle, Took and Refused by a load that may outlive it, without any lock.
type Room interface {
	// Low returns why nothing may be written to Badger's disk, nil if there is room.
	Low() error
	// Memory returns the budget, and AskRelief asks for memory. Neither blocks.
	Memory() Memory
	AskRelief()
	// Claim takes room on Badger's disk for entries that take so many bytes of memory, and raw
	// bytes before compression. Without room it returns an error, and nothing is taken.
	Claim(memory, raw int64) (claim int64, err error)
	// Settle ends a claim, when the entries are accounted for as in a memtable, or not written.
	Settle(claim int64)
	// InFlight counts memory as on its way to Badger, whether there is room or not; Took as in a
	// memtable then, up to the version newest; Refused gives it back. Took may wait for a look at
	// Badger's files, the others do not block.
	InFlight(memory int64)
	Took(memory int64, newest uint64)
	Refused(memory int64)
	// ChunkRoom returns how many bytes of segments a chunk may have at most. It does not block.
	ChunkRoom() int64
}

// Memory is the budget, in bytes, of all databases that share it.
type Memory struct {
	Usage, SpillIndex int64 // all that is used; of that, indexes of spills
	SoftLimit, Limit  int64
}

// Spill is how full the spill is, and what commits are to do with it. No method blocks but Refresh,
// which may for locks. Active, Always, Closing, Capacity, Usage, Full and Slowed are called without
// the feed's lock, too, and Always in the last step of a hand-over.
type Spill interface {
	Active() bool       // commits go there
	Always() bool       // and are to go there whatever is left of it; fixed under the commit lock
	Preferred() bool    // they come so fast that they would turn to it again
	Closing() bool      // the database is being closed
	Capacity() int64    // bytes that it may take, 0 for none
	Usage() int64       // bytes that it takes
	Full() bool         // it takes nothing more, or nearly
	Slowed() bool       // commits wait for their turn, since it fills up
	Piece() int64       // bytes that should not be passed between two checkpoints
	SegmentSize() int64 // bytes at which a segment is sealed
	Refresh()           // accounts for what the log holds now
}

// Pipeline is where commits pass. *pipeline.Pipeline is one.
type Pipeline interface {
	// InFlight reports whether Badger has not answered all that was sent to it. Called without the
	// lock.
	InFlight() bool
	// Discardable returns the timestamp at or below which only the newest version of a key can
	// still be read.
	Discardable() uint64
	// Replayed says that Badger has the log up to seq, synced.
	Replayed(seq uint64)
	// HandOver calls last under the commit lock when nothing is queued: see pipeline.Pipeline.
	HandOver(patience time.Duration, last func() (bool, error)) (done, turned bool, err error)
}

// Interlock keeps plain Badger out while the spill holds commits.
type Interlock interface {
	// Drop removes it if the spill holds none.
	Drop() error
}

// Audience is who is told. No method blocks.
type Audience interface {
	// Replayed: Badger has taken so many entries. Called in the last step of a hand-over.
	Replayed(entries int, rawBytes int64)
	// LeftOut: so many entries need not be moved, since nobody can see them any more.
	LeftOut(entries int64)
	// Loaded: Badger's memtables have got something. Called without any lock, too.
	Loaded()
	// Draining tells how far a drain is.
	Draining(d Drain)
	// PlaceNotNoted and PlaceNotVoided: how far replay is could not be noted, or the note not be
	// made void.
	PlaceNotNoted(err error)
	PlaceNotVoided(err error)
}

// Options of a feed.
type Options struct {
	// Memory is what an entry takes of the memory budget on its way to Badger.
	Memory func(keyLen, valueLen int) int64
	// InValueLog reports whether a value of that length may go to the value log.
	InValueLog func(valueLen int) bool
	// Versions is how many versions of a key Badger keeps; 0 or less is all.
	Versions int
	// HighWater is the share of the capacity above which a chunk is a piece.
	HighWater float64
	// MaxSpillAge is the age that the oldest spilled commit is not to pass.
	MaxSpillAge time.Duration
	// StallThreshold is how long a writer may wait for Badger; below 0 it does not count.
	StallThreshold time.Duration
}

var (
	_ Log      = (*spillfile.Log)(nil)
	_ Pipeline = (*pipeline.Pipeline)(nil)
)
