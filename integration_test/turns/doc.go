// Command turns lets two layers and plain Badger take turns on one directory, under load, and
// checks that nothing is lost. It is built in the tree of each layer, by .ci/turns, and uses
// nothing but what both have:
//
//	turns -old PROGRAM [-for 5m] [-seed N] [-dir DIRECTORY]
//
// A turn is a process of one of the two programs. It opens the database with options drawn from the
// seed, checks every acknowledged commit, and writes as fast as it can while replay runs. It ends
// by a close that drains, by one that keeps the spill, by a close in the middle of a drain, by a
// drop of everything, or by SIGKILL at any moment of all that, Open included. After a turn that has
// left the spill empty plain Badger may have one, with the same checks and writes; while the
// interlock is there it must be refused. After some turns a new directory is begun: encrypted or
// not, with SyncWrites or not.
//
// What was acknowledged is in a file that is written past the database, 8 bytes after each commit.
package main
