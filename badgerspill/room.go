package badgerspill

import (
	"context"

	"github.com/dgraph-io/badger/v4"

	"github.com/badgerspill/badgerspill/badgerspill/internal/room"
)

// newRoom makes the room of a database whose log is open. Badger may be opened after it; before the
// first Look it must be.
func (db *DB) newRoom() *room.Room {
	opt := &db.opt
	env := room.Env{
		Files: opt.fs(), Volume: opt.system().volume,
		Memory: db.account, Spill: db.spill, Ledger: db.ledger,
		Badger: roomBadger{db}, Replay: roomReplay{db}, Listener: roomListener{db},
		Closing: db.ctx, Background: db.inBackground, Now: db.now,
	}
	if db.log != nil {
		env.Log = db.log
	}
	return room.New(env, room.Options{
		Off:        opt.InMemory || opt.ReadOnly || opt.MinFreeSpace < 0,
		BadgerDirs: []string{opt.Dir, opt.ValueDir}, SpillDir: opt.SpillDir,
		MinFree:             opt.MinFreeSpace,
		LevelSizeMultiplier: opt.LevelSizeMultiplier,
		NumCompactors:       opt.NumCompactors,
		BaseTableSize:       opt.BaseTableSize,
	})
}

// roomBadger is Badger as room sees it.
type roomBadger struct{ db *DB }

func (b roomBadger) Levels() []badger.LevelInfo { return b.db.inner.Levels() }

func (b roomBadger) Held() error { return b.db.guard.Refresh() }

func (b roomBadger) HeldNow() error { return b.db.guard.Blocked() }

func (b roomBadger) Took(memory int64, ts uint64) { b.db.memtables.Answered(memory, ts) }

// roomReplay is replay as room sees it.
type roomReplay struct{ db *DB }

func (r roomReplay) Stopped() error {
	if stopped := r.db.health.stopped(); stopped != nil {
		return stopped
	}
	return nil
}

func (r roomReplay) Going() context.Context { return r.db.health.untilStopped.Load() }

func (r roomReplay) SegmentSize() int64 { return r.db.segmentSize() }

// roomListener tells of volumes: to health, and in the log.
type roomListener struct{ db *DB }

func (l roomListener) Low(spill bool, short *room.ShortError) {
	opt := &l.db.opt
	if !spill {
		l.db.setHealth(nil)
	}
	switch {
	case spill && short.Files:
		opt.Warningf("badgerspill: %s has inodes for %d more files, the floor is %d: the spill counts as full; have fewer files of others there\n",
			short.Dir, short.Free, short.Floor)
	case spill:
		opt.Warningf("badgerspill: %s has %v free, the floor is %v: the spill counts as full; make room, or lower MinFreeSpace\n",
			short.Dir, sizeOf(short.Free), sizeOf(short.Floor))
	case short.Files:
		opt.Warningf("badgerspill: %s has inodes for %d more files, the floor is %d: replay pauses, and commits to Badger fail with ErrNoSpace; have fewer files of others there\n",
			short.Dir, short.Free, short.Floor)
	default:
		opt.Warningf("badgerspill: %s has %v free, the floor is %v: replay pauses, and commits to Badger fail with ErrNoSpace; make room, or lower MinFreeSpace\n",
			short.Dir, sizeOf(short.Free), sizeOf(short.Floor))
	}
}

func (l roomListener) HasRoom(spill bool, dir string) {
	if spill {
		l.db.opt.Infof("badgerspill: %s has room again: the spill is used\n", dir)
		return
	}
	l.db.setHealth(nil)
	l.db.opt.Infof("badgerspill: %s has room again: replay goes on, and commits are taken\n", dir)
}
