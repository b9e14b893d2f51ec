package replay

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var errDisk = errors.New("no space left on device")

const mib = 1 << 20

// fakeLog is a spill in memory that counts what is done to it.
type fakeLog struct {
	mu       sync.Mutex
	bytes    int64
	capacity int64
	full     bool
	slowed   bool
	oldest   time.Time
	// batchTime is how long Badger takes for a batch, and for its bytes if there is a speed.
	batchTime time.Duration
	speed     int64 // bytes per second
	// usage of memory in percent; replay pauses at 80, and with full at 100.
	memory int
	// fail is asked before each operation.
	fail func(op operation) error
	// late is appended just before a hand-over, one element each; refuse makes it say no
	// that often with nothing appended.
	late   []int64
	refuse int
	// empty is how many batches move nothing.
	empty int

	unsynced int64
	direct   bool

	calls      map[string]int
	replayedAt []time.Time
	asked      []int64 // how large the batches might have been
}

func newFakeLog(bytes int64) *fakeLog {
	return &fakeLog{
		bytes: bytes, capacity: 1 << 40, batchTime: time.Millisecond,
		oldest: time.Now(), calls: map[string]int{},
	}
}

func (l *fakeLog) set(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

func (l *fakeLog) count(call string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.calls[call]
}

func (l *fakeLog) pending() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bytes
}

func (l *fakeLog) isDirect() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.direct
}

func (l *fakeLog) notSynced() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.unsynced
}

func (l *fakeLog) Pending() Pending {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls["pending"]++
	return Pending{
		Bytes: l.bytes, Left: l.bytes, Fill: float64(l.bytes) / float64(l.capacity), Full: l.full, Slowed: l.slowed, Oldest: l.oldest,
	}
}

func (l *fakeLog) call(name string, op operation) error {
	l.mu.Lock()
	l.calls[name]++
	fail := l.fail
	l.mu.Unlock()
	if fail != nil {
		return fail(op)
	}
	return nil
}

func (l *fakeLog) Replay(_ context.Context, maxBytes int64) (Progress, error) {
	if err := l.call("replay", opReplay); err != nil {
		return Progress{}, err
	}
	took := l.batchTime
	l.set(func() {
		l.asked = append(l.asked, maxBytes)
		if l.speed > 0 {
			took += time.Duration(float64(min(maxBytes, l.bytes)) / float64(l.speed) * float64(time.Second))
		}
	})
	time.Sleep(took)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.replayedAt = append(l.replayedAt, time.Now())
	if l.empty > 0 {
		l.empty--
		return Progress{}, nil
	}
	n := min(maxBytes, l.bytes)
	l.bytes -= n
	l.unsynced += n
	return Progress{Bytes: n, Entries: (n + 1023) / 1024, Drained: l.bytes == 0}, nil
}

func (l *fakeLog) Checkpoint(context.Context) error {
	if err := l.call("checkpoint", opCheckpoint); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unsynced = 0
	return nil
}

func (l *fakeLog) HandOver(context.Context) (bool, error) {
	if err := l.call("handover", opHandOver); err != nil {
		return false, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refuse > 0 {
		l.refuse--
		return false, nil
	}
	if len(l.late) > 0 {
		l.bytes += l.late[0]
		l.late = l.late[1:]
	}
	l.direct = l.bytes == 0
	return l.direct, nil
}

func (l *fakeLog) MayReplay(full bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls["may"]++
	if full {
		return l.memory < 100
	}
	return l.memory < 80
}

// recorder keeps what the callbacks were told.
type recorder struct {
	mu     sync.Mutex
	begun  []Run
	ended  []Run
	steps  int
	errs   []error
	delays []time.Duration
}

func (rec *recorder) options(o Options) Options {
	o.OnBegin = func(r Run) { rec.mu.Lock(); defer rec.mu.Unlock(); rec.begun = append(rec.begun, r) }
	o.OnEnd = func(r Run) { rec.mu.Lock(); defer rec.mu.Unlock(); rec.ended = append(rec.ended, r) }
	o.OnProgress = func(Run) { rec.mu.Lock(); defer rec.mu.Unlock(); rec.steps++ }
	o.OnError = func(err error, d time.Duration) {
		rec.mu.Lock()
		defer rec.mu.Unlock()
		rec.errs, rec.delays = append(rec.errs, err), append(rec.delays, d)
	}
	return o
}

func (rec *recorder) reasons() []Reason {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	var all []Reason
	for _, r := range rec.begun {
		all = append(all, r.Reason)
	}
	return all
}

func (rec *recorder) last() Run {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return rec.ended[len(rec.ended)-1]
}

func (rec *recorder) progressed() int {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return rec.steps
}

func (rec *recorder) allDelays() []time.Duration {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return slices.Clone(rec.delays)
}

// newTest starts a replayer over the log, inside a synctest bubble.
func newTest(t *testing.T, l *fakeLog, o Options) (*Replayer, *recorder) {
	t.Helper()
	rec := &recorder{}
	o.Log = l
	if o.Rate == nil {
		o.Rate = NewRateDetector(RateOptions{QuietRate: 1000})
	}
	r := New(rec.options(o))
	r.Start()
	t.Cleanup(func() {
		r.Stop()
		require.Equal(t, Stopped, r.State())
		require.Len(t, rec.ended, len(rec.begun), "each begin has an end")
	})
	return r, rec
}

// burst writes at ten times the quiet rate of newTest until it is stopped.
func burst(d *RateDetector) (stop func()) { return write(d, 10*d.QuietRate()) }

// write writes at a constant rate until it is stopped.
func write(d *RateDetector, bytesPerSecond float64) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				d.Add(int64(bytesPerSecond * 0.005))
			case <-quit:
				return
			}
		}
	}()
	return func() { close(quit); <-done }
}
