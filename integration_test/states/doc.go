// Package states brings a database into each of its states and keeps it there: sent to Badger,
// spilled, replayed, handed over, all of them at once. Tests of several modules kill it in them.
package states
