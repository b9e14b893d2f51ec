// Package marker has the small files of the layer in Badger's directory. Each says something to the
// next who opens the directory, this layer or plain Badger.
//
// BADGERSPILL says which database this is: the spill carries the same identity. It is there from
// when the spill is made until it is removed.
//
// UNREPLAYED-SPILL--open-with-badgerspill.mem says that plain Badger must not open: the spill,
// whose directory is in the file, holds commits that Badger does not have. It is there from before
// the first spilled commit is acknowledged until the spill is empty.
//
// BADGERSPILL-DROP says what is being dropped: everything, or the prefixes in it. It is there from
// before anything is dropped until all of it is.
//
// LOCK is Badger's. Notes in it say from which memtable on logs are this process's, and before
// which none is of use since a drop.
//
// A crash leaves each of them whole, or not there: identity and drop are written beside and
// renamed, and the interlock says what it has to by being there. A note in LOCK that is not whole
// is not read. Nothing here writes to the spill, or to a file of Badger's but LOCK.
package marker
