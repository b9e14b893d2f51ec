package badgerspill

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/internal/pipeline"
)

// measured commits one key and returns where the time went.
func measured(db *DB, key, value string) (s CommitStats, err error) {
	txn := db.NewTransaction(true)
	defer txn.Discard()
	txn.Measure(&s)
	if err := txn.Set([]byte(key), []byte(value)); err != nil {
		return s, err
	}
	return s, txn.Commit()
}

func sumOf(s CommitStats) time.Duration {
	return s.Conflict + s.Room + s.Encode + s.Queue + s.Append + s.Sync + s.Badger + s.Visible
}

type measuredCommit struct {
	CommitStats
	err error
}

func (f *fixture) measureAsync(key string) <-chan measuredCommit {
	return async(func() measuredCommit {
		s, err := measured(f.DB, key, "v")
		return measuredCommit{s, err}
	})
}

// TestCommitStats: for each way of a commit the parts that belong to it, and no others. A step that
// the test holds up for 20 ms shows that its part is the right one.
func TestCommitStats(t *testing.T) {
	const held = 20 * time.Millisecond
	type parts = func(s CommitStats) (long time.Duration, none []time.Duration)
	slowWrite := func(f *fixture) {
		f.hooks.set(func(op, path string) error {
			if op == "write" && isSegment(path) {
				<-time.After(held)
			}
			return nil
		})
	}
	for _, row := range []struct {
		name   string
		open   func(*Options)
		commit func(f *fixture) <-chan measuredCommit
		by     CommitAnswer
		hedged bool
		fails  error
		parts  parts
	}{
		{"to Badger", func(*Options) {}, func(f *fixture) <-chan measuredCommit {
			f.stub.hold()
			c := f.measureAsync("k")
			eventually(f.t, "sent", func() bool { return f.stub.waiting() == 1 })
			<-time.After(held)
			f.stub.release()
			return c
		}, AnsweredByBadger, false, nil, func(s CommitStats) (time.Duration, []time.Duration) {
			return s.Badger, []time.Duration{s.Queue, s.Append, s.Sync}
		}},
		{"to the spill", func(*Options) {}, func(f *fixture) <-chan measuredCommit {
			f.spillOne("before", "v")
			slowWrite(f)
			return f.measureAsync("k")
		}, AnsweredBySpill, false, nil, func(s CommitStats) (time.Duration, []time.Duration) {
			return s.Append, []time.Duration{s.Badger, s.Sync}
		}},
		{"to the spill, synced", func(opt *Options) { opt.SyncWrites = true }, func(f *fixture) <-chan measuredCommit {
			f.spillOne("before", "v")
			f.hooks.set(func(op, path string) error {
				if op == "sync" && isSegment(path) {
					<-time.After(held)
				}
				return nil
			})
			return f.measureAsync("k")
		}, AnsweredBySpill, false, nil, func(s CommitStats) (time.Duration, []time.Duration) {
			return s.Sync, []time.Duration{s.Badger}
		}},
		{"in the log's queue", func(*Options) {}, func(f *fixture) <-chan measuredCommit {
			f.spillOne("before", "v")
			slowWrite(f)
			first := f.putAsync("first", "v")
			eventually(f.t, "it leads", func() bool { return f.log.State().Queued == 1 })
			c := f.measureAsync("k")
			require.NoError(f.t, receive(f.t, "first", first))
			return c
		}, AnsweredBySpill, false, nil, func(s CommitStats) (time.Duration, []time.Duration) {
			return 2 * (s.Queue + s.Append), []time.Duration{s.Badger, s.Sync}
		}},
		{"hedged, the spill is first", func(opt *Options) { opt.StallThreshold = held }, func(f *fixture) <-chan measuredCommit {
			f.stub.hold()
			return f.measureAsync("k")
		}, AnsweredBySpill, true, nil, func(s CommitStats) (time.Duration, []time.Duration) {
			require.Positive(t, s.Append)
			return s.Badger, []time.Duration{s.Sync}
		}},
		{"hedged, Badger is first", func(opt *Options) { opt.StallThreshold = time.Millisecond }, func(f *fixture) <-chan measuredCommit {
			f.stub.hold()
			openingEnded := make(chan struct{})
			f.hooks.set(func(op, path string) error {
				if op == "write" && isSegment(path) {
					<-openingEnded
				}
				return nil
			})
			f.t.Cleanup(func() { close(openingEnded) })
			c := f.measureAsync("k")
			eventually(f.t, "hedged", func() bool { return f.log.State().Queued == 1 })
			<-time.After(held)
			f.stub.release()
			return c
		}, AnsweredByBadger, true, nil, func(s CommitStats) (time.Duration, []time.Duration) {
			return s.Badger, []time.Duration{s.Queue, s.Append, s.Sync}
		}},
		{"the spill fails, to Badger after all", func(*Options) {}, func(f *fixture) <-chan measuredCommit {
			f.hooks.set(failSegmentWrites)
			f.occupy(f.share(0.95))
			f.stub.hold()
			c := f.measureAsync("k")
			eventually(f.t, "sent", func() bool { return f.stub.waiting() == 1 })
			<-time.After(held)
			f.stub.release()
			return c
		}, AnsweredByBadger, false, nil, func(s CommitStats) (time.Duration, []time.Duration) {
			require.Positive(t, s.Queue)
			return s.Badger, []time.Duration{s.Sync}
		}},
		{"waits for room", func(opt *Options) { noSpill(opt) }, func(f *fixture) <-chan measuredCommit {
			free := f.occupy(f.manager.Limit())
			c := f.measureAsync("k")
			eventually(f.t, "parked", f.parked)
			<-time.After(held)
			free()
			return c
		}, AnsweredByBadger, false, nil, func(s CommitStats) (time.Duration, []time.Duration) {
			return s.Room, []time.Duration{s.Queue, s.Append, s.Sync}
		}},
		{"no room", func(opt *Options) { noSpill(opt); opt.BlockTimeout = held }, func(f *fixture) <-chan measuredCommit {
			f.occupy(f.manager.Limit())
			return f.measureAsync("k")
		}, AnsweredByNobody, false, ErrWriteBlocked, func(s CommitStats) (time.Duration, []time.Duration) {
			return s.Room, []time.Duration{s.Encode, s.Queue, s.Append, s.Sync, s.Badger, s.Visible}
		}},
		{"earlier commits are not visible yet", func(*Options) {}, func(f *fixture) <-chan measuredCommit {
			f.stub.holdAnswers()
			first := f.putAsync("first", "v")
			eventually(f.t, "sent", func() bool { return f.stub.waiting() == 1 })
			c := f.measureAsync("k")
			eventually(f.t, "sent", func() bool { return f.stub.waiting() == 2 })
			f.stub.answerOne(1)
			<-time.After(held)
			f.stub.release()
			require.NoError(f.t, receive(f.t, "first", first))
			return c
		}, AnsweredByBadger, false, nil, func(s CommitStats) (time.Duration, []time.Duration) {
			return s.Visible, []time.Duration{s.Queue, s.Append, s.Sync}
		}},
		{"Badger refuses", func(*Options) {}, func(f *fixture) <-chan measuredCommit {
			f.stub.set(func() { f.stub.mu.failSend = func(*pipeline.Commit) error { <-time.After(held); return errTest } })
			return f.measureAsync("k")
		}, AnsweredByNobody, false, errTest, func(s CommitStats) (time.Duration, []time.Duration) {
			return s.Conflict + s.Badger + s.Visible, []time.Duration{s.Queue, s.Append, s.Sync}
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := open(t, row.open)
			begun := time.Now()
			got := receive(t, "the commit", row.commit(f))
			took := time.Since(begun)
			require.ErrorIs(t, got.err, row.fails)
			require.Equal(t, row.by, got.AnsweredBy, "by %v", got.AnsweredBy)
			require.Equal(t, row.hedged, got.Hedged)
			require.Equal(t, got.Total, sumOf(got.CommitStats), "%+v", got.CommitStats)
			require.Positive(t, got.Total)
			require.LessOrEqual(t, got.Total, took)
			long, none := row.parts(got.CommitStats)
			require.GreaterOrEqual(t, long, held*9/10, "%+v", got.CommitStats)
			for i, d := range none {
				require.Zero(t, d, "part %d of those that it has not: %+v", i, got.CommitStats)
			}
		})
	}
}

func TestCommitStatsOfAConflict(t *testing.T) {
	f := open(t)
	txn := f.NewTransaction(true)
	defer txn.Discard()
	_, err := txn.Get([]byte("k"))
	require.ErrorIs(t, err, ErrKeyNotFound)
	f.put("k", "v")
	require.NoError(t, txn.Set([]byte("k"), []byte("w")))
	var s CommitStats
	txn.Measure(&s)
	require.ErrorIs(t, txn.Commit(), ErrConflict)
	require.Positive(t, s.Conflict)
	require.Equal(t, s.Total, sumOf(s))
	require.Equal(t, AnsweredByNobody, s.AnsweredBy)
}

func TestCommitStatsOfCommitWith(t *testing.T) {
	f := open(t)
	var s CommitStats
	txn := f.NewTransaction(true)
	require.NoError(t, txn.Set([]byte("k"), []byte("v")))
	txn.Measure(&s)
	done := make(chan CommitStats, 1)
	txn.CommitWith(func(error) { done <- s })
	got := receive(t, "the callback", done)
	require.Equal(t, got.Total, sumOf(got))
	require.Equal(t, AnsweredByBadger, got.AnsweredBy)
	require.Equal(t, "badger", got.AnsweredBy.String())

	s.Total = time.Hour
	txn = f.NewTransaction(true)
	txn.Measure(&s)
	require.NoError(t, txn.Commit()) // nothing to commit
	require.Equal(t, CommitStats{}, s)
}

// TestUnmeasuredCommitIsFree: without Measure nothing on the way of a commit, of either kind, is
// there to take a time; what only a measured commit has costs allocations that the other does not
// have.
func TestUnmeasuredCommitIsFree(t *testing.T) {
	f := open(t)
	commit := func(s *CommitStats) {
		txn := f.NewTransaction(true)
		defer txn.Discard()
		txn.Measure(s)
		require.NoError(t, txn.Set([]byte("k"), []byte("v")))
		require.NoError(t, txn.Commit())
	}
	f.spillOne("k", "v")
	var s CommitStats
	off := testing.AllocsPerRun(200, func() { commit(nil) })
	on := testing.AllocsPerRun(200, func() { commit(&s) })
	require.GreaterOrEqual(t, on, off+2, "a trace, and times of the batch")
	require.Equal(t, AnsweredBySpill, s.AnsweredBy)
}

// BenchmarkMeasuredCommit compares commits that are measured with those that are not, to Badger and
// to the spill.
func BenchmarkMeasuredCommit(b *testing.B) {
	for _, way := range []SpillPolicy{Auto, Always} {
		for _, measure := range []bool{false, true} {
			name := way.String() + "/off"
			if measure {
				name = way.String() + "/on"
			}
			b.Run(name, func(b *testing.B) {
				opt := testOptions(b.TempDir())
				opt.SpillPolicy = way
				db, err := Open(opt)
				require.NoError(b, err)
				defer db.Close()
				key, value := []byte("key"), make([]byte, 100)
				var s CommitStats
				b.ReportAllocs()
				for b.Loop() {
					txn := db.NewTransaction(true)
					if measure {
						txn.Measure(&s)
					}
					if err := txn.Set(key, value); err != nil {
						b.Fatal(err)
					}
					if err := txn.Commit(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// TestCommitStatsAfterCommitWith: what was asked for is fixed when CommitWith is called. The
// transaction is the caller's again when it returns, before the outcome is known.
func TestCommitStatsAfterCommitWith(t *testing.T) {
	f := open(t)
	f.stub.hold()
	var asked, other CommitStats
	txn := f.NewTransaction(true)
	txn.Measure(&asked)
	require.NoError(t, txn.Set([]byte("k"), []byte("v")))
	done := make(chan error, 1)
	txn.CommitWith(func(err error) { done <- err })
	txn.Measure(&other)
	f.stub.release()
	require.NoError(t, <-done)
	require.Equal(t, AnsweredByBadger, asked.AnsweredBy)
	require.Zero(t, other)
}
