package badgerspill

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/internal/host"
	"github.com/badgerspill/badgerspill/badgerspill/internal/notify"
	"github.com/badgerspill/badgerspill/badgerspill/internal/pipeline"
	"github.com/badgerspill/badgerspill/integration_test/kit"
	"github.com/badgerspill/badgerspill/replay"
	"github.com/badgerspill/badgerspill/wbm"
)

// told is one event.
type told struct {
	name string
	info any
}

// listenToAll returns a listener of every event there is.
func listenToAll(tell func(told)) *EventListener {
	l := &EventListener{}
	v := reflect.ValueOf(l).Elem()
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		v.Field(i).Set(reflect.MakeFunc(v.Field(i).Type(), func(args []reflect.Value) []reflect.Value {
			tell(told{name, args[0].Interface()})
			return nil
		}))
	}
	return l
}

// chronicle keeps all events in order.
type chronicle struct {
	mu  sync.Mutex
	all []told
}

func (c *chronicle) listener() *EventListener {
	return listenToAll(func(e told) { c.mu.Lock(); defer c.mu.Unlock(); c.all = append(c.all, e) })
}

func (c *chronicle) events() []told { c.mu.Lock(); defer c.mu.Unlock(); return slices.Clone(c.all) }

func (c *chronicle) names() (names []string) {
	for _, e := range c.events() {
		names = append(names, e.name)
	}
	return names
}

// find returns the events of a name, in order.
func find[T any](c *chronicle, name string) (all []T) {
	for _, e := range c.events() {
		if e.name == name {
			all = append(all, e.info.(T))
		}
	}
	return all
}

func (c *chronicle) opt(opt *Options) { opt.EventListener = c.listener() }

// requireOrder requires that names contain the given ones in that order, others between them or
// not.
func requireOrder(t *testing.T, names []string, want ...string) {
	t.Helper()
	rest := names
	for _, w := range want {
		i := slices.Index(rest, w)
		require.GreaterOrEqual(t, i, 0, "no %s where it should be in %v, in the order of %v", w, names, want)
		rest = rest[i+1:]
	}
}

func TestEventsTakeOneStruct(t *testing.T) {
	for f := range fieldsOf(reflect.TypeFor[EventListener]()) {
		require.Equal(t, reflect.Func, f.Type.Kind(), f.Name)
		require.Equal(t, 1, f.Type.NumIn(), f.Name)
		require.Zero(t, f.Type.NumOut(), f.Name)
		require.Equal(t, reflect.Struct, f.Type.In(0).Kind(), f.Name)
	}
}

// One stall from its begin until Badger has everything, told in the order in which it happened.
func TestEventsOfAStall(t *testing.T) {
	c := &chronicle{}
	f := open(t, c.opt, func(opt *Options) { opt.StallThreshold, opt.Tuning.SegmentSize = 10*time.Millisecond, 4<<10 })
	f.stub.hold()
	f.put("k", "v")
	for i := range 3 {
		f.put(key(i), incompressible(4<<10, i))
	}
	f.stub.release()
	receive(t, "StallEnd", f.events.stallEnd)
	f.drained()
	f.direct()
	f.put("after", "v")
	require.NoError(t, f.Close())

	requireOrder(t, c.names(), "StallBegin", "SpillBegin", "SegmentCreated", "SegmentSealed", "StallEnd", "ReplayBegin", "ReplayProgress", "HandOver", "ReplayEnd")
	begun, ended := find[StallInfo](c, "StallBegin"), find[StallInfo](c, "StallEnd")
	require.Len(t, begun, 1)
	require.Len(t, ended, 1)
	require.Equal(t, []any{StallBusy, 1}, []any{begun[0].Cause, begun[0].Commits})
	require.Equal(t, []any{StallBusy, 1}, []any{ended[0].Cause, ended[0].Commits})
	require.GreaterOrEqual(t, begun[0].Duration, 10*time.Millisecond)
	require.Greater(t, ended[0].Duration, begun[0].Duration)
	require.Equal(t, []SpillBeginInfo{{Cause: CauseStall, Hedged: 1}}, find[SpillBeginInfo](c, "SpillBegin"))
	over := find[HandOverInfo](c, "HandOver")
	require.Len(t, over, 1)
	require.NoError(t, over[0].Err)
	require.False(t, over[0].Dropped)
	require.Positive(t, over[0].Held)
	require.Greater(t, over[0].Spilled, over[0].Held)

	runs := find[replay.Run](c, "ReplayEnd")
	require.Len(t, find[replay.Run](c, "ReplayBegin"), len(runs))
	last := runs[len(runs)-1]
	require.Equal(t, []any{replay.ReasonDrain, true, error(nil)}, []any{last.Reason, last.Drained, last.Err})
	steps := find[replay.Run](c, "ReplayProgress")
	require.Equal(t, last.Bytes, steps[len(steps)-1].Bytes)

	// Each segment goes through its events in order, with its path and what it holds.
	segments := map[uint64][]string{}
	for _, e := range c.events() {
		info, ok := e.info.(SegmentInfo)
		if !ok {
			continue
		}
		segments[info.Segment] = append(segments[info.Segment], e.name)
		require.Equal(t, fmt.Sprintf("%010d.seg", info.Segment), filepath.Base(info.Path))
		require.Equal(t, f.opt.Dir, filepath.Dir(filepath.Dir(info.Path)))
		require.Positive(t, info.Bytes, "%s of %d", e.name, info.Segment)
	}
	require.GreaterOrEqual(t, len(segments), 3)
	for _, names := range segments {
		require.Equal(t, []string{"SegmentCreated", "SegmentSealed", "SegmentDropped", "SegmentRemoved"}, names)
	}
}

func TestEventsOfTheTiers(t *testing.T) {
	c := &chronicle{}
	f := open(t, c.opt)
	limit := f.manager.Limit()
	free := f.occupy(f.share(0.85))
	more := f.occupy(limit)
	more()
	free()
	require.NoError(t, f.Close())
	tiers := find[TierChangeInfo](c, "TierChange")
	for i := range tiers {
		require.Equal(t, limit, tiers[i].Limit)
		tiers[i].Limit = 0
	}
	require.Equal(t, []TierChangeInfo{
		{wbm.Normal, wbm.Flush, f.share(0.85), 0}, {wbm.Flush, wbm.Block, limit, 0},
		{wbm.Block, wbm.Flush, f.share(0.85), 0}, {wbm.Flush, wbm.Normal, 0, 0},
	}, tiers)
}

// A commit that waits for room is told twice, with what became of it.
func TestEventsOfBlockedWriters(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*Options)
		end    func(f *fixture, free func())
		want   WriterReleasedInfo
		err    error
	}{
		{"room in memory", nil, func(f *fixture, free func()) { free() }, WriterReleasedInfo{}, nil},
		{"no room in time", func(opt *Options) { opt.BlockTimeout = 50 * time.Millisecond }, func(*fixture, func()) {}, WriterReleasedInfo{}, ErrWriteBlocked},
		{"closed", nil, func(f *fixture, _ func()) { require.NoError(f.t, f.Close()) }, WriterReleasedInfo{}, ErrBlockedWrites},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := &chronicle{}
			f := open(t, c.opt, func(opt *Options) {
				opt.SpillPolicy = Never
				if row.change != nil {
					row.change(opt)
				}
			})
			free := f.occupy(f.manager.Limit())
			done := f.putAsync("k", "v")
			begun := receive(t, "WriterBlocked", f.events.blocked)
			require.Equal(t, WriterBlockedInfo{Writer: 1, Bytes: begun.Bytes, Waiting: 1}, begun)
			require.Positive(t, begun.Bytes)
			row.end(f, free)
			require.ErrorIs(t, receive(t, "the commit", done), row.err)
			ended := receive(t, "WriterReleased", f.events.released)
			require.ErrorIs(t, ended.Err, row.err)
			require.Positive(t, ended.Waited)
			if row.err == ErrWriteBlocked {
				require.GreaterOrEqual(t, ended.Waited, 50*time.Millisecond)
			}
			row.want.Writer, row.want.Bytes, row.want.Waited, row.want.Err = 1, begun.Bytes, ended.Waited, ended.Err
			require.Equal(t, row.want, ended)
			require.Zero(t, f.SpillStats().BlockedNow)
		})
	}
}

// Many commits wait: each has its pair, and how many wait is right in the end.
func TestEventsOfManyBlockedWriters(t *testing.T) {
	c := &chronicle{}
	f := open(t, c.opt, func(opt *Options) { opt.SpillPolicy = Never })
	free := f.occupy(f.manager.Limit())
	const n = 300
	var writers kit.WaitGroup
	for i := range n {
		writers.Go(func() { require.NoError(t, put(f.DB, key(i), "v")) })
	}
	eventually(t, "all wait, and are told of", func() bool { return len(find[WriterBlockedInfo](c, "WriterBlocked")) == n })
	require.EqualValues(t, n, f.SpillStats().BlockedNow)
	free()
	writers.Wait()
	require.NoError(t, f.Close())
	open, most := map[uint64]bool{}, 0
	for _, e := range c.events() {
		switch info := e.info.(type) {
		case WriterBlockedInfo:
			require.False(t, open[info.Writer])
			open[info.Writer] = true
			most = max(most, len(open))
		case WriterReleasedInfo:
			require.True(t, open[info.Writer], "released, and not blocked")
			delete(open, info.Writer)
		}
	}
	require.Empty(t, open)
	require.Equal(t, n, most)
	require.Len(t, find[WriterBlockedInfo](c, "WriterBlocked"), int(f.SpillStats().CommitsBlocked))
	require.Zero(t, f.SpillStats().EventsDropped)
}

// Who waits for room when Badger's disk gets low is told so.
func TestEventsOfAWriterThatLosesItsDisk(t *testing.T) {
	d := newDisks(1 << 30)
	f := open(t, on(d), func(opt *Options) { opt.SpillPolicy = Never })
	f.occupy(f.manager.Limit())
	done := f.putAsync("k", "v")
	receive(t, "WriterBlocked", f.events.blocked)
	d.badgerFree.Store(0)
	f.room.Look()
	require.ErrorIs(t, receive(t, "the commit", done), ErrNoSpace)
	require.ErrorIs(t, receive(t, "WriterReleased", f.events.released).Err, ErrNoSpace)
}

// Commits that never could go to the spill go to Badger again, and so they do when everything is
// dropped.
func TestEventsOfOtherHandOvers(t *testing.T) {
	t.Run("first append fails", func(t *testing.T) {
		f := open(t)
		f.hooks.set(failSegmentWrites)
		f.occupy(f.share(0.95))
		f.put("k", "v")
		require.Equal(t, SpillBeginInfo{Cause: CauseMemory}, receive(t, "SpillBegin", f.events.spillBegin))
		over := receive(t, "HandOver", f.events.handOver)
		require.ErrorIs(t, over.Err, errTest)
		require.Positive(t, over.Spilled)
		require.ErrorIs(t, receive(t, "BackgroundError", f.events.failed).Err, errTest)
	})
	t.Run("dropped", func(t *testing.T) {
		f := open(t)
		f.spillOne("k", "v")
		receive(t, "SpillBegin", f.events.spillBegin)
		require.NoError(t, f.DropAll())
		over := receive(t, "HandOver", f.events.handOver)
		require.True(t, over.Dropped)
		require.NoError(t, over.Err)
		require.Empty(t, f.events.handOver)
	})
}

// A listener may do with the database what it likes, but for Close.
func TestListenerMayUseTheDatabase(t *testing.T) {
	var db atomic.Pointer[DB]
	var used sync.Map
	var busy atomic.Bool // what the listener itself causes is told too
	listener := listenToAll(func(e told) {
		db := db.Load()
		if db == nil || busy.Swap(true) {
			return
		}
		defer busy.Store(false)
		if _, again := used.LoadOrStore(e.name, true); again {
			return
		}
		db.SpillStats()
		if err := put(db, "by "+e.name, "v"); err != nil && !db.IsClosed() {
			t.Errorf("%s: %v", e.name, err)
		}
		if err := errors.Join(db.Drain(db.ctx), db.Sync()); err != nil && !db.IsClosed() {
			t.Errorf("%s: %v", e.name, err)
		}
	})
	f := open(t, func(opt *Options) {
		opt.EventListener, opt.StallThreshold, opt.Tuning.SegmentSize = listener, 5*time.Millisecond, 4<<10
	})
	db.Store(f.DB)
	f.stub.hold()
	f.put("k", "v")
	f.stub.release()
	spill := func(key string, i int) { // the listener may drain it at once
		free := f.occupy(f.share(0.95))
		f.put(key, incompressible(4<<10, i))
		free()
	}
	for i := range 5 {
		spill(key(i), i)
		f.drained()
	}
	eventually(t, "all kinds were told of", func() bool {
		for _, name := range []string{"TierChange", "SpillBegin", "HandOver", "SegmentCreated", "SegmentDropped", "ReplayBegin", "ReplayEnd"} {
			if _, ok := used.Load(name); !ok {
				busy.Store(false)
				spill("again", 1)
				f.drained()
				return false
			}
		}
		return true
	})
	require.NoError(t, f.Close())
}

// slowListener holds the events goroutine in its first event until it is let go.
type slowListener struct {
	chronicle
	entered chan struct{}
	release chan struct{}
	once    sync.Once
}

func newSlowListener() *slowListener {
	return &slowListener{entered: make(chan struct{}), release: make(chan struct{})}
}

func (s *slowListener) listener() *EventListener {
	return listenToAll(func(e told) {
		s.once.Do(func() { close(s.entered); <-s.release })
		s.mu.Lock()
		defer s.mu.Unlock()
		s.all = append(s.all, e)
	})
}

// Nothing waits for a listener that hangs, and what waits for it has a bound. Of pairs both are
// told or neither.
func TestSlowListener(t *testing.T) {
	s := newSlowListener()
	lines := &logLines{}
	e := newEvents(s.listener(), &badger.Options{Logger: lines})
	e.tier(wbm.Normal, wbm.Flush, mustManager(t))
	receive(t, "the first event", s.entered)
	for i := range notify.Bound {
		e.segment(segmentCreated(uint64(i)))
	}
	var ends []func(WriterReleasedInfo)
	for range 10 { // no room for what comes often
		ends = append(ends, e.writerBlocked(1, 1))
	}
	e.replayBegin(replay.Run{}) // but for what is rare
	for range notify.Bound {
		e.spillBegin(CauseStall, 0)
	}
	st := &pipeline.Stall{}
	e.stallBegin(st)
	for _, end := range ends {
		end(WriterReleasedInfo{})
	}
	e.stallEnd(st)
	e.replayEnd(replay.Run{}) // its begin was told: no bound holds it up
	require.Equal(t, notify.Bound+1, e.Waiting())
	close(s.release)
	e.Close()

	require.Len(t, s.events(), 1+notify.Bound+1)
	require.Len(t, find[SegmentInfo](&s.chronicle, "SegmentCreated"), notify.Bound/2)
	require.Len(t, find[SpillBeginInfo](&s.chronicle, "SpillBegin"), notify.Bound/2-1)
	for name, n := range map[string]int{"ReplayBegin": 1, "ReplayEnd": 1, "WriterBlocked": 0, "WriterReleased": 0, "StallBegin": 0, "StallEnd": 0} {
		require.Equal(t, n, count(s.names(), name), name)
	}
	left := notify.Bound/2 + 10 + notify.Bound/2 + 1 + 1
	require.EqualValues(t, left, e.Dropped())
	require.Equal(t, []string{fmt.Sprintf("W badgerspill: the EventListener is slower than the events, %d were left out: let it pass them on to a goroutine of its own", left)}, lines.all())

	e.spillBegin(CauseStall, 0)
	e.Close() // would wait for it
	require.Len(t, s.events(), 1+notify.Bound+1, "none after close")
}

// The database goes on while its listener hangs.
func TestNothingWaitsForTheListener(t *testing.T) {
	s := newSlowListener()
	f := open(t, func(opt *Options) { opt.EventListener = s.listener() })
	f.spillOne("k", "v")
	receive(t, "the first event", s.entered)
	for i := range 20 {
		f.put(key(i), "v")
	}
	f.drained()
	f.direct()
	f.spillOne("k", "v2")
	f.drained()
	require.EqualValues(t, 2, f.SpillStats().HandOvers)
	close(s.release)
	require.NoError(t, f.Close())
	require.Equal(t, 2, count(s.names(), "HandOver"), "all are delivered when Close returns")
}

func TestTeeEventListener(t *testing.T) {
	var order []string
	tell := func(who string) *EventListener {
		return listenToAll(func(e told) { order = append(order, who+" "+e.name) })
	}
	a, b := tell("a"), tell("b")
	a.HandOver, b.TierChange = nil, nil
	tee := reflect.ValueOf(TeeEventListener(a, b)).Elem()
	for i := range tee.NumField() {
		f, name := tee.Field(i), tee.Type().Field(i).Name
		order = nil
		f.Call([]reflect.Value{reflect.Zero(f.Type().In(0))})
		want := []string{"a " + name, "b " + name}
		switch name {
		case "HandOver":
			want = want[1:]
		case "TierChange":
			want = want[:1]
		}
		require.Equal(t, want, order)
	}
	for _, l := range []*EventListener{TeeEventListener(nil, nil), TeeEventListener(&EventListener{}, &EventListener{})} {
		require.Equal(t, EventListener{}, *l)
	}
	require.NotNil(t, TeeEventListener(nil, a).SpillBegin)
	require.NotNil(t, TeeEventListener(a, nil).SpillBegin)
}

// The end of a stall knows what was found out while it lasted.
func TestStallEndKnowsTheCause(t *testing.T) {
	f := open(t, small, func(opt *Options) { opt.StallThreshold = 5 * time.Millisecond })
	f.stub.hold()
	f.put("k", "v")
	require.Equal(t, StallBusy, receive(t, "StallBegin", f.events.stallBegin).Cause)
	active := f.memtables.Known().Active
	// memtables that Badger seems to have sealed
	for n := active + 1; n <= active+f.opt.NumMemtables+1; n++ {
		f.account.Force(wbm.InFlight, 1)
		f.memtables.Answered(1, 1)
		path := host.MemPath(f.opt.Dir, n)
		require.NoError(t, os.WriteFile(path, nil, 0o600))
		defer os.Remove(path)
		eventually(t, "it is seen", func() bool { return f.memtables.Known().Active == n })
	}
	eventually(t, "the watcher has seen it", func() bool { return f.pipe.Status().StallCause == int(StallMemtables) })
	f.stub.release()
	require.Equal(t, StallMemtables, receive(t, "StallEnd", f.events.stallEnd).Cause)
}

// The time in each state adds up, and goes on where the state is.
func TestStateTime(t *testing.T) {
	f := open(t)
	sum := func() (sum time.Duration) {
		for _, d := range f.SpillStats().StateTime {
			sum += d
		}
		return sum
	}
	before := f.since(0)
	require.Zero(t, f.SpillStats().StateTime[Spilling])
	require.GreaterOrEqual(t, sum(), before)
	f.spillOne("k", "v")
	direct := f.SpillStats().StateTime[Direct]
	require.GreaterOrEqual(t, direct, before)
	eventually(t, "time passes", func() bool { return f.SpillStats().StateTime[Spilling] > 5*time.Millisecond })
	require.Equal(t, direct, f.SpillStats().StateTime[Direct])
	f.drained()
	spilling := f.SpillStats().StateTime[Spilling]
	require.Greater(t, spilling, 5*time.Millisecond)
	eventually(t, "time passes", func() bool { return f.SpillStats().StateTime[Direct] > direct+5*time.Millisecond })
	st := f.SpillStats()
	require.Equal(t, spilling, st.StateTime[Spilling])
	over := receive(t, "HandOver", f.events.handOver)
	require.GreaterOrEqual(t, over.Spilled, spilling)
	require.LessOrEqual(t, sum(), f.since(0))
	require.Positive(t, st.TierTime[wbm.Normal])
	require.Positive(t, st.TierTime[wbm.Spill], "while the one commit was made")
	require.Positive(t, st.ReplayStateTime[replay.Replaying])
}

// A failure that comes again and again is told each time, and logged now and then.
func TestBackgroundErrorsInTheLog(t *testing.T) {
	lines, c := &logLines{}, &chronicle{}
	e := newEvents(c.listener(), &badger.Options{Logger: lines})
	now := time.Unix(0, 0)
	e.failures.Now = func() time.Time { return now }
	for range 30 {
		e.backgroundError("replay the spill", os.ErrPermission, "next try in 1s")
	}
	e.backgroundError("seal it", os.ErrPermission, "x")
	now = now.Add(notify.LineInterval)
	e.backgroundError("replay the spill", errors.New("other\n"), "next try in 2s")
	e.Close()
	require.Len(t, find[BackgroundErrorInfo](c, "BackgroundError"), 32)
	require.Equal(t, append(slices.Repeat([]string{"E badgerspill: could not replay the spill: permission denied; next try in 1s"}, notify.LinesPerInterval),
		"E badgerspill: could not seal it: permission denied; x",
		"E badgerspill: could not replay the spill: other; next try in 2s (and 25 more such lines since the last)"), lines.all())
}

// logLines is a Logger that keeps what it gets.
type logLines struct {
	mu    sync.Mutex
	lines []string
}

func (l *logLines) add(level, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, level+" "+strings.TrimSuffix(fmt.Sprintf(format, args...), "\n"))
}

func (l *logLines) all() []string { l.mu.Lock(); defer l.mu.Unlock(); return slices.Clone(l.lines) }

func (l *logLines) Errorf(format string, args ...any)   { l.add("E", format, args...) }
func (l *logLines) Warningf(format string, args ...any) { l.add("W", format, args...) }
func (l *logLines) Infof(format string, args ...any)    { l.add("I", format, args...) }
func (l *logLines) Debugf(format string, args ...any)   { l.add("D", format, args...) }

func count(names []string, name string) (n int) {
	for _, have := range names {
		if have == name {
			n++
		}
	}
	return n
}

func mustManager(t *testing.T) *wbm.WriteBufferManager {
	m, err := wbm.New(wbm.Options{Limit: 1000})
	require.NoError(t, err)
	return m
}
