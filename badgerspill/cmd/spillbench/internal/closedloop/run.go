package closedloop

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/openloop"
)

// Config says what to write. Write i puts the value of slot Value(i) of the workload at the key of
// slot Key(i).
type Config struct {
	Workload   *openloop.Workload
	Key, Value func(i int64) int64
	Writes     int64         // how many; 0 = as many as fit into For
	For        time.Duration // no write is taken later; 0 = until Writes are done
	Writers    int
	// Record keeps when each of Writes began and was acknowledged, 16 bytes a write, for Verify.
	Record bool
}

// Unique returns a Config that writes slots first to first+n-1, each with its own value.
func Unique(w *openloop.Workload, first, n int64, writers int) Config {
	slot := func(i int64) int64 { return first + i }
	return Config{Workload: w, Key: slot, Value: slot, Writes: n, Writers: writers}
}

// Run is one pass. Do may be called once, Done at any time by anyone, Verify after Do has returned
// nil.
type Run struct {
	cfg  Config
	next atomic.Int64
	done atomic.Int64

	// Since the begin of Do. One element a write, written only by the writer that took it.
	began, acked []time.Duration
}

// NewRun prepares a run.
func NewRun(cfg Config) *Run {
	r := &Run{cfg: cfg}
	if cfg.Record {
		r.began = make([]time.Duration, cfg.Writes)
		r.acked = make([]time.Duration, cfg.Writes)
	}
	return r
}

// Done returns how many writes are acknowledged: after Do has returned nil these are writes 0 to
// Done-1.
func (r *Run) Done() int64 { return r.done.Load() }

// Do makes the writes. newWriter is called once for each writer, for the kind of function that
// openloop.Run.Do takes. Do blocks until all writes are acknowledged and returns nil, or until the
// writers have noticed the first error of a write or that ctx has ended, and returns that.
func (r *Run) Do(ctx context.Context, newWriter func() func(key, value []byte) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	start := time.Now()
	var writers sync.WaitGroup
	for range r.cfg.Writers {
		write := newWriter()
		writers.Go(func() {
			if err := r.writer(ctx, start, write); err != nil {
				cancel(err)
			}
		})
	}
	writers.Wait()
	return context.Cause(ctx)
}

func (r *Run) writer(ctx context.Context, start time.Time, write func(key, value []byte) error) error {
	c := &r.cfg
	writes := c.Writes
	if writes == 0 {
		writes = math.MaxInt64
	}
	var key, value []byte
	for ctx.Err() == nil && (c.For == 0 || time.Since(start) < c.For) {
		i := r.next.Add(1) - 1
		if i >= writes {
			break
		}
		key = c.Workload.AppendKey(key[:0], c.Key(i))
		value = c.Workload.AppendValue(value[:0], c.Value(i))
		began := time.Since(start)
		if err := write(key, value); err != nil {
			return err
		}
		if r.acked != nil {
			r.began[i], r.acked[i] = began, time.Since(start)
		}
		r.done.Add(1)
	}
	return nil
}
