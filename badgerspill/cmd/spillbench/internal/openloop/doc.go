// Package openloop drives writes at a fixed schedule and measures them from the moment each was
// due.
//
// A closed loop waits for an answer before it sends the next write, so a store that stalls for a
// second is asked for nothing during that second and the stall shows up as one slow write. Here the
// schedule does not care how the store is doing: every write has a due time that is fixed before
// the run begins, and its latency is the time from then to its acknowledgement. A write that had to
// wait behind a stalled one carries that wait, as a request to a service would.
//
// Slots are handed out in the order of their due times to whichever writer is free. A store that
// keeps up sees each write when it is due; one that does not sees a queue, first in, first out,
// over phase boundaries too.
//
// A share of the slots may read instead, on the same schedule. What they read was acknowledged
// shortly before, so a key that is not there, or has another value, is a failure of the store.
package openloop
