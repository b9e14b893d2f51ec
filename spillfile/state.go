package spillfile

import "time"

// State is a picture of a Log. Its fields are read one after the other while commits go on. Where
// one segment is partly replayed, LiveBytes and the timestamps still count all of it.
type State struct {
	LiveBatches  int64  // acknowledged and not yet replayed
	LiveBytes    int64  // bytes of blocks in live segments
	LiveSegments int    // segments of which not all is replayed
	Queued       int64  // batches enqueued and not answered yet
	OldestTs     uint64 // lowest commit timestamp of the live batches, 0 if none
	NewestTs     uint64 // highest commit timestamp of the live batches, 0 if none
	NewestPath   string // the segment with the newest live batch, "" if none
	NewestEnd    int64  // the offset in bytes at which that batch ends
	// highest version of any live entry (entries may carry their own), 0 if none
	MaxVersion      uint64
	LastSeq         uint64 // sequence of the last acknowledged batch, 0 if there never was one
	ReplayedThrough uint64 // everything up to this sequence is in Badger
	DirectThrough   uint64 // highest value in the headers of live segments, see Log.Rotate
	// memory of the indexes of live segments, of the next one, and of the cache
	IndexBytes int64
	// all files of segments and indexes, those too that are dropped and still held by a View
	DiskBytes int64
	// when the oldest live segment was begun, zero if none. Its age, time.Since, is from a clock
	// that does not jump while the process lives
	OldestCreated time.Time
	// Open found that segment begun in the future: a clock was, or is, wrong. OldestCreated is the
	// time of Open then
	OldestAhead bool
	HeldBytes   int64 // of DiskBytes, those of dropped segments that a View still holds
	// when the first of those was dropped, zero if there are none: a View has been held since then,
	// or longer
	HeldSince      time.Time
	Synced         Position // everything before is known to be durable
	TruncatedBytes int64    // dropped by Open as a torn tail
	CleanClose     bool     // the spill was closed properly before this Open (true for a new one)
}
