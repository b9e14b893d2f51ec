package burst

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/engine"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/openloop"
)

// fakeEngine keeps its data in a map that outlives it, takes a millisecond for a write, and
// pretends to spill in the times between spillFrom and spillTo after it was opened.
type fakeEngine struct {
	disk               *fakeDisk
	opened             time.Time
	layered            bool
	spillFrom, spillTo time.Duration
	blockedPerSecond   int64
	replays            []fakeReplay // in order
	drained            atomic.Bool
	writeErr           error
}

// fakeReplay is a run of replay that begins some time after the engine was opened.
type fakeReplay struct {
	at time.Duration
	by string
}

type fakeDisk struct {
	mu     sync.Mutex
	data   map[string][]byte
	opened []engine.Options
}

func newFakeDisk() *fakeDisk { return &fakeDisk{data: map[string][]byte{}} }

// opener opens engines on the disk, after set has changed them.
func (d *fakeDisk) opener(set func(*fakeEngine)) OpenFunc {
	return func(name, _ string, opt engine.Options) (Engine, error) {
		d.opened = append(d.opened, opt)
		e := &fakeEngine{disk: d, opened: time.Now(), layered: name == Badgerspill}
		if set != nil {
			set(e)
		}
		return e, nil
	}
}

func (e *fakeEngine) Writer() func(key, value []byte) error {
	return func(key, value []byte) error {
		time.Sleep(time.Millisecond)
		if e.writeErr != nil {
			return e.writeErr
		}
		e.disk.mu.Lock()
		defer e.disk.mu.Unlock()
		e.disk.data[string(key)] = append([]byte(nil), value...)
		return nil
	}
}

func (e *fakeEngine) Get(key, dst []byte) ([]byte, error) {
	e.disk.mu.Lock()
	defer e.disk.mu.Unlock()
	value, ok := e.disk.data[string(key)]
	if !ok {
		return dst, openloop.ErrNotFound
	}
	return append(dst, value...), nil
}

func (e *fakeEngine) Scan(visit func(key, value []byte) bool) error {
	for _, key := range slices.Sorted(maps.Keys(e.disk.data)) {
		if !visit([]byte(key), e.disk.data[key]) {
			break
		}
	}
	return nil
}

func (e *fakeEngine) Layer() *engine.Layer {
	if !e.layered {
		return nil
	}
	l := &engine.Layer{State: "direct", Tier: "normal", TiersEntered: []engine.TierEntered{{Tier: "normal", Times: 0}, {Tier: "spill", Times: 1}}}
	if since := time.Since(e.opened); since >= e.spillFrom && since < e.spillTo && !e.drained.Load() {
		l.State, l.SpillPending, l.SpillBytes = "spilling", 7, 700
	}
	// 100 commits a second that go where the others go.
	at := int64(time.Since(e.opened) / time.Millisecond)
	from, to := min(at, int64(e.spillFrom/time.Millisecond)), min(at, int64(e.spillTo/time.Millisecond))
	l.CommitsHedged = min(1, (to-from)/10)
	l.CommitsSpilled = (to-from)/10 - l.CommitsHedged
	l.CommitsDirect = (at - (to - from)) / 10
	for _, r := range e.replays {
		if time.Since(e.opened) >= r.at {
			l.Replays, l.ReplayBy = l.Replays+1, r.by
		}
	}
	if e.drained.Load() {
		l.Replays, l.ReplayBy = l.Replays+1, "drain"
	}
	l.CommitsBlocked = int64(time.Since(e.opened)/(time.Second/2)) * e.blockedPerSecond / 2
	return l
}

func (e *fakeEngine) Levels() []badger.LevelInfo { return nil }

func (e *fakeEngine) Batch() engine.Batch { return fakeBatch{e} }

// fakeBatch writes at once.
type fakeBatch struct{ *fakeEngine }

func (b fakeBatch) Set(key, value []byte) error { return b.Writer()(key, value) }
func (b fakeBatch) Flush() error                { return nil }
func (b fakeBatch) Cancel()                     {}

func (e *fakeEngine) Drain(context.Context) error {
	time.Sleep(2 * time.Second)
	e.drained.Store(true)
	return nil
}

func (e *fakeEngine) Close() error { return nil }

// smallConfig is a run of a second a phase.
func smallConfig() Config {
	c := DefaultConfig()
	c.CalmRate, c.BurstRate, c.QuietRate = 20, 100, 10
	c.Calm, c.Burst, c.Quiet, c.Backlog = time.Second, time.Second, time.Second, time.Second
	c.Writers, c.ValueSize = 2, 32
	return c
}

var errDiskFull = errors.New("disk full")
