package badger

import (
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

type mendErrors struct {
	Logger
	count atomic.Int64
}

func (l *mendErrors) Errorf(string, ...any)   { l.count.Add(1) }
func (l *mendErrors) Warningf(string, ...any) {}
func (l *mendErrors) Infof(string, ...any)    {}
func (l *mendErrors) Debugf(string, ...any)   {}

// DropAll beside an iterator leaves the files of the tables that it reads. New ones must not need
// their names.
func TestMendDropAll(t *testing.T) {
	errors := new(mendErrors)
	db := mendOpen(t, mendOptions(t.TempDir()).WithLogger(errors))
	require.NoError(t, mendSet(db, 0, 500))
	mendFlush(t, db)
	txn := db.NewTransaction(false)
	it := txn.NewIterator(DefaultIteratorOptions)
	it.Rewind()
	require.True(t, it.Valid())
	require.NoError(t, db.DropAll())
	require.NoError(t, mendSet(db, 0, 100))
	mendFlush(t, db) // tries again each second while the name is taken
	require.Zero(t, errors.count.Load())
	it.Close()
	txn.Discard()
	mendHolds(t, db, 0, 100)
}
