// Command shutdown stores events until it is told to end, and shows in which order a program ends
// so that nothing is lost:
//
//	shutdown DIR
//
// The order is this:
//
//  1. At SIGTERM no new work is begun. A second signal ends the process at once.
//  2. Work that has begun is done: a commit is waited for, as its caller may have told somebody.
//  3. The database is closed, within the time that the process has left. KeepSpillOnClose leaves
//     the spill for the next start, so that this takes as long as Badger's own Close.
//
// Who is killed before that loses nothing that was acknowledged. It only takes the next Open
// longer.
package main
