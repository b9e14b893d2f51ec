// Package block is the format of segment files: the header of a segment, blocks, the entries in
// them, their checksums and their encryption; and the cache of decoded blocks. It knows bytes and
// places, no log. Of damaged bytes it returns a *CorruptError, or of a segment's header that has
// another version a *VersionError, and no length is believed before it is bounded by what the file
// can hold.
//
// docs/format.md specifies the bytes. Reader walks the blocks of a file, Decoder opens one by its
// place, Search finds intact ones behind damage, Stamper completes those that are written.
package block
