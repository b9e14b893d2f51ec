// Package replay decides when the spill is fed to Badger and how fast. It watches the write rate,
// and starts a run when it is quiet or the spill must not wait longer. It stops between batches
// when the burst is back.
//
// It owns no data. What it needs of the spill is the [Log] interface; nothing is lost by
// stopping it at any moment, because the log says itself how far it has come.
package replay
