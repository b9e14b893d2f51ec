// Package pipeline brings commits into one order and to one of two places: Badger, or the spill. It
// owns the commit lock. Of Badger, the log, room and listeners it knows only what Env has, so that
// tests drive it without a database.
//
// # What always holds
//
// I1: Badger holds a prefix of the commit history, the spill the suffix. While the spill holds
// anything, every commit goes there. So reads that ask the spill first see the newest version. Two
// states follow from it, Direct and Spilling; the transitions are in router.go.
//
// I2: what is acknowledged is readable by every later transaction, and survives a killed process;
// under SyncWrites a power cut, too. A commit is settled when Badger or the spill has it, or it has
// failed. It is acknowledged when it is settled and all before it are: so commits become visible in
// the order of the line, and a transaction that begins sees all that was acknowledged. That moment
// is in line.settle, under the commit lock. The writer wakes a little later, without it. A commit
// that has failed leaves the line in the same way, with its error. Outside of managed mode a
// transaction reads all that had its place when it began: its first read waits until the last of
// that is acknowledged (Begin).
//
// # A commit, step by step
//
//	step         what happens                                held               may block
//	admit        the way; room for it; the batch, or         a ticket           yes: see Wait
//	             Badger's transaction
//	place        conflicts; the timestamp; the end of the    the commit lock,   no
//	             line; the log's queue, or Badger's          and the ticket
//	await        Badger's answer, or the append              nothing            yes
//	settle       the outcome; the head of the line moves     the commit lock    no
//	             over all that are settled: acknowledged
//	wake         room is accounted for; the writer wakes     nothing            no
//
// Submit is admit and place, Await is the rest. If Room says that commits must go to the spill
// first, admit makes that turn and asks Room again. The step place is tryPlace, which gives the
// timestamp in assign. The function place around it may wait, with the ticket: for a hand-over, or
// for Badger's full queue where the spill takes nothing. If the state has changed between admit and
// place, or Badger's queue was full, the ticket is given back and the commit is admitted again.
// From place on it cannot be given up: nobody would know whether it was written.
//
// What a crash leaves. Before place nothing is written. Between place and settle a commit may be in
// the log, in Badger's log, in both, or in none. It was not acknowledged, so each is right. The
// log's order and Badger's are both the order of place, so none of the commits after it is there
// without it. Commits that are Raw are an exception in Badger: their order there is free. After
// settle a commit is where its answer came from, as durable as SyncWrites says.
//
// # The turns
//
// Direct to Spilling (startSpilling). What is in flight to Badger is hedged: it is queued for the
// log with its timestamps, before any new commit, all in one step under the commit lock. The append
// comes without the lock. Each commit is then settled by whoever answers first. A crash may leave
// the beginning of the hedges in the log while Badger has them all. Rotate tells the log through
// which timestamp that can be.
//
// Who decides on that turn, and for which Cause. tryPlace does for what it sees under the commit
// lock: the tier (CauseMemory), and what is in flight (CauseQueue). Room.Reserve does for what
// Badger and its disk take (CauseHeld, CauseSpace): it returns the cause, and admit calls
// TurnToSpill. The watcher of badgerspill does for what takes a clock: it calls CheckStall
// (CauseStall), and TurnToSpill for the rate of commits (CauseRate). Adopt does for a new policy
// (CausePolicy), and Recovered is for Open.
//
// A late answer of Badger's. CheckStall makes the turn when the oldest commit in flight is older
// than StallThreshold, and the appended hedge settles it. The answer comes to settleAnswer all the
// same. It changes nothing for a commit that is settled, even if it is an error: the spill has the
// commit, and replay brings it again. Until all such answers are there nothing is replayed, and
// there is no hand-over. If the spill takes nothing there is no turn, and the writer waits for
// Badger without a bound. If the hedges could not be appended Badger's answer settles them.
//
// Spilling to Direct (HandOver). New commits wait before place; the log's queue runs empty; under
// the commit lock what little is left goes to Badger and is synced, then the manifest says that the
// spill is empty, then the state changes. A crash before the manifest finds a spill that is live
// and no later commit in Badger. A crash after it finds Badger with everything.
//
// The log could not take its first commits (spillFailed). All earlier commits are in Badger or in
// its queue, and all later ones are behind them, so they go to Badger after all, in order.
//
// # Locks
//
// The commit lock is the only one here. Under it Env's methods are called that say so: they must
// not block, and must not call the pipeline. The one exception is the last step of a hand-over.
// There writers wait for Badger to take what is left, at most the patience of package feed, and
// then for a sync of Badger and for the manifest. No function gives back a lock that its caller
// took.
package pipeline
