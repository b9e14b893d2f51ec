package badgerspill

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/internal/host"
	"github.com/badgerspill/badgerspill/badgerspill/internal/pipeline"
	"github.com/badgerspill/badgerspill/integration_test/kit"
	"github.com/badgerspill/badgerspill/replay"
	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/wbm"
)

// The liveness test runs several databases on one budget, most of them idle, and does to them what
// has made others hang. One goroutine writes to several in turn, transactions and iterators pin
// memtables, Badger does not answer for a while or for good, a database is closed while writers
// wait in it. An oracle watches every call: it must end within its bound, and with an outcome that
// fits. Stalls and runs of replay must begin and end in pairs. In the end the budget counts what is
// there, and when all is closed, nothing.

var livenessFlag = flag.Duration("liveness", 0, "how long the liveness test runs in all; 0 = a few seconds")

const (
	// livenessBound is what a call may take beside the waits that it is told to make, on a machine
	// that has much else to do.
	livenessBound = 15 * time.Second
	// holdLimit is for how long Badger does not answer, unless that is for good.
	holdLimit = 300 * time.Millisecond
	// livenessRound is how long one set of databases is used in a long run.
	livenessRound   = 10 * time.Second
	livenessWriters = 4
	// oldSnapshots is how many transactions are kept open, and pin memtables.
	oldSnapshots = 6
	// commitsUnderWay is how many commits a writer leaves behind while it goes on elsewhere.
	commitsUnderWay = 3
)

func TestLiveness(t *testing.T) {
	rng := random(t)
	begun := time.Now()
	for round := 0; ; round++ {
		n := []int{2, 10, 100}[round%3]
		d := livenessRound
		switch {
		case *livenessFlag > 0 && time.Since(begun) > *livenessFlag, *livenessFlag == 0 && round == 3:
			return
		case *livenessFlag == 0:
			d = time.Second
		}
		t.Run(strconv.Itoa(n)+" databases", func(t *testing.T) {
			l := newLiveness(t, rand.New(rand.NewPCG(rng.Uint64(), 1)), n)
			l.run(d)
			l.settle()
			l.end()
		})
		if t.Failed() {
			return
		}
	}
}

// callOracle knows the calls that are under way, and how those that are over have ended.
type callOracle struct {
	mu       sync.Mutex
	calls    map[*watchedCall]bool
	failures []error
	ended    map[string]int // by outcome
	worst    time.Duration  // beyond what a call was told to wait
	worstIs  string
}

type watchedCall struct {
	what  string
	begun time.Time
	wait  time.Duration
}

func (o *callOracle) fail(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.failures) < 20 {
		o.failures = append(o.failures, fmt.Errorf(format, args...))
	}
}

// begin watches a call that may wait so long, and livenessBound more. end must be called with how
// it ended.
func (o *callOracle) begin(wait time.Duration, format string, args ...any) (end func(outcome string) time.Duration) {
	c := &watchedCall{fmt.Sprintf(format, args...), time.Now(), max(wait, 0)}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.calls[c] = true
	return func(outcome string) time.Duration {
		took := time.Since(c.begun)
		o.mu.Lock()
		defer o.mu.Unlock()
		delete(o.calls, c)
		o.ended[outcome]++
		if over := took - c.wait; over > o.worst {
			o.worst, o.worstIs = over, c.what+": "+outcome
		}
		return took
	}
}

// watch ends the process with all stacks when a call is overdue.
func (o *callOracle) watch(stop <-chan struct{}) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-stop:
			return
		}
		o.mu.Lock()
		for c := range o.calls {
			if time.Since(c.begun) > c.wait+livenessBound {
				debug.SetTraceback("all")
				panic("hangs: " + c.what)
			}
		}
		o.mu.Unlock()
	}
}

// eventPairs checks that events come in pairs, and that tiers follow each other.
type eventPairs struct {
	mu              sync.Mutex
	stalled, runs   int
	stalls, replays int
	tier            wbm.Tier
	tiers           int
	wrong           []string
}

func (p *eventPairs) listener() *EventListener {
	step := func(open *int, by int, count *int, what string) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if *open += by; *open < 0 || *open > 1 {
			p.wrong = append(p.wrong, fmt.Sprintf("%s: %d are open", what, *open))
		}
		*count++
	}
	return &EventListener{
		StallBegin:  func(StallInfo) { step(&p.stalled, 1, &p.stalls, "stall begins") },
		StallEnd:    func(StallInfo) { step(&p.stalled, -1, &p.stalls, "stall ends") },
		ReplayBegin: func(replay.Run) { step(&p.runs, 1, &p.replays, "replay begins") },
		ReplayEnd:   func(replay.Run) { step(&p.runs, -1, &p.replays, "replay ends") },
		TierChange: func(c TierChangeInfo) {
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.tiers > 0 && c.Old != p.tier || c.Old == c.New {
				p.wrong = append(p.wrong, fmt.Sprintf("tier %v becomes %v after %v", c.Old, c.New, p.tier))
			}
			p.tier = c.New
			p.tiers++
		},
	}
}

// livenessDB is one of the databases. What it is changes with each reopening.
type livenessDB struct {
	number   int
	opt      Options
	forGood  bool         // its Badger answers nothing before the end
	readable sync.RWMutex // held by who has a transaction open; Close waits for them
	now      atomic.Pointer[openDB]
}

type openDB struct {
	*DB
	stub    *stubEngine
	events  *eventPairs
	closing atomic.Bool // Close is about to be called, or was
}

type liveness struct {
	t       *testing.T
	rng     *rand.Rand
	manager *wbm.WriteBufferManager
	limit   int64
	dbs     []*livenessDB
	busy    []*livenessDB // that get most writes
	oracle  callOracle
	chaos   []func() // ends what is still on
	stalls  atomic.Int64
	replays atomic.Int64
	seals   atomic.Int64
	ackedMu sync.Mutex
	acked   []map[*livenessDB]int // by writer: the last commit that was acknowledged
	stop    chan struct{}
	watcher kit.WaitGroup
}

func newLiveness(t *testing.T, rng *rand.Rand, n int) *liveness {
	l := &liveness{t: t, rng: rng, limit: int64(16+n) << 17, stop: make(chan struct{})}
	for range livenessWriters {
		l.acked = append(l.acked, map[*livenessDB]int{})
	}
	l.oracle.calls, l.oracle.ended = map[*watchedCall]bool{}, map[string]int{}
	var err error
	l.manager, err = wbm.New(wbm.Options{Limit: l.limit})
	require.NoError(t, err)
	for i := range n {
		opt := testOptions(t.TempDir())
		small(&opt)
		opt.ValueLogFileSize, opt.BlockCacheSize = 1<<20, 1<<20
		opt.WriteBufferManager = l.manager
		opt.Tuning.SegmentSize = 16 << 10
		opt.SpillPolicy = []SpillPolicy{Never, Auto, Auto, Auto}[rng.IntN(4)]
		opt.SpillCapacity = []int64{64 << 10, 1 << 20, 1 << 30}[rng.IntN(3)]
		opt.BlockTimeout = []time.Duration{0, 0, 30 * time.Millisecond, 150 * time.Millisecond, -1}[rng.IntN(5)]
		opt.StallThreshold = []time.Duration{-1, time.Millisecond, 20 * time.Millisecond}[rng.IntN(3)]
		opt.Tuning.SpillRate = []float64{-1, 0, 20}[rng.IntN(3)]
		opt.KeepSpillOnClose = rng.IntN(2) != 0
		// a turn because of the rate may come after the last Drain, and must end
		if opt.Tuning.SpillRate >= 0 || rng.IntN(2) == 0 {
			eager(&opt)
		}
		d := &livenessDB{number: i, opt: opt}
		switch i {
		case 0: // its writers must be served by the spill, or time out
			d.forGood = true
			d.opt.SpillPolicy = Auto
			d.opt.StallThreshold, d.opt.SpillCapacity, d.opt.BlockTimeout = time.Millisecond, 256<<10, 100*time.Millisecond
		case 1: // its writers have nowhere else to go, and wait as long as it takes
			d.opt.SpillPolicy, d.opt.BlockTimeout = Never, 0
		}
		l.dbs = append(l.dbs, d)
	}
	l.busy = l.dbs[:max(2, n/10)]
	var opening kit.WaitGroup
	for _, d := range l.dbs {
		opening.Go(func() { l.open(d) })
	}
	opening.Wait()
	require.Empty(t, l.oracle.failures)
	l.watcher.Go(func() { l.oracle.watch(l.stop) })
	l.fillIdle()
	return l
}

// fillIdle makes those that get no writes hold most of the budget, in memtables that are not full.
// Only if they are asked for it do the others get on.
func (l *liveness) fillIdle() {
	idle := l.dbs[len(l.busy):]
	for i, d := range idle {
		share := int(l.limit) * 3 / 4 / len(idle)
		for n := 0; share > 0; n++ {
			end := l.oracle.begin(holdLimit, "first commit to database %d", i)
			err := d.now.Load().Update(func(txn *Txn) error { return some(txn, fmt.Sprintf("idle/%d", n), min(share, 64<<10)) })
			end("idle")
			if !errors.Is(err, ErrWriteBlocked) { // the others are enough
				require.NoError(l.t, err)
			}
			share -= 64 << 10
		}
	}
}

func (l *liveness) open(d *livenessDB) {
	o := &openDB{stub: &stubEngine{}, events: &eventPairs{}}
	opt := d.opt
	opt.EventListener = o.events.listener()
	opt.seams = seams{fs: spillfile.OS, engine: func(e engine) engine { o.stub.engine = e; return o.stub }}
	var sends atomic.Int64
	o.stub.mu.failSend = func(*pipeline.Commit) error {
		if sends.Add(1)%50 == 0 {
			return errTest
		}
		return nil
	}
	var err error
	if o.DB, err = Open(opt); err != nil {
		l.oracle.fail("open of database %d: %w", d.number, err)
		return
	}
	d.now.Store(o)
}

// close closes a database that may have writers in it, and checks what is to be checked then.
func (l *liveness) close(d *livenessDB) {
	o := d.now.Load()
	o.closing.Store(true)
	d.readable.Lock()
	defer d.readable.Unlock()
	end := l.oracle.begin(holdLimit, "Close of database %d", d.number)
	err := o.Close()
	end("closed")
	if err != nil {
		l.oracle.fail("close of database %d: %w", d.number, err)
	}
	p := o.events
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stalled != 0 || p.runs != 0 || len(p.wrong) > 0 {
		l.oracle.fail("database %d: after Close %d stalls and %d runs of replay are open, %v", d.number, p.stalled, p.runs, p.wrong)
	}
	l.stalls.Add(int64(p.stalls / 2))
	l.replays.Add(int64(p.replays / 2))
	l.seals.Add(int64(o.stub.seals()))
}

// run lets everybody act for d.
func (l *liveness) run(d time.Duration) {
	if first := l.dbs[0]; first.forGood {
		first.now.Load().stub.hold()
	}
	over := make(chan struct{})
	var writers kit.WaitGroup
	for w := range livenessWriters {
		r := rand.New(rand.NewPCG(l.rng.Uint64(), uint64(w)))
		writers.Go(func() { (&livenessWriter{liveness: l, number: w, rng: r, sent: map[*livenessDB]int{}}).run(over) })
	}
	end := time.NewTimer(d)
	defer end.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for running := true; running; {
		select {
		case <-tick.C:
			l.disturb()
		case <-end.C:
			running = false
		}
	}
	// The writers end, although old snapshots are still there, and a Badger that answers nothing.
	close(over)
	writers.Wait()
	l.calm(true)
	require.Empty(l.t, l.oracle.failures)
}

// pick returns a database: one of the few that are busy, as a rule.
func (l *liveness) pick(r *rand.Rand) *livenessDB {
	if r.IntN(20) == 0 {
		return l.dbs[r.IntN(len(l.dbs))]
	}
	return l.busy[r.IntN(len(l.busy))]
}

// disturb does something to somebody.
func (l *liveness) disturb() {
	d := l.pick(l.rng)
	o := d.now.Load()
	switch n := l.rng.IntN(40); {
	case n < 3 && !d.forGood: // Badger answers neither commits nor replay for a while
		l.hold(o, time.Duration(l.rng.Int64N(int64(holdLimit))))
	case n < 4 && !d.forGood:
		l.calm(false)
		l.close(d)
		l.open(d)
	case n < 7:
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		end := l.oracle.begin(0, "Drain of database %d", d.number)
		switch err := o.Drain(ctx); {
		case err == nil:
			end("drained")
		case errors.Is(err, context.DeadlineExceeded):
			end("drain given up")
		default:
			end("drain failed")
			l.oracle.fail("drain of database %d: %w", d.number, err)
		}
		cancel()
	case n < 14:
		if l.rng.IntN(2) == 0 { // most of them where a writer would wait for what they hold
			d = l.dbs[1]
			o = d.now.Load()
		}
		if len(l.chaos) >= oldSnapshots {
			i := oldSnapshots/2 + l.rng.IntN(oldSnapshots/2) // some stay
			l.chaos[i]()
			l.chaos = slices.Delete(l.chaos, i, i+1)
		}
		l.chaos = append(l.chaos, l.pin(d, o, l.rng))
	case n < 16:
		if err := l.manager.SetLimit(l.limit/2 + l.rng.Int64N(l.limit/2)); err != nil {
			l.oracle.fail("SetLimit: %w", err)
		}
	}
	if n := l.manager.Leaks(); n != 0 {
		l.oracle.fail("%d leaks", n)
	}
}

// hold keeps Badger's answers back for d, and then lets it go on.
func (l *liveness) hold(o *openDB, d time.Duration) {
	wait := make(chan struct{})
	o.stub.set(func() {
		if o.stub.mu.holdSends {
			return // by an earlier one, whose end is the end of this one
		}
		o.stub.mu.holdSends = true
		o.stub.mu.onLoad = func(int, []entry) error { <-wait; return nil }
		time.AfterFunc(d, func() {
			o.stub.set(func() { o.stub.mu.onLoad = nil })
			close(wait)
			o.stub.release()
		})
	})
}

// pin opens a transaction and an iterator, which hold what Badger and the spill have now. end reads
// from them once more.
func (l *liveness) pin(d *livenessDB, o *openDB, r *rand.Rand) (end func()) {
	d.readable.RLock()
	if d.now.Load() != o || o.closing.Load() {
		d.readable.RUnlock()
		return func() {}
	}
	done := l.oracle.begin(holdLimit, "first read of database %d", d.number)
	txn := o.NewTransaction(r.IntN(2) == 0)
	it := txn.NewIterator(DefaultIteratorOptions)
	it.Rewind()
	done("read")
	return func() {
		for n := 0; it.Valid() && n < 50; n++ {
			if err := it.Item().Value(func([]byte) error { return nil }); err != nil {
				l.oracle.fail("an old iterator of database %d: %w", d.number, err)
			}
			it.Next()
		}
		it.Close()
		txn.Discard()
		d.readable.RUnlock()
	}
}

// calm ends old snapshots and, if all is set, lets every Badger answer.
func (l *liveness) calm(all bool) {
	for _, end := range l.chaos {
		end()
	}
	l.chaos = nil
	if all {
		l.dbs[0].now.Load().stub.release()
	}
}

// livenessWriter writes to several databases in turn.
type livenessWriter struct {
	*liveness
	number   int
	rng      *rand.Rand
	sent     map[*livenessDB]int
	underWay []func() // waits for a commit that was left behind
	unpin    func()   // an iterator of its own, which holds memory that it may wait for itself
	pinned   int
}

func (w *livenessWriter) run(over <-chan struct{}) {
	defer func() {
		for _, wait := range w.underWay {
			wait()
		}
		if w.unpin != nil {
			w.unpin()
		}
	}()
	for {
		select {
		case <-over:
			return
		default:
		}
		d := w.pick(w.rng)
		o := d.now.Load()
		if w.unpin != nil {
			if w.pinned--; w.pinned == 0 {
				w.unpin()
				w.unpin = nil
			}
		} else if w.rng.IntN(30) == 0 {
			w.unpin, w.pinned = w.pin(d, o, w.rng), 10
		}
		if len(w.underWay) >= commitsUnderWay {
			w.underWay[0]()
			w.underWay = w.underWay[1:]
		}
		w.write(d, o)
	}
}

func livenessKey(writer int) []byte { return fmt.Appendf(nil, "writer/%d", writer) }

func (w *livenessWriter) write(d *livenessDB, o *openDB) {
	txn := o.NewTransaction(true)
	defer txn.Discard()
	w.sent[d]++
	n := w.sent[d]
	err := txn.Set(livenessKey(w.number), strconv.AppendInt(nil, int64(n), 10))
	if size := w.rng.IntN(80) << 10; err == nil && w.rng.IntN(3) > 0 {
		err = some(txn, fmt.Sprintf("some/%d/%d", w.number, w.rng.IntN(30)), size)
	}
	if err != nil {
		w.oracle.fail("database %d: Set: %w", d.number, err)
		return
	}
	end := w.oracle.begin(d.opt.BlockTimeout, "commit %d of writer %d to database %d, which waits %v for room", n, w.number, d.number, d.opt.BlockTimeout)
	if w.rng.IntN(4) > 0 {
		w.ended(d, o, n, txn.Commit(), end)
		return
	}
	over := make(chan struct{})
	txn.CommitWith(func(err error) {
		w.ended(d, o, n, err, end)
		close(over)
	})
	w.underWay = append(w.underWay, func() { <-over })
}

// ended judges how a commit has ended.
func (w *livenessWriter) ended(d *livenessDB, o *openDB, n int, err error, end func(string) time.Duration) {
	switch {
	case err == nil:
		end("committed")
		w.ackedMu.Lock()
		w.acked[w.number][d] = max(w.acked[w.number][d], n)
		w.ackedMu.Unlock()
	case errors.Is(err, ErrWriteBlocked):
		took := end("timed out")
		if t := d.opt.BlockTimeout; t == 0 || took < t {
			w.oracle.fail("commit %d to database %d gave up after %v instead of %v", n, d.number, took, t)
		}
	case errors.Is(err, ErrBlockedWrites), errors.Is(err, ErrDBClosed):
		end("refused")
		if !o.closing.Load() {
			w.oracle.fail("commit %d to database %d, which nobody closes: %w", n, d.number, err)
		}
	case errors.Is(err, errTest):
		end("failed by Badger")
	default:
		end("failed")
		w.oracle.fail("commit %d to database %d: %w", n, d.number, err)
	}
}

// settle requires of each database, when nothing goes on any more, that what it counts is what it
// holds, and that what was acknowledged, and nothing else, is there.
func (l *liveness) settle() {
	t := l.t
	require.NoError(t, l.manager.SetLimit(l.limit))
	wrong := ""
	defer func() {
		if wrong != "" {
			t.Logf("at the end: %s", wrong)
		}
	}()
	for _, d := range l.dbs {
		o := d.now.Load()
		end := l.oracle.begin(holdLimit, "last Drain of database %d", d.number)
		require.NoError(t, o.Drain(o.ctx))
		end("drained")
		eventually(t, fmt.Sprintf("database %d counts what it holds", d.number), func() bool {
			o.watch.hurry()
			wrong = l.counts(o)
			return wrong == ""
		})
		last := map[int]string{}
		require.NoError(t, o.View(func(txn *Txn) error {
			for w := range l.acked {
				v, err := read(txn, string(livenessKey(w)))
				if err != nil {
					return err
				}
				last[w] = v
			}
			return nil
		}))
		for w, acked := range l.acked {
			want := absent
			if acked[d] > 0 {
				want = strconv.Itoa(acked[d])
			}
			require.Equal(t, want, last[w], "writer %d, database %d", w, d.number)
		}
	}
	var sum int64
	for _, a := range l.manager.Accounts() {
		sum += a.Usage
	}
	require.Equal(t, sum, l.manager.Usage())
	require.Zero(t, l.manager.Leaks())
}

// counts says what is wrong with the accounts of a database in which nothing goes on.
func (l *liveness) counts(o *openDB) string {
	st := o.logState()
	known := o.memtables.Known()
	numbers, _ := host.MemNumbers(o.opt.Dir)
	gone := 0
	for _, n := range known.Sealed {
		if !slices.Contains(numbers, n) {
			gone++
		}
	}
	switch a, sp := o.account, o.spill.Stats(); {
	case sp.Parked != 0:
		return fmt.Sprintf("%d writers are parked", sp.Parked)
	case a.UsageByKind(wbm.InFlight) != 0:
		return fmt.Sprintf("%d bytes are in flight", a.UsageByKind(wbm.InFlight))
	case a.UsageByKind(wbm.SpillIndex) != st.IndexBytes:
		return fmt.Sprintf("the index of the spill has %d bytes, %d are counted", st.IndexBytes, a.UsageByKind(wbm.SpillIndex))
	case o.spill.Usage() != st.DiskBytes:
		return fmt.Sprintf("the spill has %d bytes, %d are counted", st.DiskBytes, o.spill.Usage())
	case a.UsageByKind(wbm.Memtable) != known.Bytes:
		return fmt.Sprintf("the memtables have %d bytes, %d are counted", known.Bytes, a.UsageByKind(wbm.Memtable))
	case gone > 0 || len(numbers) != 1+len(known.Sealed):
		return fmt.Sprintf("Badger has %d memtables, %d are known, %d of them are gone", len(numbers), 1+len(known.Sealed), gone)
	case st.LiveBatches > 0 || o.routerState() != Direct:
		return "the spill is not empty"
	}
	return ""
}

// logState is the state of the log, or of none.
func (db *DB) logState() spillfile.State {
	if db.log == nil {
		return spillfile.State{}
	}
	return db.log.State()
}

// end closes everything, and requires that nothing is left in the budget.
func (l *liveness) end() {
	t := l.t
	var closing kit.WaitGroup
	for _, d := range l.dbs {
		closing.Go(func() { l.close(d) })
	}
	closing.Wait()
	close(l.stop)
	l.watcher.Wait()
	require.Empty(t, l.oracle.failures)
	require.Zero(t, l.manager.Leaks())
	require.Zero(t, l.manager.Usage())
	require.Empty(t, l.manager.Accounts())
	for _, kind := range []wbm.Kind{wbm.InFlight, wbm.Memtable, wbm.SpillIndex} {
		require.Zero(t, l.manager.UsageByKind(kind))
	}
	for _, d := range l.dbs {
		require.NoError(t, os.RemoveAll(d.opt.Dir))
	}
	ended := ""
	for _, what := range slices.Sorted(maps.Keys(l.oracle.ended)) {
		ended += fmt.Sprintf("%s %d, ", what, l.oracle.ended[what])
	}
	t.Logf("%s%d stalls, %d runs of replay, %d seals; longest beyond its wait: %v (%s)", ended, l.stalls.Load(), l.replays.Load(), l.seals.Load(),
		l.oracle.worst.Round(time.Millisecond), l.oracle.worstIs)
}
