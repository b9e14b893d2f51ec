package badgerspill

import (
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/integration_test/kit/sides"
)

// twin is plain Badger or the layer, of a test that gives both the same calls.
type twin struct {
	sides.Side
	drain func()
}

func plainTwin(t *testing.T, dir string) twin {
	db, err := badger.Open(testOptions(dir).Badger())
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return twin{sides.Plain(db), func() {}}
}

func (f *fixture) twin() twin { return twin{sides.Of(f.DB, entryOf), f.drained} }

func entryOf(w sides.Write) *Entry {
	e := NewEntry(w.Key, w.Value).WithMeta(w.UserMeta)
	if w.Discard {
		e.WithDiscard()
	}
	e.ExpiresAt = w.ExpiresAt
	return e
}

// set deletes if the value is empty.
func (s twin) set(key, value string, discard bool) error {
	return s.Update(func(txn sides.Txn) error {
		return txn.Put(sides.Write{Key: []byte(key), Value: []byte(value), Discard: discard, Delete: value == ""})
	})
}

// read returns the newest value of a key, and its version.
func (s twin) read(key string) (value []byte, version uint64, err error) {
	err = s.View(func(txn sides.Txn) error {
		item, err := txn.Read([]byte(key))
		if err != nil {
			return err
		}
		version = item.Version()
		value, err = item.ValueCopy(nil)
		return err
	})
	return value, version, err
}

func (s twin) version() uint64 { return s.MaxVersion() }

func (s twin) close() error { return s.Close() }
