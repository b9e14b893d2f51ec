package badgerspill

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/replay"
	"github.com/badgerspill/badgerspill/spillfile"
)

// healthLog keeps the changes of health, and the log.
type healthLog struct {
	mu      sync.Mutex
	changes []HealthInfo
	lines   []string
}

func (l *healthLog) options(opt *Options) {
	opt.EventListener = TeeEventListener(opt.EventListener, &EventListener{HealthChange: func(i HealthInfo) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.changes = append(l.changes, i)
	}})
	opt.Logger = l
}

func (l *healthLog) line(level, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, level+" "+fmt.Sprintf(format, args...))
}

func (l *healthLog) Errorf(format string, args ...any)   { l.line("E", format, args...) }
func (l *healthLog) Warningf(format string, args ...any) { l.line("W", format, args...) }
func (l *healthLog) Infof(format string, args ...any)    { l.line("I", format, args...) }
func (l *healthLog) Debugf(string, ...any)               {}

// all waits for n changes, which are told soon after.
func (l *healthLog) all(t *testing.T, n int) (changes []HealthInfo) {
	t.Helper()
	eventually(t, "the changes of health are told", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		changes = append([]HealthInfo(nil), l.changes...)
		return len(changes) >= n
	})
	require.Len(t, changes, n)
	return changes
}

// errors returns the lines of the level error.
func (l *healthLog) errors() (lines []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		if line[0] == 'E' {
			lines = append(lines, line)
		}
	}
	return lines
}

// damagedSpill is a database with a spill of several segments, of which one has a damaged block. It
// returns the file, the number of keys (each of 1 KiB), and the first one that is in it or behind.
func damagedSpill(t *testing.T, dir string) (file string, keys, firstBehind int) {
	t.Helper()
	f := openAt(t, dir, func(opt *Options) {
		opt.SpillPolicy, opt.KeepSpillOnClose, opt.Tuning.SegmentSize = Always, true, 256<<10
	})
	r := rand.NewChaCha8([32]byte{1})
	value := make([]byte, 1<<10)
	for i := range 1500 {
		_, _ = r.Read(value)
		f.put(fmt.Sprintf("k%05d", i), string(value))
		if st := f.log.State(); st.LiveSegments == 4 && firstBehind == 0 {
			firstBehind = i
		}
	}
	require.NoError(t, f.Close())
	file = filepath.Join(dir, "spill", "0000000004.seg")
	seg, err := os.OpenFile(file, os.O_RDWR, 0)
	require.NoError(t, err)
	_, err = seg.WriteAt([]byte("damage"), 128<<10)
	require.NoError(t, err)
	require.NoError(t, seg.Close())
	return file, 1500, firstBehind
}

// TestDamageStopsReplay: replay stops once and says so, what lies before the damage reaches Badger,
// what is whole is read. Commits go on until the spill is full and fail at once then, Close returns
// the error and keeps the spill.
func TestDamageStopsReplay(t *testing.T) {
	bounded(t)
	dir := t.TempDir()
	file, keys, behind := damagedSpill(t, dir)
	log := &healthLog{}
	f := openAt(t, dir, log.options, eager, func(opt *Options) {
		opt.SpillCapacity, opt.BlockTimeout, opt.SpillPolicy = 4<<20, 0, Always
	})
	eventually(t, "replay has stopped", func() bool { return f.Health() != nil })
	err := f.Health()
	require.ErrorIs(t, err, ErrReplayStopped)
	require.ErrorIs(t, err, ErrCorrupt)
	require.ErrorContains(t, err, file)
	require.ErrorContains(t, err, "badgerspill verify")
	eventually(t, "it has ended its run", func() bool { return f.replayer.State() == replay.Halted })
	st := f.SpillStats()
	require.Equal(t, HealthStopped, st.Health)
	require.Equal(t, err, st.HealthError)
	replayed, failures := st.BytesReplayed, st.ReplayErrors
	require.Less(t, replayed, int64(2*keys<<10), "it does not run in circles")
	for i := range behind - 1 { // commit order holds: all before the damage, nothing behind
		require.NotEqual(t, absent, f.inBadger(fmt.Sprintf("k%05d", i)), i)
	}
	require.Equal(t, absent, f.inBadger(fmt.Sprintf("k%05d", keys-1)))

	// Reads of what is whole go on, and commits, too.
	require.Len(t, f.get("k00000"), 1<<10)
	require.Len(t, f.get(fmt.Sprintf("k%05d", keys-1)), 1<<10)
	f.put("new", "1")
	require.Equal(t, "1", f.get("new"))
	drain := async(func() error { return f.Drain(f.ctx) })
	require.ErrorIs(t, receive(t, "the end of Drain", drain), ErrCorrupt)

	value := make([]byte, 64<<10)
	full := async(func() error {
		r := rand.NewChaCha8([32]byte{2})
		for i := 0; ; i++ {
			_, _ = r.Read(value)
			if err := put(f.DB, fmt.Sprintf("full%05d", i), string(value)); err != nil {
				return err
			}
		}
	})
	err = receive(t, "a commit that fails at once, although BlockTimeout has no end", full)
	require.ErrorIs(t, err, ErrReplayStopped)
	require.ErrorIs(t, err, ErrCorrupt)
	require.ErrorContains(t, err, file)
	require.Len(t, f.get("full00000"), 64<<10, "what was acknowledged before is there")

	never(t, 500*time.Millisecond, "it is tried again", func() bool {
		st := f.SpillStats()
		return st.BytesReplayed != replayed || st.ReplayErrors != failures
	})
	require.Len(t, log.errors(), 1, "told once: %v", log.errors())
	require.Contains(t, log.errors()[0], file)
	changes := log.all(t, 1)
	require.Equal(t, HealthGood, changes[0].Old)
	require.Equal(t, HealthStopped, changes[0].New)
	require.ErrorIs(t, changes[0].Err, ErrReplayStopped)

	err = f.Close()
	require.ErrorIs(t, err, ErrCorrupt)
	require.ErrorContains(t, err, "stays for the next Open")
	require.NotEmpty(t, segments(t, dir))
	g := openAt(t, dir)
	require.Len(t, g.get(fmt.Sprintf("k%05d", keys-1)), 1<<10)
	require.Equal(t, "1", g.get("new"))
}

// TestDroppedDamage: what is damaged is dropped, and replay goes on.
func TestDroppedDamage(t *testing.T) {
	bounded(t)
	dir := t.TempDir()
	damagedSpill(t, dir)
	log := &healthLog{}
	f := openAt(t, dir, log.options, eager)
	eventually(t, "replay has stopped", func() bool { return f.Health() != nil })
	require.ErrorIs(t, f.DropPrefix([]byte("k")), ErrCorrupt, "it needs a replay")
	require.NoError(t, f.DropAll())
	require.NoError(t, f.Health())
	require.Equal(t, HealthGood, f.SpillStats().Health)
	f.spillOne("a", "1")
	eventually(t, "replay goes on", func() bool { return f.inBadger("a") == "1" })
	changes := log.all(t, 2)
	require.Equal(t, HealthInfo{Old: HealthStopped, New: HealthGood}, changes[1])
	require.NoError(t, f.Close())
}

// TestDelayedReplay: an error that may pass is tried again, is visible meanwhile, and holds up
// nobody for longer than BlockTimeout.
func TestDelayedReplay(t *testing.T) {
	log := &healthLog{}
	f := open(t, log.options, eager)
	f.stub.set(func() { f.stub.mu.onLoad = func(int, []spillfile.Entry) error { return errTest } })
	f.spillOne("a", "1")
	eventually(t, "replay is delayed", func() bool { return f.Health() != nil })
	err := f.Health()
	require.ErrorIs(t, err, errTest)
	require.NotErrorIs(t, err, ErrReplayStopped)
	require.Equal(t, HealthDelayed, f.SpillStats().Health)
	f.stub.set(func() { f.stub.mu.onLoad = nil })
	eventually(t, "replay goes on", func() bool { return f.Health() == nil && f.inBadger("a") == "1" })
	changes := log.all(t, 2)
	require.Equal(t, HealthDelayed, changes[0].New)
	require.Equal(t, HealthInfo{Old: HealthDelayed, New: HealthGood}, changes[1])
}

// A drop takes what could not be replayed, and so there is no batch that could succeed: health
// stayed what that had left.
func TestDroppedBatchIsNoneThatFails(t *testing.T) {
	f := open(t, eager)
	f.stub.set(func() { f.stub.mu.onLoad = func(int, []spillfile.Entry) error { return errTest } })
	f.spillOne("a", "1")
	eventually(t, "replay is delayed", func() bool { return f.Health() != nil })
	require.NoError(t, f.DropAll())
	require.NoError(t, f.Health())
	never(t, 300*time.Millisecond, "a failure of what is gone", func() bool { return f.Health() != nil })
}

// TestFailingForAMinute: what has been tried until the delay is at its longest counts as stopped,
// and is tried on.
func TestFailingForAMinute(t *testing.T) {
	f := open(t)
	f.spillOne("k", "1")
	f.stub.set(func() { f.stub.mu.onLoad = func(int, []spillfile.Entry) error { return errTest } })
	_, err := f.feed.Replay(t.Context(), 1<<10) // else there is no error of what the spill holds
	require.ErrorIs(t, err, errTest)
	f.stub.set(func() { f.stub.mu.onLoad = nil })
	f.drained()
	f.replayFailed(errTest, replay.DefaultBackoffMax/2)
	require.NotErrorIs(t, f.Health(), ErrReplayStopped)
	f.replayFailed(errTest, replay.DefaultBackoffMax)
	require.ErrorIs(t, f.Health(), ErrReplayStopped)
	require.ErrorIs(t, f.Health(), errTest)
	f.put("a", "1") // Badger itself takes commits
	f.replayRecovered()
	require.NoError(t, f.Health())
	// A full spill is replayed at once, which would make room. Its batch stands: one that failed
	// would be told with a shorter delay, and between two tellings nothing would have stopped.
	hold := make(chan struct{})
	f.stub.set(func() { f.stub.mu.onLoad = func(int, []spillfile.Entry) error { <-hold; return nil } })
	defer close(hold)
	f.spillOne("a", "1")
	filled := f.spill.Capacity() - f.spill.Usage()
	f.spill.Force(filled, 0)
	defer f.spill.AdjustSpill(-filled)
	blocked := f.putAsync("b", "2")
	eventually(t, "it waits for room", f.parked)
	f.replayFailed(errTest, replay.DefaultBackoffMax)
	require.ErrorIs(t, receive(t, "the end of a wait that was under way", blocked), ErrReplayStopped)
	f.replayRecovered()
}

// TestHealthOfAFullVolume: while Badger's volume is low replay has stopped; it goes on by itself.
func TestHealthOfAFullVolume(t *testing.T) {
	d := newDisks(1 << 30)
	log := &healthLog{}
	f := open(t, on(d), log.options)
	f.spillOne("a", "1")
	d.badgerFree.Store(testFloor - 1)
	eventually(t, "the next look", func() bool { return f.room.Check() != nil })
	require.ErrorIs(t, f.Health(), ErrReplayStopped)
	require.ErrorIs(t, f.Health(), ErrNoSpace)
	d.badgerFree.Store(1 << 30)
	eventually(t, "the next look", func() bool { return f.room.Check() == nil })
	require.NoError(t, f.Health())
	log.all(t, 2)
	require.Empty(t, log.errors())
	f.drained()
}

func TestHealthNames(t *testing.T) {
	for s, name := range []string{"good", "delayed", "stopped", "health(3)"} {
		require.Equal(t, name, HealthState(s).String())
	}
}

// TestHealthOfAVolumeThatIsLowAtOpen: it is told from the beginning.
func TestHealthOfAVolumeThatIsLowAtOpen(t *testing.T) {
	d := newDisks(1 << 30)
	f := open(t, on(d), func(opt *Options) { opt.KeepSpillOnClose = true })
	f.spillOne("a", "1")
	require.NoError(t, f.Close())
	d.badgerFree.Store(testFloor - 1)
	g := openAt(t, f.opt.Dir, on(d))
	require.ErrorIs(t, g.Health(), ErrNoSpace)
	require.Equal(t, HealthStopped, g.SpillStats().Health)
	d.badgerFree.Store(1 << 30)
	eventually(t, "the next look", func() bool { return g.room.Check() == nil && g.Health() == nil })
	g.drained()
}

// TestDamageThatWasDropped: an error of what was dropped meanwhile does not stop replay.
func TestDamageThatWasDropped(t *testing.T) {
	f := open(t)
	require.True(t, f.feed.Outdated(), "no error of what the spill holds now")
	f.replayFailed(ErrCorrupt, 0)
	require.NoError(t, f.Health())
	f.spillOne("k", "1")
	f.stub.set(func() { f.stub.mu.onLoad = func(int, []entry) error { return errTest } })
	_, err := f.feed.Replay(t.Context(), 1<<10)
	require.ErrorIs(t, err, errTest)
	f.stub.set(func() { f.stub.mu.onLoad = nil })
	f.drained()
	require.False(t, f.feed.Outdated())
	f.replayFailed(errTest, replay.DefaultBackoffMax)
	require.NotErrorIs(t, f.Health(), ErrCorrupt)
	f.replayFailed(ErrCorrupt, 0)
	require.ErrorIs(t, f.Health(), ErrCorrupt)
	f.replayMoves()
	require.ErrorIs(t, f.Health(), ErrReplayStopped, "damage stays")
	f.replayRecovered()
	f.replayFailed(errTest, replay.DefaultBackoffMax)
	f.replayMoves()
	require.NotErrorIs(t, f.Health(), ErrReplayStopped, "a batch has reached Badger")
	f.replayRecovered()
}
