//go:build go1.25

package pipeline

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/wbm"
)

var errFake = errors.New("the fake fails")

// world is what is around a pipeline: a Badger that answers when it is told to, a log in memory,
// and room that the test decides on.
type world struct {
	*Pipeline
	t       *testing.T
	cancel  context.CancelFunc
	timeout time.Duration // BlockTimeout of all commits

	badger   fakeBadger
	log      fakeLog
	room     fakeRoom
	audience fakeAudience
}

// newWorld returns one whose Badger answers at once and whose tier is Normal.
func newWorld(t *testing.T, change ...func(*Options)) *world {
	w := &world{t: t}
	opt := Options{DetectConflicts: true, StallThreshold: 20 * time.Millisecond, LastTs: 10,
		Memory: func(keyLen, valueLen int) int64 { return int64(keyLen + valueLen) }}
	for _, f := range change {
		f(&opt)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	w.log.w, w.room.w, w.audience.w = w, w, w
	w.log.written.L, w.log.names = &w.log.mu, map[*spillfile.Batch]string{}
	w.Pipeline = New(Env{Badger: &w.badger, Log: &w.log, Room: &w.room, Audience: &w.audience,
		Closing: ctx, Background: new(sync.WaitGroup), Begin: time.Now()}, opt)
	t.Cleanup(cancel)
	return w
}

// begin begins a transaction.
func (w *world) begin(reads ...string) *Snapshot {
	s := &Snapshot{Update: true}
	w.Begin(s)
	for _, k := range reads {
		s.Reads = append(s.Reads, Fingerprint([]byte(k)))
	}
	return s
}

// commit makes a commit of transaction s that writes key.
func (w *world) commit(s *Snapshot, key string, trace *Trace) *Commit {
	c := w.NewCommit(1, 0, false, trace)
	w.Add(c, spillfile.Entry{Key: []byte(key), Value: []byte("v")})
	return c
}

// outcome is what became of a commit that was put in a goroutine of its own.
type outcome struct {
	key  string
	c    *Commit
	done chan struct{}
	err  error
}

func (o *outcome) known() bool {
	select {
	case <-o.done:
		return true
	default:
		return false
	}
}

// put commits a write of key, in a goroutine of its own.
func (w *world) put(key string) *outcome { return w.putIn(context.Background(), w.begin(), key) }

func (w *world) putIn(ctx context.Context, s *Snapshot, key string) *outcome {
	o := &outcome{key: key, done: make(chan struct{})}
	go func() {
		defer close(o.done)
		o.c = w.commit(s, key, nil)
		if o.err = w.Submit(ctx, w.timeout, s, o.c); o.err == nil {
			o.err = w.Await(o.c)
		}
		w.End(s)
	}()
	return o
}

// fakeBadger has what was sent to it in order.
type fakeBadger struct {
	mu        sync.Mutex
	held      bool // answers are kept until they are asked for
	fail      error
	sent      []string
	carried   [][]spillfile.Entry // what was sent, as its transaction has it
	answers   []func(error)
	discarded []uint64
	given     int // transactions that were given up
}

// fakeTxn refers to the bytes of its entries, as Badger's do.
type fakeTxn struct {
	b       *fakeBadger
	entries []spillfile.Entry
}

func (f *fakeTxn) Discard() {
	f.b.mu.Lock()
	defer f.b.mu.Unlock()
	f.b.given++
}

func (b *fakeBadger) Prepare(c *Commit) error {
	c.Prepared = &fakeTxn{b, slices.Clone(c.Entries)}
	return nil
}

func (b *fakeBadger) Send(c *Commit, answer func(error)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	entries := slices.Clone(c.Entries)
	if txn, ok := c.Prepared.(*fakeTxn); ok {
		entries = txn.entries
	}
	c.Prepared = nil
	b.sent, b.carried = append(b.sent, string(c.Entries[0].Key)), append(b.carried, entries)
	if b.held {
		b.answers = append(b.answers, answer)
		return
	}
	go answer(b.fail)
}

func (b *fakeBadger) SetDiscardTs(ts uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.discarded = append(b.discarded, ts)
}

func (b *fakeBadger) hold() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held = true
}

// answer gives all answers that are held, in order or from the last to the first.
func (b *fakeBadger) answer(err error, backwards bool) {
	answers := b.taken()
	for i := range answers {
		if backwards {
			i = len(answers) - 1 - i
		}
		answers[i](err)
	}
}

// taken returns the answers that are kept, in the order of what was sent, and keeps no more.
func (b *fakeBadger) taken() []func(error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	answers := b.answers
	b.answers, b.held = nil, false
	return answers
}

// kept returns the answers that are kept, in the order of what was sent.
func (b *fakeBadger) kept() []func(error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.answers)
}

func (b *fakeBadger) keys() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.sent...)
}

// fakeLog is a log whose leader is whoever comes first.
type fakeLog struct {
	w       *world
	mu      sync.Mutex
	written sync.Cond
	queue   []*spillfile.Batch
	names   map[*spillfile.Batch]string // the keys of what is queued
	queued  int64                       // of the queue, and of the group that is being written
	leading bool
	keys    []string // what it holds, in order
	history []string // all that was ever appended
	rotated []uint64
	relieve int
	gate    chan struct{} // if set, groups are written when it is closed
	fail    error
}

// write says how groups are written from now on: gate and fail.
func (l *fakeLog) write(gate chan struct{}, fail error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gate, l.fail = gate, fail
}

func (l *fakeLog) Empty() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.keys) == 0
}

func (l *fakeLog) State() spillfile.State {
	l.mu.Lock()
	defer l.mu.Unlock()
	st := spillfile.State{Queued: l.queued, LiveBatches: int64(len(l.keys))}
	if len(l.keys) > 0 {
		st.LiveSegments = 1
	}
	return st
}

func (l *fakeLog) Rotate(directThrough uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rotated = append(l.rotated, directThrough)
}

func (l *fakeLog) Relieve() { l.relieve++ }

func (l *fakeLog) Enqueue(b *spillfile.Batch, ts uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue = append(l.queue, b)
	l.names[b] = string(b.Owner.(*Commit).Entries[0].Key)
	l.queued++
}

func (l *fakeLog) EnqueueAll(batches []*spillfile.Batch, ts func(int) uint64, followed bool) {
	for i, b := range batches {
		l.Enqueue(b, ts(i))
	}
}

func (l *fakeLog) Commit(b *spillfile.Batch) error {
	l.mu.Lock()
	for l.leading {
		l.written.Wait()
	}
	group := l.queue
	l.queue, l.leading = nil, true
	gate, fail := l.gate, l.fail
	l.mu.Unlock()
	if len(group) > 0 {
		if gate != nil {
			<-gate
		}
		l.mu.Lock()
		for _, b := range group {
			if key := l.names[b]; fail == nil {
				l.keys, l.history = append(l.keys, key), append(l.history, key)
			}
		}
		l.queued -= int64(len(group))
		l.mu.Unlock()
		l.w.Spilled(group, fail)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leading = false
	l.written.Broadcast()
	return fail
}

func (l *fakeLog) Quiesce(patience time.Duration) bool {
	for begin := time.Now(); ; time.Sleep(time.Millisecond) {
		l.mu.Lock()
		empty := l.queued == 0
		l.mu.Unlock()
		if empty || patience > 0 && time.Since(begin) > patience {
			return empty
		}
	}
}

func (l *fakeLog) appended() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.keys...)
}

// replayed empties it: what a hand-over's last step does.
func (l *fakeLog) replayed() (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.keys = nil
	return true, nil
}

// fakeRoom has a tier that the test sets, and counts what is taken.
type fakeRoom struct {
	w       *world
	mu      sync.Mutex
	spills  bool // the tier is Spill
	full    bool // the spill takes nothing
	shuns   bool // it is full once it has failed
	blocked chan struct{}
	active  bool

	memory, spill, claims int64
	reserved              []wbm.Outcome
	held                  bool // Badger takes no writes
	failed                int
	claimErr              func(way wbm.Outcome) (again bool, err error)
	turns                 []Cause // what Reserve asks for first, one after the other
}

func (r *fakeRoom) set(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

func (r *fakeRoom) Reserve(req wbm.Request, w *Wait) (Ticket, Cause, error) {
	r.mu.Lock()
	blocked := r.blocked
	r.mu.Unlock()
	if blocked != nil {
		if err := w.until(blocked, "there is no room"); err != nil {
			return Ticket{}, NoTurn, err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.turns) > 0 {
		turn := r.turns[0]
		r.turns = r.turns[1:]
		return Ticket{}, turn, nil
	}
	for r.active && r.full {
		r.mu.Unlock()
		time.Sleep(time.Millisecond)
		err := w.Ended("the spill is full")
		if r.mu.Lock(); err != nil {
			return Ticket{}, NoTurn, err
		}
	}
	way := wbm.Direct
	if (r.spills || r.active) && !r.full {
		way = wbm.Spilled
		r.spill += req.Spill
	} else {
		r.memory += req.Memory
	}
	r.reserved = append(r.reserved, way)
	return Ticket{Way: way, Request: req}, NoTurn, nil
}

func (r *fakeRoom) Cancel(t Ticket) {
	r.set(func() {
		if t.Way == wbm.Spilled {
			r.spill -= t.Request.Spill
		} else {
			r.memory -= t.Request.Memory
		}
		r.claims -= t.Claim
	})
}

func (r *fakeRoom) Shrink(t Ticket, exact wbm.Request) Ticket {
	r.set(func() { r.spill -= t.Request.Spill - exact.Spill })
	t.Request = exact
	return t
}

func (r *fakeRoom) Claim(t Ticket, c *Commit) (_ Ticket, again bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.claimErr != nil {
		if again, err = r.claimErr(t.Way); err != nil {
			return t, again, err
		}
	}
	t.Claim = c.RawBytes
	if t.Way == wbm.Spilled {
		t.Claim = c.Batch.DiskSize()
	}
	r.claims += t.Claim
	return t, false, nil
}

func (r *fakeRoom) Full() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.full
}

func (r *fakeRoom) ShouldSpill(int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.spills && !r.full
}

func (r *fakeRoom) SetActive(spilling bool) { r.set(func() { r.active = spilling }) }

func (r *fakeRoom) ForceSpilled(b *spillfile.Batch) {
	r.set(func() { r.spill += b.DiskSize(); r.claims += b.DiskSize() })
}

func (r *fakeRoom) ForceDirect(c *Commit) (claim int64) {
	r.set(func() { r.memory += c.Memory; r.claims += c.RawBytes })
	return c.RawBytes
}

func (r *fakeRoom) BadgerTakes() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.held
}

func (r *fakeRoom) Answered(c *Commit, _ error) {
	r.set(func() { r.memory -= c.Memory; r.claims -= c.Claim })
}

func (r *fakeRoom) Spilled(batches []*spillfile.Batch, claimed int64) {
	r.set(func() {
		r.claims -= claimed
		for _, b := range batches {
			r.spill -= b.DiskSize()
		}
	})
}

func (r *fakeRoom) SpillFailed() { r.set(func() { r.failed++; r.full = r.full || r.shuns }) }

// nothing asserts that all that was taken is given back.
func (r *fakeRoom) nothing() {
	r.mu.Lock()
	defer r.mu.Unlock()
	require.Zero(r.w.t, r.memory, "memory")
	require.Zero(r.w.t, r.spill, "room in the spill")
	require.Zero(r.w.t, r.claims, "room on disk")
}

// fakeAudience notes what it is told.
type fakeAudience struct {
	w       *world
	mu      sync.Mutex
	told    []string
	hedged  []int // by each turn to the spill
	turns   []Turn
	appends []error
	cause   int
	gate    chan struct{} // if set, GivenUp returns when it is closed

	subscribers uint64
	delivered   []uint64
}

func (a *fakeAudience) note(s string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.told = append(a.told, s)
}

func (a *fakeAudience) notes() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.told...)
}

func (a *fakeAudience) Throttle(*Wait) error { return nil }

func (a *fakeAudience) Match(c *Commit) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.subscribers > 0 {
		c.Updates = a
	}
}

func (a *fakeAudience) Matches() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.subscribers
}

func (a *fakeAudience) Deliver(c *Commit) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.delivered = append(a.delivered, c.Ts)
}

func (a *fakeAudience) TurnedToSpill(cause Cause, hedged int) {
	a.note([...]string{"memory", "stall", "queue", "recovery", "policy", "space", "rate", "held"}[cause])
	a.mu.Lock()
	defer a.mu.Unlock()
	a.hedged = append(a.hedged, hedged)
}

func (a *fakeAudience) TurnedToBadger(t Turn) {
	a.note("badger")
	a.mu.Lock()
	defer a.mu.Unlock()
	a.turns = append(a.turns, t)
}

func (a *fakeAudience) StallBegan(*Stall)  { a.note("stall begins") }
func (a *fakeAudience) StallEnded(*Stall)  { a.note("stall ends") }
func (a *fakeAudience) StallCause() int    { return a.cause }
func (a *fakeAudience) InFlight()          {}
func (a *fakeAudience) AppendFailed(error) { a.note("append failed") }
func (a *fakeAudience) DiscardEnded()      { a.note("discard ended") }

func (a *fakeAudience) Appended(_ time.Duration, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.appends = append(a.appends, err)
}

func (a *fakeAudience) GivenUp() {
	if a.gate != nil {
		<-a.gate
	}
	a.note("given up")
}
