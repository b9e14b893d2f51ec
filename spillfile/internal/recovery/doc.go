// Package recovery finds out what a directory holds of a spill, with no Log: which segments are
// live, where the log ends, and whether anything is torn or corrupt. The log opens by it, and who
// only looks sees by it.
//
// # What counts
//
// The segments form a chain: each header names its predecessor and where the acknowledged part of
// that one ends. A segment that no later one names held nothing acknowledged. The first place that
// does not hold what it should is the cut. If any synced mark, in the manifest or in any intact
// block before or after the cut, lies beyond it, then durable bytes are damaged: corruption. If
// none does, a power cut took bytes that nobody had synced, and everything from the cut on is
// dropped, as a suffix. An index file is such a mark, too, since it is written once its segment,
// and all before it, is durable.
//
// # How it is used
//
//  1. [Decide] only reads. It refuses what is corrupt, of another database, in a newer format or
//     under another key. Nothing on disk has changed then.
//  2. [Recovery.CarryOut] makes the disk agree, in an order in which every state that a crash can
//     leave leads to the same decision.
//  3. The caller takes Live, and closes the rest by [Recovery.CloseUnused].
//
// [NewLook] is for who only looks: it goes on past damage and gaps, and the caller reads the
// segments of the chain with a [Scanner], which judges the order of blocks for both. [Verdict] is
// what Decide would say.
//
// What is read before it is known whose it is, manifest and note, is in package layout; the bytes
// of segments and indexes are in packages block and index. docs/format.md tells what recovery makes
// of every state that a crash can leave.
package recovery
