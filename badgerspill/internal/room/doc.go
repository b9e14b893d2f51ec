// Package room is what a commit needs on its way: memory of the budget, capacity of the spill, and
// free space on the disk that it is going to be written to. It implements pipeline.Room. Of the
// database it knows only what Env has, so that tests drive it without one.
//
// # What it promises
//
// Badger is told to write nothing that its volumes have no room for, but for commits of which the
// spill has failed to take what it was given. Its logs and tables are mapped
// into memory, and a page that the disk has no room for ends the process with SIGBUS. The spill
// writes with write, and would get an error; it is kept from that all the same.
//
// What a commit has taken is given back once, or counted once as what it has become. Until it has
// its place that is Room.Cancel, for the whole of its ticket. From then on it is Room.Answered for
// Badger, and Room.Spilled for the spill.
//
// Nobody waits for room that cannot come. Only replay empties the spill, and replay writes to
// Badger. While it has stopped a commit for which the spill has no room fails at once; so does any
// without room while Badger takes nothing. One that waits is woken to look again, but for one that
// waits for memory alone since before: it looks when there is some.
//
// # How room on disk is counted
//
// A look takes the free space of each volume and its floor: what must stay free for what Badger
// writes of its own accord, or what the user has said. What lies above is the room of that look.
// From then on
//
//	left = room of the look - written since - in flight
//
// Who is about to write claims before. The claim is in flight until Badger, or the spill, has
// answered, and counts as written from then until a look sees it on the disk. Each inexactness
// makes what is left too small, never too large:
//
//   - A claim that finds less than Step left looks itself. So nothing depends on how often one
//     looks, and a burst cannot run through the floor between two looks.
//   - A look reads what is written before it asks the disk. What is settled in between counts twice
//     until the next look.
//   - A look stores a side's room before its mark, and left reads them the other way round. So
//     bytes may count twice for a moment, and are never forgotten.
//   - Settle adds to what is written before it takes from what is in flight.
//   - What a claim stands for is the most that it can cost in the end: see BadgerCost.
//
// # The spill's capacity
//
// A commit reserves what it will take in the spill, estimated from above, and gives back what it
// turns out not to need. When it is written the Ledger counts what the log's files and indexes
// really hold, and then releases the reservation: in between both count.
//
// # Who locks what
//
// disks.looking is held over one look at the disks; under it the file system is asked, and the
// Listener is told. disks.asking guards whether a look may begin in the background. Ledger.mu
// guards what was accounted last; under it Log.Usage is called, and package wbm. None of the three
// is taken under another. All else is atomic: a commit on its way takes none of them, unless a look
// is due or room is short, or the log has written it.
//
// Reserve, Claim, ClaimBadger, Check, Look, Volumes and Answered may have to wait for the file
// system, and Reserve for room, too. No other method blocks.
package room
