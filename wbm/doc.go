// Package wbm accounts for memory that is answered for but not in an SSTable yet, and
// decides what a write has to do about it: go on, go to the spill, or wait.
//
// One [WriteBufferManager] holds one budget. Each database that draws on it has an
// [Account]; several may share a manager, the cap then holds for their sum. A
// [SpilloverManager] adds the capacity of one database's spill to its account and picks
// the way of a commit.
//
// The package knows nothing of what the bytes are: it is told what is reserved and
// released, and asks holders to free memory through a callback.
//
// # Liveness
//
// A writer waits in two places only: parked, for room, and before that slowed, for its turn
// on the way to a spill that fills up (see throttle). What it waits for must come. The rules:
//
//  1. A parked writer holds nothing. A reservation is made whole or not at all.
//  2. Relief is asked for at every park and at every re-check, from the biggest holder
//     of the whole manager, whether or not that one gets writes. From the third
//     re-check of one wait on, the other holders are asked in turn too: a biggest
//     holder that cannot give does not shield the rest.
//  3. Only bytes that some action can free count. Pinned ones are reported, not counted.
//  4. Every wait re-checks on a timer besides being woken, so that a change nobody
//     announced (a disk that has room again) is seen.
//  5. Every wait ends when its account is closed, its context ends or its timeout passes.
//  6. A batch larger than the budget passes alone: when nobody has bytes in flight.
//  7. A big batch is not starved by small ones, see below.
//  8. A slowed writer holds nothing either. It looks at everything again at least every
//     10 ms once it is the first in the queue, waits there for a horizon at most unless room
//     shrinks meanwhile, and parks when the spill is full for it. Rule 5 holds, except that
//     a timeout ends the slowing, not the reservation.
//  9. Limits can change at any time, in any direction. Whoever waits looks at the new ones at
//     once: a change is stored before waiters are woken, and a waiter counts itself before
//     it looks. What is held above a lowered limit is waited for like any other bytes, and rule 6
//     holds for a batch that has become larger than the budget, or than the spill.
//
// # No starvation
//
// Waiting is not first in, first out: a newcomer that fits may overtake. To keep small
// batches from taking every freed byte before a big one, a waiter that was parked for a
// while (four re-check intervals) lays a claim. While the claim stands, nobody else may
// reserve there, so usage only falls. A claim ends when its owner is served or
// leaves, and otherwise after a hold that doubles from claim to claim, followed by a
// rest of the same length in which everybody else may go on. If usage drains in a finite
// time once nothing is added, some hold is longer than that and the big one is served.
// If draining needs somebody else's write (a memtable is sealed only when it is full), the
// rests let those through; a claim that lasted for ever would be a deadlock there.
//
// Memory and the room of each spill have a claim of their own: a commit that waits for its
// spill to be replayed must not hold up the replay's memory.
package wbm
