// Package marker has the small files of the layer in Badger's directory. Each says something to the
// next who opens the directory, this layer or plain Badger.
//
//	file                    says                                  from                        until
//	BADGERSPILL             which database this is; the spill     the spill is made           the spill is removed
//	                        carries the same identity
//	UNREPLAYED-SPILL--      plain Badger must not open: the       before the first spilled    the spill is empty
//	open-with-badgerspill   spill, whose directory is in it,      commit is acknowledged
//	.mem                    holds commits that Badger has not
//	BADGERSPILL-DROP        what is being dropped: everything,    before anything is          all of it is dropped
//	                        or the prefixes in it                 dropped
//	LOCK (Badger's)         notes: from which memtable on         Badger is open; a drop      Badger is closed
//	                        logs are this process's, and          is done
//	                        before which none is of use
//
// A crash leaves each of them whole, or not there: identity and drop are written beside and
// renamed, and the interlock says what it has to by being there. A note in LOCK that is not whole
// is not read. Nothing here writes to the spill, or to a file of Badger's but LOCK.
package marker
