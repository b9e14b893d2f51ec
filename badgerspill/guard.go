package badgerspill

import "github.com/badgerspill/badgerspill/badgerspill/internal/host"

// guard says whether Badger may get writes. While it may not commits go to the spill, whatever the
// tier, and fail with ErrBadgerHeld where it takes none, and replay pauses. An unfinished drop
// holds up replay and much that writes, too.
type guard struct {
	*host.Guard
	db *DB
}

func newGuard(db *DB) *guard {
	opt := &db.opt
	return &guard{db: db, Guard: host.NewGuard(host.GuardEnv{
		Off: opt.InMemory || opt.ReadOnly || opt.seams.unguarded, Dir: opt.Dir, ValueDir: opt.ValueDir, MemTableSize: opt.MemTableSize,
		Numbers: func() host.Numbers { return db.badger }, Now: db.now, DescriptorsFree: opt.system().descriptorsFree,
		Changed: db.badgerHeld,
	})}
}

// badgerHeld says that Badger is held, or, with nil, that it is not any more.
func (db *DB) badgerHeld(err error) {
	db.setHealth(nil)
	if err != nil {
		db.events.backgroundError("write to Badger", err, "replay pauses, and commits go to the spill while it has room")
		return
	}
	db.opt.Infof("badgerspill: Badger gets writes again: what was in the way is gone\n")
	db.wakeReplay()
}

// badgerFailed says that Badger has failed for good. Only the first time counts.
func (db *DB) badgerFailed(cause error) {
	if !db.guard.Fail(cause) {
		return
	}
	db.setHealth(nil)
	db.voidPlace() // what it says is in Badger may be what is lost
	db.events.backgroundError("write to Badger", db.guard.Failed(), "replay stops, and commits go to the spill while it has room")
}

// pauses is Refresh for replay.
func (g *guard) pauses() error {
	if u := g.db.unfinished.Load(); u != nil {
		return u.err
	}
	return g.Refresh()
}

// replays is pauses for a batch of so many bytes: there is a look, too, where Badger has got half a
// memtable since the last.
func (g *guard) replays(bytes int64) error {
	if g.Give(bytes) {
		return g.check()
	}
	return g.pauses()
}

// check is Look for who is about to write much, but for drops.
func (g *guard) check() error {
	if u := g.db.unfinished.Load(); u != nil {
		return u.err
	}
	return g.Look()
}
