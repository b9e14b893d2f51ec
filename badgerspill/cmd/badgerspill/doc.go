// Command badgerspill works with databases of package badgerspill: it shows what the layer does with a load, and measures it
// against plain Badger. Run without arguments it lists its verbs; each has an example under --help. Flags may be written with
// one dash or two.
//
// Results go to standard output, progress and errors to standard error. It exits with 0, or
//
//	1    the verb failed, or what it checked is not right
//	2    the command line cannot be understood
//	130  it was interrupted; a second interrupt ends it at once
//
// A verb is one file in internal/cli, which reads its flags, and one package of its name under internal, which does the work.
package main
