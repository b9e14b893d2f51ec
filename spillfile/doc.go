// Package spillfile keeps commits that the database can not absorb yet: it appends them to segment
// files, makes them readable, hands them out for replay in order, and drops them when they are
// replayed.
//
// # A commit
//
// The committing goroutine encodes its commit into a [Batch]: entries are gathered into blocks of
// about 8 KiB, which are compressed and checksummed on the spot. [Log.Enqueue], called under
// whatever lock orders commits, gives the batch its place. [Log.Commit] then either finds a leader
// at work and waits, or leads. The leader takes what has gathered in the queue and stamps the block
// headers with timestamp, sequence and place. He writes all of it with one write (and one sync
// under Options.SyncWrites), adds it to the index of the segment, tells Options.OnCommit, and wakes
// the others. A batch alone passes through without any hand-off to another goroutine.
//
// # A read
//
// A View is a set of segments that stays readable. The segment that is written has its index in
// memory, each sealed one in a file, with a Bloom filter and the lowest key of each leaf in memory.
// View.Get reads at most a leaf of each segment that may have the key, and View.Value the block
// that the entry is in. An index is made again from its segment when it is damaged or missing.
//
// # Replay
//
// Log.NewMerge merges sealed segments in key order, without the versions that nobody can see any
// more; Log.ReadChunk reads in the order of the log. Log.MarkReplayed drops what is replayed.
//
// # What holds at every moment
//
//   - Order on disk is the order of Enqueue. Sequences rise by one within a segment.
//   - A batch is acknowledged, that is, told to Options.OnCommit, after it is on disk and in the
//     index, and in the view that Acquire returns. When its writer is told is the caller's affair.
//   - A batch whose last block is not intact never happened.
//   - A file takes no more writes after a write or sync of it failed, and an offset is written at
//     most once.
//   - A segment leaves the disk after the manifest says, durably, that it is replayed.
//   - What a View holds stays readable until it is released.
//
// What is not the log is elsewhere. Packages internal/block, internal/index and internal/layout
// have the bytes. Package internal/recovery decides what of a directory counts. Package check looks
// at a spill without a Log, and package repair puts another in its place. docs/format.md specifies
// the bytes, and what recovery makes of every state that a crash can leave.
package spillfile
