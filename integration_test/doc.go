// Package integration tests badgerspill from outside, against plain Badger wherever that is
// possible: the same operations on both, the same answers. It also kills it, fills its disk,
// damages its files, and reads the documentation: names of tests, links, code and options in docs
// are compared with what there is.
//
// Random tests print their seed when they fail; -args -seed takes it back.
package integration
