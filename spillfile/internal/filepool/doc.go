// Package filepool keeps few files open where many are used: those of segments and of their
// indexes.
//
// A [File] is opened when it is used. It stays open afterwards, until another one needs its place:
// the one that was not used for longest goes then, about. So a reader never holds a place that it
// does not need at the moment, and nobody who uses a file waits for another. What is written and
// not yet synced stays open until it is: see [File.Keep].
//
// Where the process has fewer descriptors than the pool has places, the pool gives up files that
// are not in use, and gets along with the rest.
package filepool
