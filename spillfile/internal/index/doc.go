// Package index has the indexes of segments: where an entry lies, by its key and version. Memory is
// that of a segment which is written, File that of a sealed one, made by Build. It knows bytes and
// places, no log, and reads no segment.
//
// docs/format.md specifies the bytes of the file. What is damaged in it is a *block.CorruptError,
// and its reader makes it again from the segment.
package index
