// Package engine opens plain Badger and badgerspill behind one interface, with the same Badger
// options, so that they can be compared.
package engine
