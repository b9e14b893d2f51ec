package badgerspill

import (
	"errors"
	"time"

	"github.com/badgerspill/badgerspill/badgerspill/internal/pipeline"
	"github.com/badgerspill/badgerspill/spillfile"
)

// RouterState is where commits go.
type RouterState int32

// The states; internal/pipeline has the transitions, in router.go.
const (
	// Direct: the spill is empty, commits go to Badger.
	Direct = RouterState(pipeline.Direct)
	// Spilling: the spill holds commits, or is about to; commits are appended to it.
	Spilling = RouterState(pipeline.Spilling)
)

// String returns the name of the state.
func (s RouterState) String() string {
	if s == Direct {
		return "direct"
	}
	return "spilling"
}

func (db *DB) routerState() RouterState { return RouterState(db.pipe.State()) }

// newPipeline makes the pipeline of a database whose Badger and log are open. last is the highest
// timestamp of both, and replayFirst what must be replayed before Badger may discard anything.
func (db *DB) newPipeline(last, replayFirst uint64) *pipeline.Pipeline {
	env := pipeline.Env{
		Badger: pipelineBadger{db}, Room: db.room, Audience: pipelineAudience{db},
		Closing: db.ctx, Background: &db.background, Begin: db.begin,
	}
	if db.log != nil {
		env.Log = db.log
	}
	return pipeline.New(env, pipeline.Options{
		Managed: db.opt.managed, DetectConflicts: db.opt.DetectConflicts, Always: db.policy() == Always,
		LastTs: last, ReplayFirst: replayFirst,
		StallThreshold: db.opt.StallThreshold,
		Memory:         func(keyLen, valueLen int) int64 { return memoryCost(keyLen, valueLen, db.opt.ValueThreshold) },
	})
}

// submit gives the transaction its place in the commit order and sends it on its way. It may block
// for room, as long as the transaction's context and BlockTimeout allow.
func (db *DB) submit(txn *Txn) (*pipeline.Commit, error) {
	m := txn.measured()
	m.start()
	if txn.numIterators.Load() == 0 { // else Discard panics
		txn.releaseViews()
	}
	c := db.pipe.NewCommit(txn.writes.len(), txn.commitTs, txn.load, m.times())
	for e := range txn.writes.all() {
		db.pipe.Add(c, spillfile.Entry{Key: e.Key, Value: e.Value, Version: e.version, ExpiresAt: e.ExpiresAt,
			Meta: e.meta, UserMeta: e.UserMeta})
	}
	if err := db.pipe.Submit(txn.context(), db.opt.BlockTimeout, &txn.snap, c); err != nil {
		if errors.Is(err, ErrNoSpace) {
			db.counters.noSpace.Add(1)
		}
		m.done()
		return nil, err
	}
	db.rate.Add(c.Memory)
	if db.commits != nil && db.policy() == Auto {
		db.commits.Add(1)
	}
	return c, nil
}

// await waits until c, which m measures, is acknowledged. The transaction may be its owner's again:
// see CommitWith.
func (db *DB) await(c *pipeline.Commit, m *measure) error {
	err := db.pipe.Await(c)
	m.done()
	return err
}

// pipelineBadger is Badger as the pipeline sees it. The engine may be another one after the
// pipeline was made: tests put theirs in between.
type pipelineBadger struct{ db *DB }

func (b pipelineBadger) Prepare(c *pipeline.Commit) error { return b.db.engine.Prepare(c) }

func (b pipelineBadger) Send(c *pipeline.Commit, answer func(error)) { b.db.engine.Send(c, answer) }

func (b pipelineBadger) SetDiscardTs(ts uint64) { b.db.inner.SetDiscardTs(ts) }

// pipelineAudience is who is told of what happens to commits.
type pipelineAudience struct{ db *DB }

func (a pipelineAudience) Throttle(w *pipeline.Wait) error { return a.db.publisher.throttle(w) }

func (a pipelineAudience) Match(c *pipeline.Commit) { a.db.publisher.match(c) }

func (a pipelineAudience) Matches() uint64 { return a.db.publisher.added.Load() }

func (a pipelineAudience) Deliver(c *pipeline.Commit) { a.db.publisher.deliver(c) }

func (a pipelineAudience) TurnedToSpill(cause pipeline.Cause, hedged int) {
	a.db.wakeReplay() // the first append does so, too, but there may be none
	a.db.narrator.turned(SpillCause(cause))
	a.db.events.spillBegin(SpillCause(cause), hedged)
}

func (a pipelineAudience) TurnedToBadger(t pipeline.Turn) {
	a.db.narrator.turnedBack(HandOverInfo(t))
	a.db.events.handOver(HandOverInfo(t))
}

func (a pipelineAudience) StallBegan(s *pipeline.Stall) { a.db.events.stallBegin(s) }

func (a pipelineAudience) StallEnded(s *pipeline.Stall) { a.db.events.stallEnd(s) }

func (a pipelineAudience) StallCause() int { return int(a.db.memtables.StallCause()) }

func (a pipelineAudience) InFlight() { a.db.watch.wake() }

func (a pipelineAudience) Appended(took time.Duration, err error) {
	if err == nil {
		a.db.spill.RecordAppend(took)
	}
	a.db.strain.Commit(took)
}

func (a pipelineAudience) GivenUp() {
	a.db.inBackground(func() {
		if err := a.db.interlock.Drop(); err != nil {
			a.db.events.backgroundError("remove the interlock", err, "plain Badger refuses to open Dir until it is gone; it is tried again when the spill is empty next")
		}
	})
}

func (a pipelineAudience) AppendFailed(err error) {
	a.db.events.backgroundError("append to the spill", err, "commits go to Badger while nothing else is spilled, else they fail until SpillDir can be written")
}

func (a pipelineAudience) DiscardEnded() { a.db.watch.hurry() }
