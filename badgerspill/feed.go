package badgerspill

import (
	"github.com/badgerspill/badgerspill/badgerspill/internal/feed"
	"github.com/badgerspill/badgerspill/badgerspill/internal/host"
	"github.com/badgerspill/badgerspill/badgerspill/internal/notify"
	"github.com/badgerspill/badgerspill/badgerspill/internal/room"
	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/wbm"
)

// newFeed makes the feed of a database whose pipeline is made. Read-only, or without a spill, it
// has nothing to replay.
func (db *DB) newFeed() *feed.Feed {
	opt := &db.opt
	env := feed.Env{
		Badger: feedBadger{db}, Guard: feedGuard{db}, Room: feedRoom{db}, Spill: feedSpill{db},
		Pipeline: db.pipe, Interlock: db.interlock, Audience: feedAudience{db},
		Background: &db.background, Begin: db.begin,
	}
	if db.log != nil && !opt.ReadOnly {
		env.Log = db.log
	}
	return feed.New(env, feed.Options{
		Memory:      func(keyLen, valueLen int) int64 { return memoryCost(keyLen, valueLen, opt.ValueThreshold) },
		InValueLog:  func(valueLen int) bool { return int64(valueLen) >= opt.ValueThreshold || opt.VLogPercentile > 0 },
		Versions:    opt.NumVersionsToKeep,
		HighWater:   opt.Tuning.ReplayHighWater,
		MaxSpillAge: opt.Tuning.MaxSpillAge, StallThreshold: opt.StallThreshold,
	})
}

// voidPlace makes the next replay begin at the first live block. It needs no feed, since Badger may
// fail before there is one.
func (db *DB) voidPlace() {
	if db.log != nil {
		feed.VoidPlace(db.log, feedAudience{db})
	}
}

// feedBadger is Badger as the feed sees it. The engine may be another one after the feed was made:
// tests put theirs in between.
type feedBadger struct{ db *DB }

func (b feedBadger) Load(entries []spillfile.Entry) error { return b.db.engine.Load(entries) }

func (b feedBadger) Sync() error { return b.db.engine.Sync() }

func (b feedBadger) SyncDir() error { return b.db.opt.fs().SyncDir(b.db.opt.Dir) }

func (b feedBadger) Memtables() ([]int, error) { return host.MemNumbers(b.db.opt.Dir) }

// feedGuard is what is known of writes that Badger would not survive, and of what it has lost.
type feedGuard struct{ db *DB }

func (g feedGuard) Blocked() error { return g.db.guard.Blocked() }

func (g feedGuard) Pauses() error { return g.db.guard.pauses() }

func (g feedGuard) Replays(memory int64) error { return g.db.guard.replays(memory) }

func (g feedGuard) Check() error { return g.db.guard.check() }

func (g feedGuard) Lost() error {
	if err := g.db.lost.Check(); err != nil {
		return err
	}
	return g.Failed()
}

func (g feedGuard) Failed() error {
	return g.db.guard.Failed()
}

// feedRoom is the memory budget, and Badger's disk.
type feedRoom struct{ db *DB }

func (r feedRoom) Low() error { return r.db.room.Check() }

func (r feedRoom) Memory() feed.Memory {
	m := r.db.manager
	return feed.Memory{Usage: m.Usage(), SpillIndex: m.UsageByKind(wbm.SpillIndex), SoftLimit: m.SoftLimit(), Limit: m.Limit()}
}

func (r feedRoom) AskRelief() { r.db.manager.AskRelief() }

func (r feedRoom) Claim(memory, raw int64) (claim int64, err error) {
	claim = room.BadgerCost(memory, raw)
	return claim, r.db.room.ClaimBadger(claim)
}

func (r feedRoom) Settle(claim int64) { r.db.room.Settle(claim) }

func (r feedRoom) InFlight(memory int64) { r.db.account.Force(wbm.InFlight, memory) }

func (r feedRoom) Took(memory int64, newest uint64) { r.db.memtables.Answered(memory, newest) }

func (r feedRoom) Refused(memory int64) { r.db.account.Release(wbm.InFlight, memory) }

func (r feedRoom) ChunkRoom() int64 { return r.db.room.ChunkRoom() }

// feedSpill is the spill's capacity, and where commits are to go.
type feedSpill struct{ db *DB }

func (s feedSpill) Active() bool { return s.db.spill.IsActive() }

func (s feedSpill) Always() bool { return s.db.policy() == Always }

func (s feedSpill) Preferred() bool {
	db := s.db
	return db.commits != nil && db.policy() == Auto && !db.closing.Load() && db.commits.Rate() >= db.opt.Tuning.SpillRate
}

func (s feedSpill) Closing() bool { return s.db.closing.Load() }

func (s feedSpill) Capacity() int64 { return s.db.spill.Capacity() }

func (s feedSpill) Usage() int64 { return s.db.spill.Usage() }

// Full says so before the last piece is full: near the wall commits are slowed so much that they
// may not hit it for long, and they must not crawl while memory has room for replay.
func (s feedSpill) Full() bool {
	return s.db.spill.IsSpilloverFull(s.db.spillPiece(), 0) || s.db.spill.Parked() > 0
}

func (s feedSpill) Slowed() bool { return s.db.spill.Slowed() > 0 }

func (s feedSpill) Piece() int64 { return s.db.spillPiece() }

func (s feedSpill) SegmentSize() int64 { return s.db.segmentSize() }

func (s feedSpill) Refresh() { s.db.ledger.Refresh() }

// feedAudience is who is told of what replay does.
type feedAudience struct{ db *DB }

func (a feedAudience) Replayed(entries int, rawBytes int64) {
	a.db.counters.replayedBytes.Add(rawBytes)
	a.db.counters.replayedEntries.Add(int64(entries))
}

func (a feedAudience) LeftOut(entries int64) { a.db.counters.coalesced.Add(entries) }

func (a feedAudience) Loaded() { a.db.watch.wake() }

func (a feedAudience) Draining(d feed.Drain) {
	a.db.narrator.draining(DrainProgressInfo(d))
	notify.Deliver(a.db.events.Queue, a.db.events.to.DrainProgress, DrainProgressInfo(d), notify.Often)
}

func (a feedAudience) PlaceNotNoted(err error) {
	a.db.events.backgroundError("note how far replay is", err, "after a kill more of it is replayed twice; it is tried again")
}

func (a feedAudience) PlaceNotVoided(err error) {
	a.db.events.backgroundError("remove the note of how far replay is", err, "look at the disk of SpillDir")
}
