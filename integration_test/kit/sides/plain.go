package sides

import "github.com/dgraph-io/badger/v4"

// Plain returns the side of a database of Badger's.
func Plain(db *badger.DB) Side { return Of(db, PlainEntry) }

// PlainEntry returns Badger's entry for a write.
func PlainEntry(w Write) *badger.Entry {
	e := badger.NewEntry(w.Key, w.Value).WithMeta(w.UserMeta)
	if w.Discard {
		e.WithDiscard()
	}
	e.ExpiresAt = w.ExpiresAt
	return e
}
