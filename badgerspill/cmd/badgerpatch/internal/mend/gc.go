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
		anchor: "		vs, err := vlog.db.get(e.Key)\n",
		with:   "		vs, tombstone, err := vlog.db.getBelow(e.Key)\n",
	}, {
		file:   "value.go",
		anchor: "			// Ensure length and size of wb is within transaction limits.\n",
		with: `			if tombstone != nil {
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

// getBelow is get, and returns the newest version of the key, too, if that is newer and deleted or
// expired. It looks once where key is the newest version.
func (db *DB) getBelow(key []byte) (vs y.ValueStruct, tombstone *Entry, err error) {
	newest, err := db.get(y.KeyWithTs(y.ParseKey(key), math.MaxUint64))
	if err != nil || newest.Version <= y.ParseTs(key) {
		return newest, nil, err
	}
	if isDeletedOrExpired(newest.Meta, newest.ExpiresAt) {
		tombstone = &Entry{
			Key:       y.KeyWithTs(y.ParseKey(key), newest.Version),
			meta:      newest.Meta &^ (bitValuePointer | bitTxn | bitFinTxn),
			UserMeta:  newest.UserMeta,
			ExpiresAt: newest.ExpiresAt,
		}
	}
	vs, err = db.get(key)
	return vs, tombstone, err
}
`},
}
