package badgerspill

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/badgerspill/badgerspill/badgerspill/internal/notify"
	"github.com/badgerspill/badgerspill/spillfile"
)

// progressInterval is how often progress is told at most, in nanoseconds.
const progressInterval = int64(100 * time.Millisecond)

// OpenPhase is what Open is doing.
type OpenPhase int

// The phases, in their order.
const (
	// the spill is read: the last segment, and those without an intact index file
	OpenSpill  OpenPhase = iota
	OpenBadger           // Badger opens, and replays its own logs
	// what Badger holds is compared with the spill, since the interlock was missing
	OpenCompare
)

// String returns the name of the phase.
func (p OpenPhase) String() string {
	switch p {
	case OpenSpill:
		return "spill"
	case OpenBadger:
		return "badger"
	case OpenCompare:
		return "compare"
	}
	return fmt.Sprintf("phase(%d)", int(p))
}

// OpenProgressInfo belongs to EventListener.OpenProgress.
type OpenProgressInfo struct {
	Phase OpenPhase // what Open is doing
	// done so far: of the spill's segments, or of the entries compared. 0 for Badger, which does
	// not tell
	Bytes      int64
	TotalBytes int64         // 0 = not known
	Commits    int64         // found in the spill so far that are not replayed
	Duration   time.Duration // of the phase so far
	Done       bool          // the phase is over
}

// Rate returns bytes per second, 0 if none were done.
func (i OpenProgressInfo) Rate() float64 { return rateOf(i.Bytes, i.Duration) }

// DrainProgressInfo belongs to EventListener.DrainProgress. Callers of Drain at the same time share
// one drain: it began with the first of them.
type DrainProgressInfo struct {
	// of the spill's segments, on disk, that are in Badger or need not be
	Bytes        int64
	TotalBytes   int64         // with those that are left, and those that came meanwhile
	Commits      int64         // all of which is in Badger; those of a chunk count when it is done
	TotalCommits int64         // with those that are left, and those that came meanwhile
	Duration     time.Duration // since the drain began
	Done         bool          // nothing is left
}

// Rate returns bytes per second, 0 if none were done.
func (i DrainProgressInfo) Rate() float64 { return rateOf(i.Bytes, i.Duration) }

// TimeLeft returns how long the rest takes at the rate so far, 0 if that is not known.
func (i DrainProgressInfo) TimeLeft() time.Duration {
	rate := i.Rate()
	if rate == 0 {
		return 0
	}
	return time.Duration(float64(i.TotalBytes-i.Bytes) / rate * float64(time.Second))
}

func rateOf(bytes int64, d time.Duration) float64 {
	if bytes <= 0 || d <= 0 {
		return 0
	}
	return float64(bytes) / d.Seconds()
}

// opening is what Open keeps while it runs.
type opening struct {
	ctx    context.Context
	told   OpenProgressInfo
	begun  int64 // the phase
	toldAt int64
}

// OpenContext is Open that gives up when ctx ends: while it reads the spill, before it opens Badger
// if the spill holds commits, and while it compares the two. The error wraps that of ctx then, all
// locks are released, no goroutine is left, and the directory holds what it held. Nothing is
// changed at all while the spill is read. After that a torn tail may be cut off and index files may
// be made, as by any Open. Opening Badger itself is not interrupted; when that is the last that is
// to be done, OpenContext succeeds although ctx has ended. Progress is told by
// EventListener.OpenProgress.
func OpenContext(ctx context.Context, opt Options) (*DB, error) { return openContext(ctx, opt) }

// OpenManagedContext is OpenContext for a database whose timestamps are the caller's, as
// OpenManaged.
func OpenManagedContext(ctx context.Context, opt Options) (*DB, error) {
	opt.managed = true
	return openContext(ctx, opt)
}

// openingEnded returns an error once Open is to be given up.
func (db *DB) openingEnded() error {
	if err := db.opening.ctx.Err(); err != nil {
		return fmt.Errorf("badgerspill: Open of %s given up: %w", db.opt.Dir, err)
	}
	return nil
}

// phase begins a phase of Open.
func (db *DB) phase(p OpenPhase) {
	db.opening.begun = db.now()
	db.opening.told = OpenProgressInfo{Phase: p}
	db.tellOpen()
}

// phaseDone ends it.
func (db *DB) phaseDone() {
	db.opening.told.Done = true
	db.tellOpen()
}

func (db *DB) tellOpen() {
	o := &db.opening
	o.toldAt = db.now()
	o.told.Duration = time.Duration(o.toldAt - o.begun)
	notify.Deliver(db.events.Queue, db.events.to.OpenProgress, o.told, notify.Often)
}

func (db *DB) tellOpenSoon() {
	if db.now()-db.opening.toldAt >= progressInterval {
		db.tellOpen()
	}
}

func (db *DB) recovered(p spillfile.RecoveryProgress) {
	t := &db.opening.told
	t.Bytes, t.TotalBytes, t.Commits = p.Bytes, p.TotalBytes, p.Commits
	db.tellOpenSoon()
}

func (db *DB) drain(ctx context.Context) error {
	if db.replayer == nil {
		return nil
	}
	defer db.feed.BeginDrain()()
	return db.replayer.Drain(ctx)
}

// CloseContext is Close that gives up replaying the spill, and waiting for a callback of Subscribe,
// when ctx ends. The database is closed nevertheless, and everything acknowledged is kept: the
// spill stays for the next Open, and the error, which wraps that of ctx, says so. It does not
// interrupt waiting for the commits on their way, nor closing Badger, which writes out its
// memtables. Only the first call of Close or CloseContext does anything. Progress of the replay is
// told by EventListener.DrainProgress.
func (db *DB) CloseContext(ctx context.Context) error {
	var err error
	db.closeOnce.Do(func() { err = db.close(ctx) })
	return err
}

// drainToClose is Close's drain.
func (db *DB) drainToClose(ctx context.Context) error {
	err := ctx.Err()
	if err == nil {
		err = db.drainNow(ctx, nil)
	}
	if err == nil {
		return nil
	}
	if ctx.Err() != nil && !errors.Is(err, ctx.Err()) { // its cause
		err = fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return fmt.Errorf("badgerspill: the spill was not drained and stays for the next Open: %w", err)
}
