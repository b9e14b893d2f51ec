// Package check looks at a spill that nobody has open, or that another process writes to: it reads
// the files, without a Log. It writes nothing, ever, and takes no lock by itself: see
// [Source.Lock].
//
//   - [Inspect] tells what a spill holds, and whether Open would take it. It reads little, and
//     needs no key for that.
//   - [Walk] reads all of it, and visits each commit that is intact. It goes on past damage.
//   - [Verify] is Walk that also compares each index with its segment; [VerifyInUse] is Verify
//     beside a writer.
//   - [Judge] says whether a database may be opened with a spill, and the way out if not.
//
// What is live, torn or corrupt is judged by package internal/recovery, which Open uses, too: so
// Inspect says what Open would say. Package repair puts something else in the place of a damaged
// spill.
//
// Errors are those of package spillfile, such as spillfile.ErrCorrupt, and the types are its own,
// such as spillfile.Entry. What verifies a spill by the Log that has it open is
// spillfile.Log.VerifyOpen.
package check
