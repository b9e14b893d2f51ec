package bench

import (
	"context"
	"encoding/binary"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/engine"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/openloop"
)

// fakeEngine keeps its data in a map, which reopening does not lose. What it does at a time after
// its first opening is up to the test.
type fakeEngine struct {
	layered bool
	flat    bool // it has no levels
	opened  time.Time
	options []engine.Options // of every opening

	took   func(at time.Duration) time.Duration // a write or read at that time
	slow   func(key []byte) time.Duration       // how much longer a read of the key takes
	layer  func(at time.Duration) engine.Layer
	toDo   func(at time.Duration) bool     // compaction has something to do
	scan   func(values bool) time.Duration // what a scan takes
	gotten int

	mu   sync.Mutex
	data map[string][]byte
}

func newFake(layered bool) *fakeEngine {
	return &fakeEngine{
		layered: layered, data: map[string][]byte{},
		took:  func(time.Duration) time.Duration { return time.Millisecond },
		slow:  func([]byte) time.Duration { return 0 },
		layer: func(time.Duration) engine.Layer { return engine.Layer{} },
		toDo:  func(time.Duration) bool { return false },
		scan:  func(bool) time.Duration { return 0 },
	}
}

func (e *fakeEngine) open(_, _ string, opt engine.Options) (engine.Engine, error) {
	if e.options = append(e.options, opt); len(e.options) == 1 {
		e.opened = time.Now()
	}
	return e, nil
}

func (e *fakeEngine) at() time.Duration { return time.Since(e.opened) }

func (e *fakeEngine) Writer() func(key, value []byte) error {
	return func(key, value []byte) error {
		time.Sleep(e.took(e.at()))
		e.put(key, value)
		return nil
	}
}

func (e *fakeEngine) put(key, value []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.data[string(key)] = append([]byte(nil), value...)
}

// Increment conflicts once before it succeeds.
func (e *fakeEngine) Increment(key []byte) (conflicts int64, err error) {
	time.Sleep(e.took(e.at()))
	e.mu.Lock()
	defer e.mu.Unlock()
	e.data[string(key)] = binary.BigEndian.AppendUint64(nil, engine.Counter(e.data[string(key)])+1)
	return 1, nil
}

func (e *fakeEngine) GetHeld(key []byte, hold func()) error {
	_, err := e.Get(key, nil)
	hold()
	return err
}

func (e *fakeEngine) Batch() engine.Batch { return fakeBatch{e} }

type fakeBatch struct{ e *fakeEngine }

func (b fakeBatch) Set(key, value []byte) error { b.e.put(key, value); return nil }
func (b fakeBatch) Flush() error                { return nil }
func (b fakeBatch) Cancel()                     {}

func (e *fakeEngine) Get(key, dst []byte) ([]byte, error) {
	time.Sleep(e.took(e.at()) + e.slow(key))
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gotten++
	value, found := e.data[string(key)]
	if !found {
		return dst, openloop.ErrNotFound
	}
	return append(dst, value...), nil
}

func (e *fakeEngine) Scan(visit func(key, value []byte) bool) error {
	time.Sleep(e.scan(true))
	return e.visit(visit)
}

func (e *fakeEngine) visit(visit func(key, value []byte) bool) error {
	for _, key := range slices.Sorted(maps.Keys(e.data)) {
		if !visit([]byte(key), e.data[key]) {
			break
		}
	}
	return nil
}

func (e *fakeEngine) ScanKeys(visit func(key []byte) bool) error {
	time.Sleep(e.scan(false))
	return e.visit(func(key, _ []byte) bool { return visit(key) })
}

func (e *fakeEngine) Layer() *engine.Layer {
	if !e.layered {
		return nil
	}
	l := e.layer(e.at())
	return &l
}

func (e *fakeEngine) LayerStats() any {
	if !e.layered {
		return nil
	}
	return e.Layer()
}

func (e *fakeEngine) Levels() []badger.LevelInfo {
	if e.flat {
		return nil
	}
	levels := make([]badger.LevelInfo, 7)
	if e.toDo(e.at()) {
		levels[0].Score = 1
	}
	return levels
}

func (e *fakeEngine) BlockCacheBytes() int64 { return 0 }

func (e *fakeEngine) Drain(context.Context) error { return nil }

func (e *fakeEngine) Close() error { return nil }

// fakeRunner runs stages of a case on the fake.
func fakeRunner(t *testing.T, e *fakeEngine, caseName string, cfg Config) *runner {
	name := engine.Badger
	if e.layered {
		name = engine.Badgerspill
	}
	c, err := Find(caseName)
	require.NoError(t, err)
	r := newRunner(Job{Case: caseName, Engine: name, Dir: t.TempDir(), Config: cfg}, c, func(Message) {})
	r.openEngine, r.precise = e.open, false
	return r
}

// runStage runs one stage with the fake.
func runStage(t *testing.T, r *runner, name string) error {
	t.Helper()
	c, err := Find(r.job.Case)
	require.NoError(t, err)
	s, err := c.stage(r.job.Engine, name)
	require.NoError(t, err)
	return r.do(t.Context(), s)
}

// tiny is a run of about a thousand entries.
func tiny() Config {
	cfg := DefaultConfig()
	cfg.Scale, cfg.Duration = 0.001, 20*time.Second
	return cfg
}
