// Package feed brings what is spilled into Badger. It is the log that package replay sees
// (replay.Log), and it has the lock of all who write to Badger besides commits. Of Badger, the log,
// room and listeners it knows only what Env has, so that tests drive it without a database.
//
// # What it promises
//
// Nothing is dropped from the spill before Badger has it and has synced it, but for versions that
// nobody can see any more. So at every moment either the spill is live, or Badger has all of it,
// durably. An entry keeps its version, so whatever is given to Badger twice changes nothing.
//
// Badger is never ahead of what a power cut leaves of the spill, unless that cannot be synced: the
// spill is synced up to where a batch ends before Badger gets the batch.
//
// I1, as package pipeline calls it, holds: Badger has a prefix of the commit history. In the order
// of the log entries come in commit order. A chunk comes in the order of keys, the versions of one
// key oldest first, and until all of it is in Badger its segments stay and hide what Badger has of
// it so far. A load that a hand-over has given up is waited for before anything else is loaded, or
// commits go to Badger: it must not come after newer ones.
//
// # A batch (Replay)
//
// The feed's lock is held all the way, the commit lock is not. Each step may block, for the disk
// or for Badger.
//
//  1. A load that a hand-over has given up is waited for.
//  2. Between chunks: if more than a sixteenth of a segment is behind, a chunk is begun. Where the
//     last try has left a place, that chunk goes on; where it has left one that is not of this
//     replay, the place is made void first, durably.
//  3. The next entries are read: of the chunk in the order of keys, or in the order of the log.
//  4. The spill is synced, if it is not up to there. An error is not one of the batch: replay is
//     what ends the trouble of a spill that cannot be synced.
//  5. The guard is asked, room on Badger's disk is claimed, and memory is counted as in flight.
//  6. Badger takes the entries, and answers.
//  7. Memory counts as in a memtable, the claim is settled, the watcher wakes.
//  8. The position, or what the chunk has handed out, advances in memory. If Badger has flushed
//     what lies before a place of the chunk, the names of its tables are synced, then the place is
//     noted, durably.
//
// An error in any step leaves the position where it was. In a chunk the entries at hand are given
// again. If the log itself could not be read, the chunk is given up and goes on at its last key. If
// it met damage, chunks are of one segment from there on, so that what lies before the damage
// reaches Badger.
//
// A crash before step 6 leaves Badger without the batch, one after it with all or a part. The spill
// has it all: the next process begins at the place that was noted last, or at the first live block.
// A crash within step 8 leaves the old place or the new one, and each is true: before either all is
// durable in Badger.
//
// # The end of a chunk, and a checkpoint (Checkpoint)
//
// A chunk ends in memory: when it hands out nothing more the position is behind its last segment.
// Then, or after so many bytes, the replayer asks for a checkpoint. The feed's lock is held, the
// commit lock is not.
//
//	step                                              a crash after it leaves
//	1. in a chunk: Badger is synced, the place noted  the spill live, and a place that is true
//	2. Badger is synced                               the spill live, all of it in Badger, too
//	3. the guard is asked whether Badger has lost     the same
//	   tables; if so, nothing is dropped
//	4. the manifest says how far all is replayed      files of segments that are dead
//	5. the files go                                   less of a spill, or the interlock alone
//	6. accounts; what Badger may discard              the same
//	7. the interlock goes, if the spill is empty      nothing
//
// The next Open takes away what steps 4 to 6 leave.
//
// # A hand-over (HandOver)
//
// The feed's lock is held all the way.
//
//  1. No commits held: a load that was given up is waited for, the guard looks at Badger. There is
//     no hand-over while commits would turn to the spill again at once.
//  2. No commits held: spill and Badger are synced, so that little is left for what follows.
//  3. New commits wait before they get their place (Pipeline.HandOver), until the log's queue is
//     empty, for at most the patience. If it is not empty then, or Badger has not answered all, the
//     hand-over ends here.
//  4. Under the commit lock, from here to 8: what is left is read. If it is more than 64 KiB, the
//     hand-over ends here, and replay goes on.
//  5. Badger takes it, within the patience. If it does not, the hand-over is given up: the load
//     goes on in a goroutine of its own, and see above.
//  6. Badger is synced, and asked whether it has lost tables.
//  7. The manifest says that all is replayed, if nothing was appended meanwhile.
//  8. The state is Direct.
//  9. Without the commit lock: accounts, what Badger may discard, and the interlock, as in a
//     checkpoint.
//
// The files go in the background, after 7.
//
// A crash before 7 finds a live spill, and no later commit in Badger. One after 7 finds a dead
// spill, and Badger has all of it, durably. One before 9 is done leaves the interlock beside an
// empty spill, and perhaps files of its segments. Plain Badger refuses the directory then, and the
// next Open of badgerspill removes both and begins in the state Direct.
//
// # Locks
//
// Feed.mu is taken before the commit lock, and before those of Env. Feed.marks and Feed.drains have
// one each, under which nothing is called. Drops, the flush of an idle memtable and the preparation
// of a StreamWriter run under Feed.mu, too, through Exclusively; so no function gives back a lock
// that its caller took. A load that a hand-over has given up, value log GC and what a StreamWriter
// writes do not hold it.
//
// # Who calls what
//
//	the replayer's goroutine alone            Pending, MayReplay, Replay, Checkpoint, HandOver;
//	                                          from its callbacks Progressed and Outdated
//	drops, a StreamWriter that is prepared,   Exclusively, and within it what Exclusive has
//	the flush of an idle memtable
//	Close of the database, last of all        Close
//	anybody                                   BytesPending, Reached, BeginDrain
//	who notices that Badger has failed        VoidPlace, which needs no feed and none of its locks
package feed
