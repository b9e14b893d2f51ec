// Command spillbench measures package badgerspill: burst drives a write burst through it and
// through plain Badger, Pebble and a bare log, bench answers single questions. In a clone of the
// repository:
//
//	go -C badgerspill/cmd/spillbench run . burst
//
// Paths are relative to the directory in which that was typed. Run without arguments it lists its
// verbs; each has an example under --help. Flags may be written with one dash or two.
//
// Results go to standard output, progress and errors to standard error. It exits with 0, or
//
//	1    the verb failed, or what it checked is not right
//	2    the command line cannot be understood
//	130  it was interrupted; a second interrupt ends it at once
//
// It is a module of its own, so that nobody who uses badgerspill depends on Pebble, or on a library
// that draws.
package main
