// Command badgerspill operates databases of package badgerspill: it looks at one, checks and drains
// its spill, and gets out of a damaged one what is intact. Run without arguments it lists its
// verbs; each has an example under --help. Flags may be written with one dash or two.
//
// Results go to standard output, progress and errors to standard error. It exits with 0, or
//
//	1    the verb failed, or what it checked is not right
//	2    the command line cannot be understood
//	130  it was interrupted; a second interrupt ends it at once
//
// A verb is one file in internal/cli, which reads its flags. What it shares with others is in the
// packages beside that one, and what the commands share in ../internal.
package main
