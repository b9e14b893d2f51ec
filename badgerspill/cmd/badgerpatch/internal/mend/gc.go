package mend

var gc = Mend{
	Name:  "gc",
	Short: "value log GC that moves a value under a tombstone moves the tombstone, too: deleted keys stay deleted",
	edits: []edit{{ // GC asks for MaxVersion beside writes
		file:   "db.go",
		anchor: "		update(db.mt.maxVersion)\n",
		with:   "		update(atomic.LoadUint64(&db.mt.maxVersion))\n",
	}, {
		file:   "db.go",
		anchor: "		update(mt.maxVersion)\n",
		with:   "		update(atomic.LoadUint64(&mt.maxVersion))\n",
	}, {
		file:   "memtable.go",
		anchor: "	if ts := y.ParseTs(entry.Key); ts > mt.maxVersion {\n		mt.maxVersion = ts\n",
		with:   "	if ts := y.ParseTs(entry.Key); ts > mt.maxVersion {\n		atomic.StoreUint64(&mt.maxVersion, ts)\n",
	}, {
		file:   "value.go",
		anchor: "			// Ensure length and size of wb is within transaction limits.\n",
		with: `			tombstone, err := vlog.db.newerTombstone(e.Key)
			if err != nil {
				return err
			}
			if tombstone != nil {
				wb = append(wb, tombstone)
				size += tombstone.estimateSizeAndSetThreshold(vlog.db.valueThreshold())
			}
`,
	}},
	files: map[string]string{"badgerpatch_gc.go": `package badger

import (
	"math"

	"github.com/dgraph-io/badger/v4/y"
)

// newerTombstone returns the newest version of the key, if that is newer than key and deleted or
// expired, and nil otherwise.
func (db *DB) newerTombstone(key []byte) (*Entry, error) {
	newest, err := db.get(y.KeyWithTs(y.ParseKey(key), math.MaxUint64))
	if err != nil {
		return nil, err
	}
	if newest.Version <= y.ParseTs(key) || !isDeletedOrExpired(newest.Meta, newest.ExpiresAt) {
		return nil, nil
	}
	return &Entry{
		Key:       y.KeyWithTs(y.ParseKey(key), newest.Version),
		meta:      newest.Meta &^ (bitValuePointer | bitTxn | bitFinTxn),
		UserMeta:  newest.UserMeta,
		ExpiresAt: newest.ExpiresAt,
	}, nil
}
`},
}
