package badgerspill

import "github.com/badgerspill/badgerspill/badgerspill/internal/feed"

// relieve is the budget manager's request for memory: the soft limit's flush, of Badger's memtables
// and of the spill's index. It never blocks.
func (db *DB) relieve() {
	db.memtables.AskRelief()
	db.watch.hurry()
	if db.log != nil {
		db.log.Relieve()
	}
	db.wakeReplay()
}

// sealMemtable makes Badger seal its active memtable, in the background, unless that is under way.
func (db *DB) sealMemtable() {
	if !db.sealing.CompareAndSwap(false, true) {
		return
	}
	db.inBackground(func() {
		defer db.sealing.Store(false)
		_ = db.feed.Exclusively(db.sealNow)
	})
}

// sealNow fills the active memtable's log. Without room for that, the bytes stay where they are.
func (db *DB) sealNow(*feed.Exclusive) error {
	size := db.opt.MemTableSize
	if db.guard.check() != nil || db.room.ClaimBadger(size) != nil {
		return nil
	}
	defer db.room.Settle(size)
	if err := db.engine.Seal(); err != nil && !db.closing.Load() {
		db.events.backgroundError("seal Badger's memtable", err, "it is tried again while memory is short")
	}
	db.watch.hurry()
	return nil
}
