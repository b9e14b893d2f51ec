//go:build go1.25

package room

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/internal/pipeline"
	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/wbm"
)

var (
	errHeld    = errors.New("Badger is held")
	errDamaged = errors.New("a segment is damaged")
	errFake    = errors.New("the fake fails")
)

const (
	mib       = 1 << 20
	testFloor = 100 * mib
	capacity  = 4 * mib // of the spill
	limit     = 64 * mib
)

// world is what is around a Room: disks whose free space the test says, a Badger and a log that
// hold what it says, and the real accounts of memory and of the spill.
type world struct {
	*Room
	t      *testing.T
	cancel context.CancelFunc

	files      fakeFiles
	badger     fakeBadger
	replay     fakeReplay
	log        fakeLog
	manager    *wbm.WriteBufferManager
	memory     *wbm.Account
	spill      *wbm.SpilloverManager
	background sync.WaitGroup

	mu   sync.Mutex
	told []string
}

// apart gives the spill a volume of its own, unlogged takes the spill away.
func apart(w *world, _ *Env, _ *Options) { w.files.spill = newVolume(2) }

func unlogged(_ *world, env *Env, _ *Options) { env.Log = nil }

// noSpill is unlogged, as the policy Never has it: the spill has no capacity either.
func noSpill(w *world, env *Env, _ *Options) {
	env.Log = nil
	w.spill.SetCapacity(0)
}

// newWorld returns one with a volume of 1 GiB free above a floor of 100 MiB, for Badger and the
// spill. It has taken its first look.
func newWorld(t *testing.T, changes ...func(*world, *Env, *Options)) *world {
	w := &world{t: t}
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	w.files.badger = newVolume(1)
	w.files.spill = w.files.badger
	w.badger.w, w.replay.closing = w, ctx
	w.replay.goOn()
	var err error
	w.manager, err = wbm.New(wbm.Options{Limit: limit})
	require.NoError(t, err)
	w.memory = w.manager.Register(wbm.Holder{Name: "test"})
	w.spill = wbm.NewSpilloverManager(wbm.SpilloverOptions{Account: w.memory, Capacity: capacity,
		Usable: func() bool { return w.SpillUsable() }})
	begin := time.Now()
	env := Env{Files: &w.files, Volume: w.files.volume, Memory: w.memory, Spill: w.spill, Ledger: NewLedger(w.spill),
		Log: &w.log, Badger: &w.badger, Replay: &w.replay, Listener: w, Closing: ctx,
		Background: func(f func()) { w.background.Go(f) },
		Now:        func() int64 { return int64(time.Since(begin)) }}
	opt := Options{BadgerDirs: []string{"/badger", "/badger"}, SpillDir: "/spill", MinFree: testFloor,
		LevelSizeMultiplier: 10, NumCompactors: 4, BaseTableSize: 2 * mib}
	for _, change := range changes {
		change(w, &env, &opt)
	}
	w.Room = New(env, opt)
	w.Look()
	env.Ledger.Follow(&w.log)
	t.Cleanup(func() {
		cancel()
		w.background.Wait()
		w.memory.Close()
	})
	return w
}

// bubble runs a test of a new world in time that passes when nothing else can.
func bubble(t *testing.T, test func(t *testing.T, w *world), changes ...func(*world, *Env, *Options)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newWorld(t, changes...)) })
}

// Low is the Listener's. As in the database replay stops with Badger's volume.
func (w *world) Low(spill bool, short *ShortError) {
	w.note("low", spill, short.Dir)
	if !spill {
		w.replay.stop(short)
	}
}

func (w *world) HasRoom(spill bool, dir string) {
	w.note("room", spill, dir)
	if !spill {
		w.replay.goOn()
	}
}

func (w *world) note(what string, spill bool, dir string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told = append(w.told, fmt.Sprint(what, " ", map[bool]string{false: "badger", true: "spill"}[spill], " in ", filepath.Base(dir)))
}

func (w *world) notes() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	told := w.told
	w.told = nil
	return told
}

// badgerLow makes Badger's volume short, and spillLow the spill's.
func (w *world) badgerLow() {
	w.files.badger.set(func(v *volume) { v.free = testFloor - 1 })
	w.Look()
}

func (w *world) spillLow() {
	w.files.spill.set(func(v *volume) { v.free = testFloor - 1 })
	w.Look()
}

// fill takes all of the spill's capacity, and makes it active.
func (w *world) fill() (empty func()) {
	w.SetActive(true)
	w.spill.Force(capacity, 0)
	return func() { w.spill.AdjustSpill(-capacity) }
}

// occupy takes all of memory.
func (w *world) occupy() (free func()) {
	w.memory.Force(wbm.Memtable, limit)
	return func() { w.memory.Release(wbm.Memtable, limit) }
}

// held is what of memory, of the spill and on disk is taken.
func (w *world) held() [4]int64 {
	return [4]int64{w.memory.UsageByKind(wbm.InFlight), w.spill.Usage(), w.memory.UsageByKind(wbm.SpillIndex), w.InFlight()}
}

// left is the room on Badger's volume by the counts.
func (w *world) left() int64 { return w.disks.left(&w.disks.badger) }

// reserved is what Reserve came to, in a goroutine of its own.
type reserved struct {
	ticket pipeline.Ticket
	turn   pipeline.Cause
	err    error
	done   chan struct{}
}

func (r *reserved) known() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// reserve asks for room without a bound, and waits until that is known or waits for room.
func (w *world) reserve(req wbm.Request) *reserved {
	r := &reserved{done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.ticket, r.turn, r.err = w.Reserve(req, &pipeline.Wait{})
	}()
	synctest.Wait()
	return r
}

// volume is one of a fakeFiles.
type volume struct {
	mu          sync.Mutex
	id          uint64 // 0: not known
	free, total int64  // of bytes; free below 0: not known
	files       int64  // free inodes; below 0: not known
}

func newVolume(id uint64) *volume {
	return &volume{id: id, free: testFloor + 1<<30, total: 1 << 40, files: -1}
}

func (v *volume) set(f func(*volume)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	f(v)
}

// fakeFiles is a file system of directories that have volumes.
type fakeFiles struct {
	mu            sync.Mutex
	badger, spill *volume
	missing       map[string]bool // directories, by their last element
	asked         int             // calls of Free
	onFree        func()          // called by each, after the answer is known
	statErr       error
}

func (f *fakeFiles) of(dir string) *volume {
	if filepath.Base(dir) == "spill" {
		return f.spill
	}
	return f.badger
}

type fakeInfo struct {
	fs.FileInfo
	volume uint64
}

func (f *fakeFiles) Stat(dir string) (fs.FileInfo, error) {
	if f.statErr != nil {
		return nil, f.statErr
	}
	if f.missing[filepath.Base(dir)] {
		return nil, fs.ErrNotExist
	}
	return fakeInfo{volume: f.of(dir).id}, nil
}

func (f *fakeFiles) volume(info fs.FileInfo) (uint64, bool) {
	id := info.(fakeInfo).volume
	return id, id != 0
}

func (f *fakeFiles) Free(dir string) (free, total int64, err error) {
	v := f.of(dir)
	v.set(func(v *volume) { free, total = v.free, v.total })
	f.mu.Lock()
	f.asked++
	hook := f.onFree
	f.mu.Unlock()
	if hook != nil {
		hook()
	}
	if free < 0 {
		return 0, 0, errors.ErrUnsupported
	}
	return free, total, nil
}

func (f *fakeFiles) FreeFiles(dir string) (free int64, err error) {
	f.of(dir).set(func(v *volume) { free = v.files })
	if free < 0 {
		return 0, errors.ErrUnsupported
	}
	return free, nil
}

// looks returns how often free space was asked for since the last call.
func (f *fakeFiles) looks() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	asked := f.asked
	f.asked = 0
	return asked
}

// fakeBadger has the levels that the test says, and counts what it took.
type fakeBadger struct {
	w      *world
	mu     sync.Mutex
	levels []badger.LevelInfo
	held   error
	newest uint64
}

func (b *fakeBadger) set(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
}

func (b *fakeBadger) Levels() (levels []badger.LevelInfo) {
	b.set(func() { levels = b.levels })
	return levels
}

func (b *fakeBadger) Held() error { return b.HeldNow() }

func (b *fakeBadger) HeldNow() (held error) {
	b.set(func() { held = b.held })
	return held
}

func (b *fakeBadger) Took(memory int64, ts uint64) {
	b.w.memory.Transfer(wbm.InFlight, wbm.Memtable, memory)
	b.set(func() { b.newest = ts })
}

// fakeReplay goes on until it is stopped.
type fakeReplay struct {
	mu      sync.Mutex
	closing context.Context
	err     error
	going   context.Context
	end     context.CancelFunc
}

func (r *fakeReplay) stop(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
	r.end()
}

func (r *fakeReplay) goOn() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = nil
	r.going, r.end = context.WithCancel(r.closing)
}

func (r *fakeReplay) Stopped() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

func (r *fakeReplay) Going() context.Context {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.going
}

func (r *fakeReplay) SegmentSize() int64 { return mib }

// fakeLog holds what the test says.
type fakeLog struct {
	mu                sync.Mutex
	live, disk, index int64
}

func (l *fakeLog) set(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

func (l *fakeLog) State() (st spillfile.State) {
	l.set(func() { st.LiveBytes = l.live })
	return st
}

func (l *fakeLog) Usage() (disk, index int64) {
	l.set(func() { disk, index = l.disk, l.index })
	return disk, index
}
