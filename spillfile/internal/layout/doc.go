// Package layout knows what lies in the directory of a spill beside segments and their indexes: the
// names of the files and folders, and the bytes of the two small files that say what segments alone
// cannot.
//
//   - MANIFEST, a [Manifest], is replaced whole: a reader finds the old one or the new one. It says
//     what is replayed, which segments are dead, and what was synced.
//   - NEWEST, a [Note], is written in place. It says which segment is the newest one.
//
// Reading them changes nothing. A file in a newer format is a *block.VersionError. Damage of the
// manifest is a *block.CorruptError; damage of the note is no error, since nothing but a check is
// lost. docs/format.md specifies the bytes. REPLAY, the third such file, is only the log's: package
// spillfile has it.
package layout
