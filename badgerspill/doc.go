// Package badgerspill is Badger with a spill: a layer over github.com/dgraph-io/badger/v4 that
// keeps commits fast while Badger is busy.
//
// Replace badger.Open by Open and keep everything else. While commits are few they go to Badger.
// When it does not keep up, because its memtables are full or because compaction has the machine,
// or when they come faster than SpillRate, commits are appended to a log of snappy-compressed
// segments. They are acknowledged from there, served from there, and replayed into Badger in a
// quiet moment.
//
// Two invariants carry the package. I1: Badger holds a prefix of the commit history, the spill the
// suffix; while the spill holds anything, every commit goes there. I2: what is acknowledged is
// readable by every later transaction and survives a killed process, under SyncWrites a power cut.
//
// # Reading the source
//
// A write is one walk: Txn.Commit (txn.go), submit (pipeline.go), then internal/pipeline from top
// to bottom of submit.go: Submit, enter, admit, place, Await. Its doc.go is the specification: both
// invariants, the steps, what is held at each, what a crash leaves, who decides on a turn. The
// states and their transitions are in its router.go, conflicts and read timestamps in its order.go.
// A commit gets its timestamp in assign (submit.go). Room for a commit is internal/room. What the
// two need of this package is in pipeline.go and room.go.
//
// How the spill gets into Badger is internal/feed: batches, chunks, checkpoints and the hand-over,
// with what is held at each step and what a crash leaves. What it needs of this package is in
// feed.go.
//
// A read is one walk: Txn.Get (txn.go), the transaction's own writes, the view of the spill
// (package spillfile), Badger. What is known of Badger and done to it is in internal/host: its
// faults, the memory that it holds, how commits and replay get into it. The order of a start is in
// open.go. The order of locks is at DB.
//
// The budget and its tiers are package wbm, the log is package spillfile (its bytes:
// docs/format.md), when to replay is package replay. docs/design.md says why all of it is as it is.
package badgerspill
