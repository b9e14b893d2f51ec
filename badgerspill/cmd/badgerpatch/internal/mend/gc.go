package mend

var gc = Mend{
	Name:  "gc",
	Short: "value log GC that moves a value under a tombstone moves the tombstone with it",
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
		with: `			movedKeys = append(movedKeys, ne.Key)
			if tombstone != nil { // in one request, so in one memtable
				return vlog.db.batchSet([]*Entry{tombstone, ne})
			}
`,
	}, {
		file:   "value.go",
		anchor: "	var count, moved int\n",
		with:   "	var count, moved int\n	var movedKeys [][]byte\n",
	}, {
		file:   "value.go",
		anchor: "	vlog.opt.Infof(\"Processed %d entries in %d loops\", len(wb), loops)\n",
		with: `	if err := vlog.db.coverMoved(movedKeys); err != nil {
		return err
	}
	vlog.opt.Infof("Processed %d entries in %d loops", len(wb), loops)
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
	vs, err = db.get(key)
	return vs, tombstoneOf(key, newest), err
}

// tombstoneOf returns the newest version of a key as an entry, nil if it is not deleted or expired.
func tombstoneOf(key []byte, newest y.ValueStruct) *Entry {
	if !isDeletedOrExpired(newest.Meta, newest.ExpiresAt) {
		return nil
	}
	return &Entry{
		Key:       y.KeyWithTs(y.ParseKey(key), newest.Version),
		meta:      newest.Meta &^ (bitValuePointer | bitTxn | bitFinTxn),
		UserMeta:  newest.UserMeta,
		ExpiresAt: newest.ExpiresAt,
	}
}

// coverMoved writes the tombstones again of keys that were deleted after GC had looked at them: they
// may lie below what it has written since. Those that come later do not.
func (db *DB) coverMoved(keys [][]byte) error {
	if db.MaxVersion() <= db.gcDiscardTs.Load() { // nothing was written meanwhile
		return nil
	}
	var tombstones []*Entry
	for i, key := range keys {
		newest, err := db.get(y.KeyWithTs(y.ParseKey(key), math.MaxUint64))
		if err != nil {
			return err
		}
		if newest.Version > y.ParseTs(key) {
			if t := tombstoneOf(key, newest); t != nil {
				tombstones = append(tombstones, t)
			}
		}
		if len(tombstones) > 0 && (len(tombstones) == 16 || i == len(keys)-1) {
			if err := db.batchSet(tombstones); err != nil {
				return err
			}
			tombstones = nil
		}
	}
	return nil
}
`},
}
