// Package mend knows the mends of Badger, and applies them to its source.
//
// A mend is a few edits of released files and, where it needs more than a line, a file of its own.
// An edit replaces a text that occurs once, its anchor, or the body of a function that is found by
// its name. All edits are made on the released source, so the order of mends does not matter, and
// any selection of them gives a Badger that builds: no two edits may touch the same bytes.
//
// No mend changes what is on disk. Plain Badger opens what a mended one has left, killed or closed,
// and the other way round.
package mend
