package replay

import (
	"context"
	"time"
)

// Pending is what waits to be replayed.
type Pending struct {
	// Bytes not replayed yet; 0 means that the spill is empty.
	Bytes int64
	// Left is how many of them Badger does not have yet: less than Bytes in the middle of a chunk.
	Left int64
	// Fill is the used share of the capacity, 0 to 1, above 1 if it was passed.
	Fill float64
	// Full tells that the spill takes no more, for whatever reason.
	Full bool
	// Slowed tells that commits wait for their turn now, since the spill fills up.
	Slowed bool
	// Oldest is when the oldest unreplayed data was written. Zero: unknown, no age.
	Oldest time.Time
	// Due tells that the oldest data counts as older than MaxSpillAge, whatever Oldest says: the
	// clock that told it was wrong.
	Due bool
}

// Progress is what one batch has moved to Badger.
type Progress struct {
	// Bytes, before compression, and Entries went to Badger.
	Bytes, Entries int64
	// Skipped is how many more bytes of the log lie behind, of what needed not be moved. A
	// checkpoint lets go of them, too.
	Skipped int64
	// Drained tells that nothing is left beyond this batch.
	Drained bool
	// Midway tells that the batch is in the middle of a chunk that counts as a whole: a checkpoint
	// lets go of nothing yet, and notes how far the chunk is.
	Midway bool
	// Synced is how many bytes of what was moved before need no checkpoint any more: they are
	// durable, and it is noted.
	Synced int64
}

// Log is what the replayer needs of the spill. Its methods are called by one goroutine, one
// at a time. The context is not cancelled by Stop: a call under way is waited for.
type Log interface {
	// Pending must be cheap and must not block.
	Pending() Pending
	// Replay applies the next batch of at most maxBytes to Badger and waits for its answer.
	// One entry larger than maxBytes is a batch. On an error nothing counts as replayed,
	// and the next call begins where this one did. On an empty log it returns Drained.
	Replay(ctx context.Context, maxBytes int64) (Progress, error)
	// Checkpoint syncs Badger, advances "replayed through" durably and drops what lies
	// below; in the middle of a chunk it notes durably how far that is. Without anything new it
	// is a no-op.
	Checkpoint(ctx context.Context) error
	// HandOver tries to make commits go to Badger directly again. False means that more was
	// appended meanwhile and replay has to go on. It returns true too if commits go direct
	// already, or if there is no hand-over, for now or ever, and nothing is left.
	HandOver(ctx context.Context) (bool, error)
	// MayReplay tells whether memory allows another batch: below the soft limit, and with
	// full, which means that the spill is full or being drained, up to the whole limit. It is
	// asked again on a timer while it says no; the log sees to it that memory is freed.
	MayReplay(full bool) bool
}
