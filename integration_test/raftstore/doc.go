// Package raftstore keeps the log and the votes of a hashicorp/raft node in a badgerspill database.
// It is an example that is tested as if it were a product, and short enough to be copied:
// docs/scaling.md says how to use it, and what a spill means for a raft log.
//
// # Layout
//
//	raft/log/ + index, 8 bytes big-endian    -> entry (entry.go)
//	raft/stable/ + key                       -> value; integers are 8 bytes big-endian
//
// Other keys in the database are left alone, so a state machine may keep its own beside them. Only
// one Store may be in use on a database.
//
// # What a crash leaves
//
// Each transaction is there as a whole or not at all, and with it all before it. So after a crash
// the log is one that raft can start from, whatever it was doing:
//
//   - StoreLogs: the entries before, and a prefix of the new ones. Nobody was told of these; raft
//     keeps them, or cuts them off when a leader disagrees.
//   - DeleteRange from the first entry on (after a snapshot): the lowest ones go first, so the log
//     still ends where it did and has no hole.
//   - DeleteRange through the last entry (a leader disagrees): the highest ones go first, so the
//     log begins where it did and has no hole. Raft had told nobody to rely on what is left of the
//     range, and cuts it off again.
package raftstore
