//go:build go1.25

package feed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/replay"
	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/spillfile/vfs/vfstest"
)

var errFake = errors.New("the fake fails")

// segmentSize is that of the log in these tests: a tenth of a chunk's test data.
const segmentSize = 4 << 10

// world is what is around a feed: a spill on a disk in memory, and a Badger, a pipeline and room
// that the test decides on. It holds the feed to its promises: see fakeLog and fakeBadger.
type world struct {
	*Feed
	t    *testing.T
	disk *vfstest.Disk
	opt  Options

	log       *fakeLog
	badger    fakeBadger
	guard     fakeGuard
	room      fakeRoom
	spill     fakeSpill
	pipeline  fakePipeline
	interlock fakeInterlock
	audience  fakeAudience

	background sync.WaitGroup

	mu    sync.Mutex
	taken []string // steps since the last call of steps
	puts  []put    // what the spill has acknowledged
	ts    uint64
}

// put is a commit of one key.
type put struct {
	seq     uint64
	key     string
	version uint64
}

// bubble runs a test of a new world in time that passes when nothing else can.
func bubble(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, disk: vfstest.NewDisk()}
		w.opt = Options{
			Memory:     func(keyLen, valueLen int) int64 { return int64(keyLen + valueLen) },
			InValueLog: func(valueLen int) bool { return valueLen >= 1<<10 },
			Versions:   1, HighWater: 0.5, MaxSpillAge: time.Minute, StallThreshold: -1,
		}
		w.badger = fakeBadger{w: w, has: map[string]uint64{}, synced: map[string]uint64{}, direct: map[string]uint64{}, memtables: []int{1}}
		w.guard.w, w.pipeline.w, w.interlock.w, w.audience.w = w, w, w, w
		w.room = fakeRoom{w: w, memory: Memory{SoftLimit: 800, Limit: 1600}, chunkRoom: 1 << 30}
		w.spill = fakeSpill{w: w, capacity: 1 << 20, piece: 64 << 10}
		w.open()
		defer w.close()
		w.replay(0) // the first one makes sure that there is no place
		w.steps()
		test(t, w)
	})
}

// open is a process that begins.
func (w *world) open() {
	w.t.Helper()
	log, err := spillfile.Open(spillfile.Options{Dir: "/spill", FS: w.disk, DatabaseID: [16]byte{1}, SegmentSize: segmentSize})
	require.NoError(w.t, err)
	w.log = &fakeLog{Log: log, w: w}
	w.Feed = New(Env{
		Log: w.log, Badger: &w.badger, Guard: &w.guard, Room: &w.room, Spill: &w.spill, Pipeline: &w.pipeline,
		Interlock: &w.interlock, Audience: &w.audience, Background: &w.background, Begin: time.Now(),
	}, w.opt)
	w.steps()
}

// close ends it, and requires that nothing is left on its way.
func (w *world) close() {
	w.t.Helper()
	w.disk.SetFault(nil)
	w.badger.release()
	w.background.Wait()
	w.Feed.Close()
	require.NoError(w.t, w.log.Close())
	require.Zero(w.t, w.room.inFlight, "memory in flight")
	require.Zero(w.t, w.room.claimed, "room that is claimed")
}

// step notes what has happened.
func (w *world) step(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.taken = append(w.taken, fmt.Sprintf(format, args...))
}

// steps returns what has happened since it was called last.
func (w *world) steps() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	taken := w.taken
	w.taken = nil
	return taken
}

// put commits a key, to the spill or, where that is empty, to Badger.
func (w *world) put(key, value string) {
	w.t.Helper()
	b, seq := w.enqueue(key, value)
	if b == nil {
		return
	}
	require.NoError(w.t, w.log.Commit(b))
	// It is not freed: the pool of batches would hand it, and its channel, to another bubble.
	w.mu.Lock()
	defer w.mu.Unlock()
	w.puts = append(w.puts, put{b.Seq(), key, seq})
}

// enqueue gives a commit its place. It returns no batch if Badger has it.
func (w *world) enqueue(key, value string) (*spillfile.Batch, uint64) {
	w.pipeline.mu.Lock()
	defer w.pipeline.mu.Unlock()
	w.ts++
	if w.pipeline.direct {
		if !w.log.Empty() {
			w.t.Errorf("a commit to Badger beside a spill that is not empty")
		}
		w.badger.take(key, w.ts)
		return nil, 0
	}
	b := spillfile.NewBatch()
	b.Add(&spillfile.Entry{Key: []byte(key), Value: []byte(value)})
	b.Finish()
	w.log.Enqueue(b, w.ts)
	return b, w.ts
}

// name returns the i-th key.
func name(i int) string { return fmt.Sprintf("key/%04d", i) }

// value returns 200 bytes that cannot be compressed, and are not in the index.
func value(key string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(key))
	random := rand.NewChaCha8([32]byte{byte(h.Sum64()), byte(h.Sum64() >> 8)})
	b := make([]byte, 200)
	_, _ = random.Read(b)
	return string(b)
}

// fill spills n keys, in their order, and returns them. Forty make three segments and some more.
func (w *world) fill(n int) (keys []string) {
	w.t.Helper()
	for i := range n {
		w.put(name(i), value(name(i)))
		keys = append(keys, name(i))
	}
	return keys
}

// replay moves one batch.
func (w *world) replay(maxBytes int64) replay.Progress {
	w.t.Helper()
	p, err := w.Replay(context.Background(), maxBytes)
	require.NoError(w.t, err)
	return p
}

func (w *world) checkpoint() {
	w.t.Helper()
	require.NoError(w.t, w.Checkpoint(context.Background()))
}

func (w *world) handOver() bool {
	w.t.Helper()
	done, err := w.HandOver(context.Background())
	require.NoError(w.t, err)
	return done
}

// drained replays all of the spill, and hands over.
func (w *world) drained() {
	w.t.Helper()
	for range 1000 {
		if w.replay(1<<10).Drained && w.handOver() {
			w.checkpoint()
			require.True(w.t, w.pipeline.isDirect())
			require.True(w.t, w.log.Empty())
			return
		}
	}
	require.FailNow(w.t, "not drained in a thousand batches")
}

// drop is a drop of everything, but for Badger's part of it.
func (w *world) drop() {
	w.t.Helper()
	require.NoError(w.t, w.Exclusively(func(x *Exclusive) error {
		x.AwaitLate()
		if err := w.log.DiscardAll(); err != nil {
			return err
		}
		w.mu.Lock()
		w.puts = nil
		w.mu.Unlock()
		x.StartOver()
		return nil
	}))
}

// call is one in a goroutine of its own.
type call struct {
	done chan struct{}
	err  error
}

func (c *call) known() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// async calls f in a goroutine of its own.
func async(f func() error) *call {
	c := &call{done: make(chan struct{})}
	go func() {
		defer close(c.done)
		c.err = f()
	}()
	return c
}

// fakeLog is a log whose steps are noted. It requires of who lets go of segments that Badger has
// them, and has synced them.
type fakeLog struct {
	*spillfile.Log
	w        *world
	failSync error
	failNote error
}

func (l *fakeLog) Sync() error {
	l.w.step("sync spill")
	if l.failSync != nil {
		return l.failSync
	}
	return l.Log.Sync()
}

func (l *fakeLog) Seal() error {
	l.w.step("seal")
	return l.Log.Seal()
}

func (l *fakeLog) MarkReplayed(seq uint64) error {
	l.w.step("manifest")
	l.w.requireSynced(seq)
	return l.Log.MarkReplayed(seq)
}

func (l *fakeLog) MarkReplayedIfLast(seq uint64) (bool, error) {
	l.w.step("manifest, if last")
	l.w.requireSynced(seq)
	return l.Log.MarkReplayedIfLast(seq)
}

func (l *fakeLog) NotePlace(p spillfile.Place) error {
	l.w.step("place")
	if l.failNote != nil {
		return l.failNote
	}
	return l.Log.NotePlace(p)
}

func (l *fakeLog) VoidPlace() error {
	l.w.step("void place")
	return l.Log.VoidPlace()
}

// requireSynced requires that Badger has synced the newest version of each key up to seq.
func (w *world) requireSynced(seq uint64) {
	w.mu.Lock()
	newest := map[string]uint64{}
	for _, p := range w.puts {
		if p.seq <= seq {
			newest[p.key] = max(newest[p.key], p.version)
		}
	}
	w.mu.Unlock()
	w.badger.mu.Lock()
	defer w.badger.mu.Unlock()
	for key, version := range newest {
		if w.badger.synced[key] < version {
			w.t.Errorf("%s of version %d is let go of, and Badger has synced %d", key, version, w.badger.synced[key])
		}
	}
}

// fakeBadger has the newest version of each key that it was given. It refuses what comes behind a
// direct commit (invariant I1).
type fakeBadger struct {
	w *world

	mu        sync.Mutex
	onLoad    func(n int) error // called before the n-th load, from 1, without mu
	held      chan struct{}     // loads wait until it is closed; nil: they do not
	failSync  error
	failDir   error
	loads     [][]spillfile.Entry
	loading   int
	has       map[string]uint64
	synced    map[string]uint64
	direct    map[string]uint64
	memtables []int
}

// hold makes loads wait for release.
func (b *fakeBadger) hold() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held = make(chan struct{})
}

func (b *fakeBadger) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held != nil {
		close(b.held)
		b.held = nil
	}
}

func (b *fakeBadger) begin(entries []spillfile.Entry) (n int, onLoad func(int) error, held chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.loading++; b.loading > 1 {
		b.w.t.Errorf("two loads at once")
	}
	var own []spillfile.Entry
	for _, e := range entries {
		e.Key, e.Value = bytes.Clone(e.Key), bytes.Clone(e.Value)
		own = append(own, e)
	}
	b.loads = append(b.loads, own)
	return len(b.loads), b.onLoad, b.held
}

func (b *fakeBadger) Load(entries []spillfile.Entry) (err error) {
	b.w.step("load")
	n, onLoad, held := b.begin(entries)
	if held != nil {
		<-held
	}
	if onLoad != nil {
		err = onLoad(n)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.loading--
	if err != nil {
		return err
	}
	for i := range b.loads[n-1] {
		// as it is now: a chunk whose memory was used again meanwhile would show
		if key, was := string(entries[i].Key), string(b.loads[n-1][i].Key); key != was {
			b.w.t.Errorf("%s became %s before Badger had answered", was, key)
		}
		e := &b.loads[n-1][i]
		if newer := b.direct[string(e.Key)]; newer > e.Version {
			b.w.t.Errorf("%s of version %d comes behind %d", e.Key, e.Version, newer)
		}
		b.has[string(e.Key)] = max(b.has[string(e.Key)], e.Version)
	}
	return nil
}

// take is a commit that comes directly.
func (b *fakeBadger) take(key string, version uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.loading > 0 {
		b.w.t.Errorf("a commit to Badger beside a load")
	}
	b.has[key], b.direct[key] = version, version
}

func (b *fakeBadger) Sync() error {
	b.w.step("sync Badger")
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failSync != nil {
		return b.failSync
	}
	for key, version := range b.has {
		b.synced[key] = version
	}
	return nil
}

func (b *fakeBadger) SyncDir() error {
	b.w.step("sync directory")
	return b.failDir
}

func (b *fakeBadger) Memtables() ([]int, error) { return slices.Clone(b.memtables), nil }

// flush writes all memtables to tables.
func (b *fakeBadger) flush() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.memtables = []int{b.memtables[len(b.memtables)-1] + 1}
	for key, version := range b.has {
		b.synced[key] = version
	}
}

// given returns the keys of all loads from the n-th on, each load's joined.
func (b *fakeBadger) given(n int) (keys []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, entries := range b.loads[n:] {
		for i := range entries {
			keys = append(keys, string(entries[i].Key))
		}
	}
	return keys
}

func (b *fakeBadger) countLoads() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.loads)
}

// version returns the newest that Badger has of a key.
func (b *fakeBadger) version(key string) uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.has[key]
}

type fakeGuard struct {
	w                      *world
	blocked, paused, looks error // what a look finds
	lost, failed           error
	noticed                error // failed, once a place was noted
}

func (g *fakeGuard) Blocked() error      { return g.blocked }
func (g *fakeGuard) Pauses() error       { return g.paused }
func (g *fakeGuard) Replays(int64) error { return g.paused }
func (g *fakeGuard) Check() error        { return g.looks }
func (g *fakeGuard) Failed() error       { return g.failed }
func (g *fakeGuard) Lost() (err error) {
	err, g.failed = g.lost, g.noticed
	return err
}

type fakeRoom struct {
	w         *world
	low       error
	memory    Memory
	relief    int
	full      error // what Claim returns
	chunkRoom int64

	mu       sync.Mutex
	claimed  int64
	inFlight int64
	memtable int64 // bytes that count as in memtables
}

func (r *fakeRoom) Low() error       { return r.low }
func (r *fakeRoom) Memory() Memory   { return r.memory }
func (r *fakeRoom) AskRelief()       { r.relief++ }
func (r *fakeRoom) ChunkRoom() int64 { return r.chunkRoom }

func (r *fakeRoom) Claim(memory, raw int64) (int64, error) {
	if r.full != nil {
		return 0, r.full
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.claimed += memory + raw
	return memory + raw, nil
}

func (r *fakeRoom) Settle(claim int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.inFlight > 0 {
		r.w.t.Errorf("a claim is settled before its memory is accounted for")
	}
	r.claimed -= claim
}

func (r *fakeRoom) InFlight(memory int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inFlight += memory
}

func (r *fakeRoom) Took(memory int64, newest uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inFlight -= memory
	r.memtable += memory
}

func (r *fakeRoom) Refused(memory int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inFlight -= memory
}

type fakeSpill struct {
	w                                *world
	always, preferred, closing, full bool
	slowed                           bool
	capacity, usage, piece           int64
}

func (s *fakeSpill) Active() bool       { return !s.w.pipeline.isDirect() }
func (s *fakeSpill) Always() bool       { return s.always }
func (s *fakeSpill) Preferred() bool    { return s.preferred }
func (s *fakeSpill) Closing() bool      { return s.closing }
func (s *fakeSpill) Capacity() int64    { return s.capacity }
func (s *fakeSpill) Usage() int64       { return s.usage }
func (s *fakeSpill) Full() bool         { return s.full }
func (s *fakeSpill) Slowed() bool       { return s.slowed }
func (s *fakeSpill) Piece() int64       { return s.piece }
func (s *fakeSpill) SegmentSize() int64 { return segmentSize }
func (s *fakeSpill) Refresh()           { s.w.step("account") }

// fakePipeline is in the state Spilling first.
type fakePipeline struct {
	w           *world
	inFlight    bool
	discardable uint64
	before      func() // called in a hand-over, before the commit lock is taken
	patience    time.Duration
	replayed    uint64

	mu     sync.Mutex // the commit lock
	direct bool
}

func (p *fakePipeline) InFlight() bool      { return p.inFlight }
func (p *fakePipeline) Discardable() uint64 { return p.discardable }

func (p *fakePipeline) Replayed(seq uint64) {
	if !p.mu.TryLock() {
		p.w.t.Errorf("the pipeline is called under the commit lock")
		return
	}
	defer p.mu.Unlock()
	p.replayed = seq
}

func (p *fakePipeline) isDirect() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.direct
}

func (p *fakePipeline) turnToSpill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.direct = false
}

func (p *fakePipeline) HandOver(patience time.Duration, last func() (bool, error)) (done, turned bool, err error) {
	p.patience = patience
	if before := p.before; before != nil {
		p.before = nil
		before()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.direct {
		return true, false, nil
	}
	p.w.step("commit lock")
	if done, err = last(); !done || err != nil || p.w.spill.always {
		return done, false, err
	}
	p.w.step("direct")
	p.direct = true
	return true, true, nil
}

type fakeInterlock struct {
	w    *world
	fail error
}

func (i *fakeInterlock) Drop() error {
	i.w.step("interlock")
	return i.fail
}

type fakeAudience struct {
	w         *world
	entries   int
	bytes     int64
	leftOut   int64
	loaded    int
	drains    []Drain
	notNoted  []error
	notVoided []error
}

func (a *fakeAudience) Replayed(entries int, bytes int64) { a.entries += entries; a.bytes += bytes }
func (a *fakeAudience) LeftOut(entries int64)             { a.leftOut += entries }
func (a *fakeAudience) Loaded()                           { a.loaded++ }
func (a *fakeAudience) Draining(d Drain)                  { a.drains = append(a.drains, d) }
func (a *fakeAudience) PlaceNotNoted(err error)           { a.notNoted = append(a.notNoted, err) }
func (a *fakeAudience) PlaceNotVoided(err error)          { a.notVoided = append(a.notVoided, err) }

// segment reports whether path is that of a segment's file.
func segment(path string) bool { return strings.HasSuffix(path, ".seg") }
