package badgerspill

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// DefaultSpillVerifyRate is how fast VerifySpill reads, in bytes a second, without
// Tuning.SpillVerifyRate.
const DefaultSpillVerifyRate int64 = 64 << 20

const (
	// spillVerifyPause is how long the background waits between two looks for segments that it has
	// not read.
	spillVerifyPause = time.Minute
	// spillVerifyAgain is after how long it reads one again.
	spillVerifyAgain = 24 * time.Hour
)

// VerifySpill reads all of the spill that is not replayed, with its indexes, and checks it, at
// Tuning.SpillVerifyRate bytes a second at most, 64 MiB without that. It disturbs nobody: commits,
// reads and replay go on, and it holds one segment at a time. What is replayed meanwhile is left
// out. A damaged index is made again.
//
// It returns nil if all is sound or there is no spill. Otherwise the error matches ErrCorrupt and
// has a *spillfile.CorruptError for each damaged place, with file and offset, in the order of the
// log (errors.Join). Other errors are that of ctx, those of a file that cannot be read, and
// ErrDBClosed. It blocks for the disk and the rate, and is safe for concurrent use.
func (db *DB) VerifySpill(ctx context.Context) error {
	if db.isClosed.Load() {
		return ErrDBClosed
	}
	if db.log == nil {
		return nil
	}
	rate := db.opt.Tuning.SpillVerifyRate
	if rate <= 0 {
		rate = DefaultSpillVerifyRate
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(db.ctx, func() { cancel(ErrDBClosed) })()
	return db.verifySpill(ctx, rate, 0)
}

func (db *DB) verifySpill(ctx context.Context, rate int64, since time.Duration) error {
	damage, err := db.log.VerifyOpen(ctx, rate, since)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	var errs []error
	for _, d := range damage {
		errs = append(errs, d)
	}
	if err != nil {
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("badgerspill: %w", errors.Join(errs...))
}

// verifyInBackground reads each segment once it is sealed, and again after a day, so that damage is
// found before replay needs the block.
func (db *DB) verifyInBackground() {
	again(db.ctx, spillVerifyPause, func() { db.verifyAndTell(spillVerifyAgain) })
}

func (db *DB) verifyAndTell(since time.Duration) {
	err := db.verifySpill(db.ctx, db.opt.Tuning.SpillVerifyRate, since)
	if err != nil && db.ctx.Err() == nil {
		db.events.backgroundError("verify the spill", err, "\"badgerspill verify\" names all of the damage")
	}
}

// again calls do until ctx ends, each time a pause after the last one has returned.
func again(ctx context.Context, pause time.Duration, do func()) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		do()
		timer.Reset(pause)
	}
}
