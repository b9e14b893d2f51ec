package badgerspill

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/internal/host"
	"github.com/badgerspill/badgerspill/badgerspill/internal/pipeline"
	"github.com/badgerspill/badgerspill/integration_test/kit/seed"
	"github.com/badgerspill/badgerspill/replay"
	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/spillfile/vfs/vfstest"
	"github.com/badgerspill/badgerspill/wbm"
)

const (
	testLimit = time.Minute      // one test, on a machine that is busy with others
	waitLimit = 15 * time.Second // one wait in a test
	absent    = "<absent>"
)

var errTest = errors.New("injected failure")

// random returns the source of a random test; -seed takes its seed back.
var random = seed.Random

// bounded ends the test process with all stacks if the test hangs.
func bounded(t *testing.T) {
	t.Helper()
	name := t.Name()
	guard := time.AfterFunc(testLimit, func() {
		debug.SetTraceback("all")
		panic(name + " hangs")
	})
	t.Cleanup(func() { guard.Stop() })
}

// eventually polls cond, for what has no event.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(waitLimit)
	defer limit.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-limit.C:
			require.FailNow(t, "did not happen: "+what)
		}
	}
}

// never polls cond for d and fails once it holds.
func never(t *testing.T, d time.Duration, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(d)
	defer limit.Stop()
	for {
		require.False(t, cond(), what)
		select {
		case <-tick.C:
		case <-limit.C:
			return
		}
	}
}

func receive[T any](t *testing.T, what string, c <-chan T) (v T) {
	t.Helper()
	limit := time.NewTimer(waitLimit)
	defer limit.Stop()
	select {
	case v = <-c:
	case <-limit.C:
		require.FailNow(t, "did not come: "+what)
	}
	return v
}

// async runs f and gives its result.
func async[T any](f func() T) <-chan T {
	c := make(chan T, 1)
	go func() { c <- f() }()
	return c
}

// stubEngine is the real engine under the test's control. Its zero value lets everything pass.
type stubEngine struct {
	engine
	mu struct {
		sync.Mutex
		sends, loads, syncs, seals int

		holdSends   bool
		held        []heldSend
		holdAnswers bool // Badger has the commits, the layer does not know
		answers     []func()
		failSend    func(c *pipeline.Commit) error
		onLoad      func(n int, entries []spillfile.Entry) error // before load number n, from 1
		afterLoad   func(n int)
		onSeal      func() error
		onSync      func() error
	}
}

type heldSend struct {
	c      *pipeline.Commit
	answer func(error)
}

func (s *stubEngine) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *stubEngine) count(n *int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return *n
}

func (s *stubEngine) hold()        { s.set(func() { s.mu.holdSends = true }) }
func (s *stubEngine) holdAnswers() { s.set(func() { s.mu.holdAnswers = true }) }

func (s *stubEngine) Send(c *pipeline.Commit, answer func(error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.sends++
	if s.mu.holdSends {
		s.mu.held = append(s.mu.held, heldSend{c, answer})
		return
	}
	s.forwardLocked(c, answer)
}

func (s *stubEngine) forwardLocked(c *pipeline.Commit, answer func(error)) {
	if s.mu.failSend != nil {
		if err := s.mu.failSend(c); err != nil {
			go answer(err)
			return
		}
	}
	if !s.mu.holdAnswers {
		s.engine.Send(c, answer)
		return
	}
	s.engine.Send(c, func(err error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.mu.holdAnswers {
			s.mu.answers = append(s.mu.answers, func() { answer(err) })
			return
		}
		go answer(err)
	})
}

// release forwards what is held, in order, and holds no more.
func (s *stubEngine) release() {
	s.mu.Lock()
	held, answers := s.mu.held, s.mu.answers
	s.mu.held, s.mu.answers = nil, nil
	s.mu.holdSends, s.mu.holdAnswers = false, false
	for _, h := range held {
		s.forwardLocked(h.c, h.answer)
	}
	s.mu.Unlock()
	for _, answer := range answers {
		answer()
	}
}

// answerOne lets the held answer number i through; the others stay.
func (s *stubEngine) answerOne(i int) {
	s.mu.Lock()
	answer := s.mu.answers[i]
	s.mu.answers = append(s.mu.answers[:i:i], s.mu.answers[i+1:]...)
	s.mu.Unlock()
	answer()
}

func (s *stubEngine) Load(entries []spillfile.Entry) error {
	s.mu.Lock()
	s.mu.loads++
	n, before, after := s.mu.loads, s.mu.onLoad, s.mu.afterLoad
	s.mu.Unlock()
	if before != nil {
		if err := before(n, entries); err != nil {
			return err
		}
	}
	err := s.engine.Load(entries)
	if after != nil {
		after(n)
	}
	return err
}

func (s *stubEngine) Sync() error {
	s.mu.Lock()
	s.mu.syncs++
	f := s.mu.onSync
	s.mu.Unlock()
	if f != nil {
		if err := f(); err != nil {
			return err
		}
	}
	return s.engine.Sync()
}

func (s *stubEngine) Seal() error {
	s.mu.Lock()
	s.mu.seals++
	f := s.mu.onSeal
	s.mu.Unlock()
	if f != nil {
		if err := f(); err != nil {
			return err
		}
	}
	return s.engine.Seal()
}

func (s *stubEngine) loads() int { return s.count(&s.mu.loads) }
func (s *stubEngine) sends() int { return s.count(&s.mu.sends) }
func (s *stubEngine) seals() int { return s.count(&s.mu.seals) }
func (s *stubEngine) waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.mu.held) + len(s.mu.answers)
}

// hookFS asks before every operation that changes something; the hook may block or return an error.
type hookFS struct{ vfstest.Faults }

func (h *hookFS) set(hook vfstest.Fault) {
	h.Set(func(op, path string) error {
		switch op {
		case "create", "remove", "rename", "syncdir", "write", "sync":
			return hook(op, path)
		}
		return nil
	})
}

func (h *hookFS) clear() { h.Set(nil) }

func isSegment(path string) bool { return strings.HasSuffix(path, ".seg") }

// failSegmentWrites fails every write to a segment.
func failSegmentWrites(op, path string) error {
	if op == "write" && isSegment(path) {
		return errTest
	}
	return nil
}

// recorder gives every event in a channel.
type recorder struct {
	tier                 chan TierChangeInfo
	stallBegin, stallEnd chan StallInfo
	spillBegin           chan SpillBeginInfo
	handOver             chan HandOverInfo
	replayEnd            chan replay.Run
	created, sealed      chan SegmentInfo
	dropped, removed     chan SegmentInfo
	blocked              chan WriterBlockedInfo
	released             chan WriterReleasedInfo
	failed               chan BackgroundErrorInfo
}

func into[T any](c *chan T) func(T) {
	*c = make(chan T, 4096)
	return func(v T) {
		select {
		case *c <- v:
		default:
		}
	}
}

func (r *recorder) listener() *EventListener {
	return &EventListener{
		TierChange: into(&r.tier), StallBegin: into(&r.stallBegin), StallEnd: into(&r.stallEnd),
		SpillBegin: into(&r.spillBegin), HandOver: into(&r.handOver), ReplayEnd: into(&r.replayEnd),
		SegmentCreated: into(&r.created), SegmentSealed: into(&r.sealed),
		SegmentDropped: into(&r.dropped), SegmentRemoved: into(&r.removed),
		WriterBlocked: into(&r.blocked), WriterReleased: into(&r.released),
		BackgroundError: into(&r.failed),
	}
}

// fixture is an open database with its seams.
type fixture struct {
	*DB
	t      *testing.T
	stub   *stubEngine
	hooks  *hookFS
	events *recorder
	opt    Options
}

// testOptions: nothing happens by itself. No stall detection, no replay but by Drain or need.
func testOptions(dir string) Options {
	opt := DefaultOptions(dir)
	opt.MemTableSize = 8 << 20
	opt.ValueLogFileSize = 16 << 20
	opt.BlockCacheSize = 8 << 20
	opt.NumCompactors = 2
	opt.Logger = nil
	opt.MetricsEnabled = false
	opt.StallThreshold, opt.Tuning.SpillRate = -1, -1
	opt.Tuning.QuietWindow = time.Hour
	opt.Tuning.MaxSpillAge = time.Hour
	opt.MinFreeSpace = -1
	return opt
}

// eager lets replay start as soon as anything is spilled.
func eager(opt *Options) { opt.Tuning.QuietRate, opt.Tuning.QuietWindow = 1e15, time.Nanosecond }

// small makes Badger's own memtables easy to fill.
func small(opt *Options) {
	opt.MemTableSize, opt.NumMemtables, opt.ValueThreshold = 1<<20, 1, 1<<10
}

func open(t *testing.T, changes ...func(*Options)) *fixture {
	t.Helper()
	bounded(t)
	return openAt(t, t.TempDir(), changes...)
}

func openAt(t *testing.T, dir string, changes ...func(*Options)) *fixture {
	t.Helper()
	f, err := tryOpen(t, dir, changes...)
	require.NoError(t, err)
	return f
}

func tryOpen(t *testing.T, dir string, changes ...func(*Options)) (*fixture, error) {
	t.Helper()
	f := &fixture{t: t, stub: &stubEngine{}, hooks: &hookFS{vfstest.Faults{FS: spillfile.OS}}, events: &recorder{}, opt: testOptions(dir)}
	for _, change := range changes {
		change(&f.opt)
	}
	if f.opt.seams.fs != nil {
		f.hooks.FS = f.opt.seams.fs
	}
	f.opt.EventListener = TeeEventListener(f.events.listener(), f.opt.EventListener)
	f.opt.seams.fs = f.hooks
	f.opt.seams.engine = func(e engine) engine {
		f.stub.engine = e
		return f.stub
	}
	db, err := Open(f.opt)
	if err != nil {
		return nil, err
	}
	f.DB = db
	t.Cleanup(func() {
		f.hooks.clear()
		f.stub.set(func() { f.stub.mu.failSend, f.stub.mu.onLoad, f.stub.mu.onSeal, f.stub.mu.onSync = nil, nil, nil, nil })
		f.stub.release()
		_ = db.Close()
	})
	return f, nil
}

func put(db *DB, key, value string) error {
	return db.Update(func(txn *Txn) error { return txn.Set([]byte(key), []byte(value)) })
}

func (f *fixture) put(key, value string) {
	f.t.Helper()
	require.NoError(f.t, put(f.DB, key, value))
}

func (f *fixture) putAsync(key, value string) <-chan error {
	return async(func() error { return put(f.DB, key, value) })
}

func (f *fixture) delete(key string) {
	f.t.Helper()
	require.NoError(f.t, f.Update(func(txn *Txn) error { return txn.Delete([]byte(key)) }))
}

func read(txn *Txn, key string) (string, error) {
	item, err := txn.Get([]byte(key))
	if errors.Is(err, ErrKeyNotFound) {
		return absent, nil
	}
	if err != nil {
		return "", err
	}
	v, err := item.ValueCopy(nil)
	return string(v), err
}

func get(t *testing.T, db *DB, key string) (v string) {
	t.Helper()
	require.NoError(t, db.View(func(txn *Txn) (err error) {
		v, err = read(txn, key)
		return err
	}))
	return v
}

func (f *fixture) get(key string) string { f.t.Helper(); return get(f.t, f.DB, key) }

// inBadger reads past the layer.
func (f *fixture) inBadger(key string) string {
	f.t.Helper()
	txn := f.inner.NewTransactionAt(math.MaxUint64, false)
	defer txn.Discard()
	item, err := txn.Get([]byte(key))
	if errors.Is(err, badger.ErrKeyNotFound) {
		return absent
	}
	require.NoError(f.t, err)
	v, err := item.ValueCopy(nil)
	require.NoError(f.t, err)
	return string(v)
}

// occupy counts bytes that the test pretends to be in Badger's memtables, up to a usage of the
// whole budget.
func (f *fixture) occupy(usage int64) (free func()) {
	f.t.Helper()
	n := usage - f.manager.Usage()
	require.Positive(f.t, n)
	f.account.Force(wbm.Memtable, n)
	return func() { f.account.Release(wbm.Memtable, n) }
}

func (f *fixture) share(of float64) int64 { return int64(of * float64(f.manager.Limit())) }

// spillOne turns to the spill by a commit at 95 % of memory, which then is free again.
func (f *fixture) spillOne(key, value string) {
	f.t.Helper()
	free := f.occupy(f.share(0.95))
	f.put(key, value)
	free()
	require.Equal(f.t, Spilling, f.routerState())
}

func (f *fixture) parked() bool { return f.spill.Stats().Parked > 0 }

func (f *fixture) drained() {
	f.t.Helper()
	require.NoError(f.t, receive(f.t, "end of Drain", async(func() error { return f.Drain(f.ctx) })))
}

// direct asserts that nothing of the spill is left.
func (f *fixture) direct() {
	f.t.Helper()
	require.Equal(f.t, Direct, f.routerState())
	require.True(f.t, f.log.Empty())
	eventually(f.t, "interlock and segments gone, but for those that a transaction holds", func() bool {
		return !interlocked(f.DB) && (len(segments(f.t, f.opt.Dir)) == 0 || f.SpillStats().SpillHeld > 0)
	})
}

// interlocked reports whether plain Badger would not open the database.
func interlocked(db *DB) bool {
	there, err := db.interlock.Present()
	return there || err != nil
}

func segments(t *testing.T, dir string) (paths []string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "spill", "*.seg"))
	require.NoError(t, err)
	// one may be prepared for the next burst
	return slices.DeleteFunc(paths, func(path string) bool {
		info, err := os.Stat(path)
		return err == nil && info.Size() == 0
	})
}

// crash copies the directory as a killed process would leave it: files written so far, nothing
// closed.
func crash(t *testing.T, dir string) (to string) {
	t.Helper()
	to = t.TempDir()
	require.NoError(t, copyTree(dir, to))
	return to
}

// copyTree copies a directory in which Badger may be flushing. What refers to something else, or
// goes once something else is there, comes first. That is the note of the newest segment, segments,
// the spill's manifest, and segments that it may name and that came meanwhile. The spill comes
// before Badger, memtables before the manifest that lists their tables, that before the tables.
func copyTree(from, to string) error {
	newest := filepath.Join("spill", "NEWEST")
	if _, err := os.Stat(filepath.Join(from, newest)); err == nil {
		if err := os.MkdirAll(filepath.Join(to, "spill"), 0o700); err != nil {
			return err
		}
		if err := copySparse(filepath.Join(from, newest), filepath.Join(to, newest)); err != nil {
			return err
		}
	}
	var passes [4][]string
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed meanwhile
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		var pass int
		switch spilled := strings.HasPrefix(rel, "spill"+string(filepath.Separator)); {
		case rel == newest:
			return nil
		case isSegment(path):
			pass = 0
		case spilled:
			pass = 1
		case strings.HasSuffix(path, host.MemSuffix):
			pass = 2
		case rel == "MANIFEST":
			pass = 3
		default:
			return nil // listed below, when the manifest is copied
		}
		passes[pass] = append(passes[pass], rel)
		return nil
	})
	if err != nil {
		return err
	}
	for i, pass := range passes {
		for _, rel := range pass {
			if err := copySparse(filepath.Join(from, rel), filepath.Join(to, rel)); err != nil {
				return err
			}
		}
		if i != 1 {
			continue
		}
		came, err := filepath.Glob(filepath.Join(from, "spill", "*.seg"))
		if err != nil {
			return err
		}
		for _, path := range came {
			there := filepath.Join(to, "spill", filepath.Base(path))
			if _, err := os.Stat(there); err == nil {
				continue
			}
			if err := copySparse(path, there); err != nil {
				return err
			}
		}
	}
	rest, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, d := range rest {
		name := d.Name()
		if d.IsDir() || name == "MANIFEST" || strings.HasSuffix(name, host.MemSuffix) {
			continue
		}
		if err := copySparse(filepath.Join(from, name), filepath.Join(to, name)); err != nil {
			return err
		}
	}
	return nil
}

func copySparse(from, to string) error {
	in, err := os.Open(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer out.Close()
	buf, zero := make([]byte, 1<<20), make([]byte, 1<<20)
	var at int64
	for {
		n, err := io.ReadFull(in, buf)
		if n > 0 && !bytes.Equal(buf[:n], zero[:n]) {
			if _, err := out.WriteAt(buf[:n], at); err != nil {
				return err
			}
		}
		at += int64(n)
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return out.Truncate(at)
		}
		if err != nil {
			return err
		}
	}
}

func key(i int) string { return fmt.Sprintf("key/%04d", i) }

type entry = spillfile.Entry

// incompressible returns n bytes that snappy cannot shorten, the same for the same seed.
func incompressible(n, seed int) string {
	r := rand.New(rand.NewPCG(uint64(seed), 1))
	b := make([]byte, 0, n+8)
	for len(b) < n {
		b = binary.LittleEndian.AppendUint64(b, r.Uint64())
	}
	return string(b[:n])
}
