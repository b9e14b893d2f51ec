package badgerspill

import (
	"context"

	"github.com/badgerspill/badgerspill/badgerspill/internal/pipeline"
)

// CommitContext is Commit that gives up when ctx ends while the commit still waits: for room in
// memory, in the spill or on disk, for its turn, for a hand-over, or for a subscriber. The error
// wraps that of ctx then, and nothing was written; the transaction is discarded. Once the commit
// has its place in the commit order it cannot be given up any more, or nobody would know whether it
// was written: CommitContext waits for the outcome then, as Commit, whether ctx has ended or not.
// What that may take, and the few steps before it that ctx does not interrupt (the commit lock,
// which a hand-over holds for as long as it writes, and the file system), see docs/guarantees.md,
// Waiting. Errors otherwise are those of Commit.
func (txn *Txn) CommitContext(ctx context.Context) error {
	txn.bound(ctx)
	return txn.Commit()
}

// CommitAtContext is CommitContext at commitTs. It panics if the database is not managed.
func (txn *Txn) CommitAtContext(ctx context.Context, commitTs uint64) error {
	txn.bound(ctx)
	return txn.CommitAt(commitTs, nil)
}

// ViewContext is View for which ctx bounds the wait of the first read, until all commits before the
// transaction are visible: Get returns an error that wraps that of ctx, an iterator has no items.
// The result is then that error, as it is if ctx has ended before. What fn does besides is its own
// to bound.
func (db *DB) ViewContext(ctx context.Context, fn func(txn *Txn) error) error {
	if ctx.Err() != nil {
		return pipeline.GivenUp(ctx)
	}
	return db.viewWith(ctx, fn)
}

// UpdateContext is Update with the waits of its reads bounded as by ViewContext and those of its
// commit as by CommitContext. With an error that wraps that of ctx nothing was written.
func (db *DB) UpdateContext(ctx context.Context, fn func(txn *Txn) error) error {
	if ctx.Err() != nil {
		return pipeline.GivenUp(ctx)
	}
	return db.updateWith(ctx, fn)
}
