//go:build go1.25

package room

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/internal/pipeline"
	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/wbm"
)

var request = wbm.Request{Memory: 3000, Spill: 2000, Index: 1000}

// Which way a commit takes, and what it is told where there is none, by what takes writes. With an
// error, or a turn, nothing is taken.
func TestWays(t *testing.T) {
	spilling := func(w *world) { w.SetActive(true) }
	hold := func(w *world) { w.badger.set(func() { w.badger.held = errHeld }) }
	stop := func(w *world) { w.replay.stop(errDamaged) }
	full := func(w *world) { w.fill() }
	fail := func(w *world) { w.SpillFailed() }
	fullOfMemory := func(w *world) { w.occupy() }
	short := func(w *world) { w.memory.Force(wbm.Memtable, limit*95/100) }
	below := func(w *world) { w.memory.Force(wbm.Memtable, w.manager.SpillLimit()-request.Memory) }
	badgerLow, spillLow := (*world).badgerLow, (*world).spillLow
	type states = []func(*world)
	for _, row := range []struct {
		name     string
		changes  []func(*world, *Env, *Options)
		is       states
		way      wbm.Outcome
		turn     pipeline.Cause
		err      error
		contains string
	}{
		{"all is well", nil, nil, wbm.Direct, pipeline.NoTurn, nil, ""},
		{"spilling", nil, states{spilling}, wbm.Spilled, pipeline.NoTurn, nil, ""},
		{"memory is short", nil, states{short}, wbm.Spilled, pipeline.NoTurn, nil, ""},
		{"memory is short, no spill", with(noSpill), states{short}, wbm.Direct, pipeline.NoTurn, nil, ""},
		{"up to the spill limit", nil, states{below}, wbm.Direct, pipeline.NoTurn, nil, ""},
		{"one byte above the spill limit", nil, states{below, func(w *world) { w.memory.Force(wbm.Memtable, 1) }}, wbm.Spilled, pipeline.NoTurn, nil, ""},

		{"held", nil, states{hold}, 0, pipeline.CauseHeld, nil, ""},
		{"held, spilling", nil, states{hold, spilling}, wbm.Spilled, pipeline.NoTurn, nil, ""},
		{"held, memory is short", nil, states{hold, short}, wbm.Spilled, pipeline.NoTurn, nil, ""},
		{"held, the spill is full", nil, states{hold, full}, 0, pipeline.NoTurn, errHeld, ""},
		{"held, the spill has failed", nil, states{hold, fail}, 0, pipeline.NoTurn, errHeld, ""},
		{"held, no spill", with(unlogged), states{hold}, 0, pipeline.NoTurn, errHeld, ""},
		{"held, and the one volume is low", nil, states{hold, badgerLow}, 0, pipeline.NoTurn, errHeld, ""},
		{"held, and Badger's volume is low", with(apart), states{hold, badgerLow}, 0, pipeline.CauseHeld, nil, ""},

		{"the one volume is low", nil, states{badgerLow}, 0, pipeline.NoTurn, ErrNoSpace, "badger has"},
		{"the one volume is low, spilling", nil, states{badgerLow, spilling}, 0, pipeline.NoTurn, ErrNoSpace, ""},
		{"the volume is low, no spill", with(unlogged), states{badgerLow}, 0, pipeline.NoTurn, ErrNoSpace, ""},
		{"Badger's volume is low", with(apart), states{badgerLow}, 0, pipeline.CauseSpace, nil, ""},
		{"Badger's volume is low, spilling", with(apart), states{badgerLow, spilling}, wbm.Spilled, pipeline.NoTurn, nil, ""},
		{"Badger's volume is low, the spill is full", with(apart), states{badgerLow, full}, 0, pipeline.NoTurn, ErrNoSpace, ""},
		{"both volumes are low", with(apart), states{badgerLow, spillLow}, 0, pipeline.NoTurn, ErrNoSpace, "badger has"},
		{"the spill's volume is low", with(apart), states{spillLow}, wbm.Direct, pipeline.NoTurn, nil, ""},
		{"the spill's volume is low, memory is nearly full", with(apart), states{spillLow, short}, wbm.Direct, pipeline.NoTurn, nil, ""},

		{"replay has stopped", nil, states{stop}, wbm.Direct, pipeline.NoTurn, nil, ""},
		{"replay has stopped, spilling", nil, states{stop, spilling}, wbm.Spilled, pipeline.NoTurn, nil, ""},
		{"replay has stopped, the spill is full", nil, states{stop, full}, 0, pipeline.NoTurn, errDamaged, "the spill is full, and nothing was written"},
		{"replay has stopped, the index has no memory", nil, states{stop, spilling, fullOfMemory}, 0, pipeline.NoTurn, errDamaged, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				for _, is := range row.is {
					is(w)
				}
				before := w.held()
				r := w.reserve(request)
				require.True(t, r.known(), "it must not wait")
				require.Equal(t, row.turn, r.turn)
				if row.err != nil {
					require.ErrorIs(t, r.err, row.err)
					require.ErrorContains(t, r.err, row.contains)
				} else {
					require.NoError(t, r.err)
				}
				if row.err == nil && row.turn == pipeline.NoTurn {
					require.Equal(t, pipeline.Ticket{Way: row.way, Request: request}, r.ticket)
					require.NotEqual(t, before, w.held())
					w.Cancel(r.ticket)
				}
				require.Equal(t, before, w.held())
				if row.err == ErrNoSpace && w.Status().Shared {
					require.Zero(t, w.spill.Stats().BlockTimeouts, "nobody is asked who has no room either")
				}
			}, row.changes...)
		})
	}
}

func with(changes ...func(*world, *Env, *Options)) []func(*world, *Env, *Options) { return changes }

// A commit that waits for room is woken by what makes its wait in vain, and by nothing else.
func TestWaits(t *testing.T) {
	for _, row := range []struct {
		name    string
		changes []func(*world, *Env, *Options)
		wait    func(w *world) (end func())
		then    func(w *world, end func())
		way     wbm.Outcome
		turn    pipeline.Cause
		err     error
	}{
		{"for memory, which comes", nil, fullMemory, func(_ *world, end func()) { end() }, wbm.Direct, pipeline.NoTurn, nil},
		{"for memory, which comes, no spill", with(noSpill), fullMemory, func(_ *world, end func()) { end() }, wbm.Direct, pipeline.NoTurn, nil},
		{"for memory, while the volume gets low", nil, fullMemory, func(w *world, _ func()) { w.badgerLow() }, 0, pipeline.NoTurn, ErrNoSpace},
		// memory is all that is short, and that needs no replay
		{"for memory, while replay stops", nil, fullMemory, func(w *world, end func()) {
			w.replay.stop(errDamaged)
			time.Sleep(time.Hour)
			end()
		}, wbm.Direct, pipeline.NoTurn, nil},
		{"for memory, since replay has stopped, while Badger is held", nil, func(w *world) func() {
			w.replay.stop(errDamaged)
			return fullMemory(w)
		}, func(w *world, end func()) {
			w.badger.set(func() { w.badger.held = errFake })
			end()
		}, 0, pipeline.CauseHeld, nil},
		{"for the spill, which is emptied", nil, (*world).fill, func(_ *world, end func()) { end() }, wbm.Spilled, pipeline.NoTurn, nil},
		{"for the spill, which is turned from", nil, (*world).fill, func(w *world, _ func()) { w.SetActive(false) }, wbm.Direct, pipeline.NoTurn, nil},
		{"for the spill, while replay stops", nil, (*world).fill, func(w *world, _ func()) { w.replay.stop(errDamaged) }, 0, pipeline.NoTurn, errDamaged},
		{"for the spill, while replay stops and goes on", nil, (*world).fill, func(w *world, end func()) {
			w.replay.stop(errDamaged)
			w.replay.goOn()
			time.Sleep(time.Hour)
			end()
		}, wbm.Spilled, pipeline.NoTurn, nil},
		{"for the spill, while Badger's volume gets low", with(apart), (*world).fill, func(w *world, _ func()) { w.badgerLow() }, 0, pipeline.NoTurn, ErrNoSpace},
		{"for memory without room in the spill, while Badger's volume gets low", with(apart), func(w *world) func() {
			w.spill.Force(capacity, 0)
			w.occupy()
			return func() {}
		}, func(w *world, _ func()) { w.badgerLow() }, 0, pipeline.NoTurn, ErrNoSpace},
		{"closing", nil, (*world).fill, func(w *world, _ func()) { w.cancel() }, 0, pipeline.NoTurn, context.Canceled},
	} {
		t.Run(row.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				end := row.wait(w)
				r := w.reserve(request)
				time.Sleep(time.Hour)
				synctest.Wait()
				require.False(t, r.known(), "it waits")
				row.then(w, end)
				<-r.done
				require.Equal(t, row.turn, r.turn)
				require.ErrorIs(t, r.err, row.err)
				if row.err == nil {
					require.Equal(t, row.way, r.ticket.Way)
					w.Cancel(r.ticket)
				}
			}, row.changes...)
		})
	}
}

// fullMemory takes all memory, and leaves none for the index of the spill.
func fullMemory(w *world) (free func()) { return w.occupy() }

// audience is deaf.
type audience struct{ pipeline.Audience }

func (audience) Throttle(*pipeline.Wait) error { return nil }
func (audience) Match(*pipeline.Commit)        {}
func (audience) Matches() uint64               { return 0 }

// The commit's own bounds end its wait: its context with its cause, BlockTimeout to the nanosecond,
// also where replay stops and goes on in between.
func TestWaitsEnd(t *testing.T) {
	for _, row := range []struct {
		name    string
		timeout time.Duration
		cancel  bool
		after   time.Duration
		err     error
	}{
		{"context", time.Hour, true, time.Second, errFake},
		{"BlockTimeout", time.Minute, false, time.Minute, wbm.ErrWriteBlocked},
		{"a negative BlockTimeout", -1, false, 0, wbm.ErrWriteBlocked},
	} {
		t.Run(row.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				p := pipeline.New(pipeline.Env{Room: w.Room, Audience: audience{}, Closing: t.Context(),
					Background: &w.background, Begin: time.Now()},
					pipeline.Options{Memory: func(key, value int) int64 { return int64(key + value) }})
				w.fill()
				ctx, cancel := context.WithCancelCause(t.Context())
				if row.cancel {
					time.AfterFunc(time.Second, func() { cancel(errFake) })
				}
				time.AfterFunc(time.Second/2, func() {
					w.replay.stop(errDamaged)
					w.replay.goOn()
				})
				s := &pipeline.Snapshot{Update: true}
				p.Begin(s)
				c := p.NewCommit(1, 0, false, nil)
				p.Add(c, spillfile.Entry{Key: []byte("k"), Value: []byte("v")})
				begin := time.Now()
				require.ErrorIs(t, p.Submit(ctx, row.timeout, s, c), row.err)
				require.Equal(t, row.after, time.Since(begin))
				require.Equal(t, [4]int64{0, capacity, 0, 0}, w.held())
				cancel(nil)
				time.Sleep(time.Second)
			})
		})
	}
}

// batch returns one as it is of a commit of n bytes, which do not compress.
func batch(n int) *spillfile.Batch {
	value := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(value)
	b := spillfile.NewBatch()
	b.Add(&spillfile.Entry{Key: []byte("key"), Value: value})
	b.Finish()
	return b
}

// A ticket holds memory, or the spill's capacity and memory for its index, and room on the disk of
// its way. Each step has its count, and Cancel gives all of it back.
func TestTicket(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		c := &pipeline.Commit{Memory: request.Memory, RawBytes: 500}
		direct, _, err := w.Reserve(request, &pipeline.Wait{})
		require.NoError(t, err)
		require.Equal(t, [4]int64{3000, 0, 0, 0}, w.held())
		direct, _, err = w.Claim(direct, c)
		require.NoError(t, err)
		require.Equal(t, BadgerCost(3000, 500), direct.Claim)
		require.Equal(t, [4]int64{3000, 0, 0, 3*3000 + 500}, w.held())

		w.SetActive(true)
		c = &pipeline.Commit{Memory: request.Memory, RawBytes: 500, Batch: batch(100)}
		exact := wbm.Request{Memory: request.Memory, Spill: c.Batch.DiskSize(), Index: c.Batch.IndexSize()}
		require.Less(t, exact.Spill, request.Spill)
		spilled, _, err := w.Reserve(request, &pipeline.Wait{})
		require.NoError(t, err)
		require.Equal(t, [4]int64{3000, 2000, 1000, 9500}, w.held())
		spilled = w.Shrink(spilled, exact)
		require.Equal(t, [4]int64{3000, exact.Spill, exact.Index, 9500}, w.held())
		spilled, _, err = w.Claim(spilled, c)
		require.NoError(t, err)
		require.Equal(t, pipeline.Ticket{Way: wbm.Spilled, Request: exact, Claim: exact.Spill}, spilled)
		require.Equal(t, [4]int64{3000, exact.Spill, exact.Index, 9500 + exact.Spill}, w.held())

		w.Cancel(direct)
		require.Equal(t, [4]int64{0, exact.Spill, exact.Index, exact.Spill}, w.held())
		w.Cancel(spilled)
		require.Zero(t, w.held())
		require.Zero(t, w.manager.Leaks())
	})
}

// What Badger has answered is its memtables' from then on, and written; what it refused is given
// back.
func TestAnswered(t *testing.T) {
	for _, refused := range []error{nil, errFake} {
		t.Run(fmt.Sprint(refused), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				before := w.left()
				c := &pipeline.Commit{Memory: 3000, RawBytes: 500, Ts: 7}
				ticket, _, err := w.Reserve(request, &pipeline.Wait{})
				require.NoError(t, err)
				ticket, _, err = w.Claim(ticket, c)
				require.NoError(t, err)
				c.Claim = ticket.Claim
				w.Answered(c, refused)
				require.Zero(t, w.held())
				took, newest := int64(3000), uint64(7)
				if refused != nil { // it may have been written in part
					took, newest = 0, 0
				}
				require.Equal(t, took, w.memory.UsageByKind(wbm.Memtable))
				require.Equal(t, newest, w.badger.newest)
				require.Equal(t, before-9500, w.left(), "until the next look sees it")
				w.Look()
				require.Equal(t, before, w.left())
				require.Zero(t, w.manager.Leaks())
			})
		})
	}
}

// A commit that is larger than all memory takes the spill, or passes alone: not beside another one
// that Badger has not answered.
func TestLargerThanTheBudget(t *testing.T) {
	large := wbm.Request{Memory: 2 * limit, Spill: 2000, Index: 1000}
	t.Run("spill", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			r := w.reserve(large)
			require.True(t, r.known())
			require.NoError(t, r.err)
			require.Equal(t, wbm.Spilled, r.ticket.Way)
			w.Cancel(r.ticket)
		})
	})
	t.Run("no spill", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			first := w.reserve(large)
			require.True(t, first.known())
			require.NoError(t, first.err)
			second := w.reserve(large)
			time.Sleep(time.Second)
			require.False(t, second.known(), "it waits")
			w.Answered(&pipeline.Commit{Memory: large.Memory, Ts: 1}, nil)
			<-second.done
			require.NoError(t, second.err)
			require.Equal(t, []wbm.Outcome{wbm.Direct, wbm.Direct}, []wbm.Outcome{first.ticket.Way, second.ticket.Way})
			w.Cancel(second.ticket)
			require.Zero(t, w.held())
			require.Zero(t, w.manager.Leaks())
		}, noSpill)
	})
}

// What the log has answered is what it holds from then on.
func TestSpilled(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.SetActive(true)
		c := &pipeline.Commit{Memory: 3000, RawBytes: 500, Batch: batch(100)}
		size, index := c.Batch.DiskSize(), c.Batch.IndexSize()
		ticket, _, err := w.Reserve(wbm.Request{Memory: 3000, Spill: size, Index: index}, &pipeline.Wait{})
		require.NoError(t, err)
		_, _, err = w.Claim(ticket, c)
		require.NoError(t, err)
		hedge := batch(50)
		w.ForceSpilled(hedge)
		require.Equal(t, [4]int64{0, size + hedge.DiskSize(), index + hedge.IndexSize(), size + hedge.DiskSize()}, w.held())
		w.log.set(func() { w.log.disk, w.log.index = 4096, 800 })
		w.Spilled([]*spillfile.Batch{hedge, c.Batch}, size+hedge.DiskSize())
		require.Equal(t, [4]int64{0, 4096, 800, 0}, w.held())
		disk, of := w.env.Ledger.Accounted()
		require.Equal(t, [2]int64{4096, 800}, [2]int64{disk, of})
		require.Zero(t, w.manager.Leaks())
	})
}

// A commit that the spill could not write goes to Badger, whether there is room or not.
func TestForceDirect(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.occupy()
		w.badgerLow()
		c := &pipeline.Commit{Memory: 3000, RawBytes: 500}
		c.Claim = w.ForceDirect(c)
		require.Equal(t, [4]int64{3000, 0, 0, 9500}, w.held())
		w.Answered(c, nil)
		require.Zero(t, w.held())
	})
}

// If the spill's volume got low between Reserve and Claim, there may be another way. If it is only
// that this commit is too large, or Badger's volume, there is none. Nothing is claimed.
func TestClaimFails(t *testing.T) {
	for _, row := range []struct {
		name  string
		way   wbm.Outcome
		is    func(w *world)
		again bool
		text  string
	}{
		{"the spill's volume is low", wbm.Spilled, (*world).spillLow, true, "spill has"},
		{"Badger's volume is low", wbm.Direct, (*world).badgerLow, false, "badger has"},
		{"too large for the spill's volume", wbm.Spilled, func(w *world) {
			w.files.spill.set(func(v *volume) { v.free = testFloor + Step + mib })
			w.Look()
		}, false, "this needs"},
		{"too large for Badger's volume", wbm.Direct, func(w *world) {
			w.files.badger.set(func(v *volume) { v.free = testFloor + Step + mib })
			w.Look()
		}, false, "this needs"},
	} {
		t.Run(row.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				row.is(w)
				before := w.held()
				ticket := pipeline.Ticket{Way: row.way}
				c := &pipeline.Commit{Memory: 10 * mib, RawBytes: 10 * mib, Batch: batch(10 * mib)}
				got, again, err := w.Claim(ticket, c)
				require.ErrorIs(t, err, ErrNoSpace)
				require.ErrorContains(t, err, row.text)
				require.Equal(t, row.again, again)
				require.Equal(t, ticket, got)
				require.Equal(t, before, w.held())
			}, apart)
		})
	}
}

// Badger takes writes unless it is held, or its volume is low.
func TestBadgerTakes(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		require.True(t, w.BadgerTakes())
		w.badger.set(func() { w.badger.held = errHeld })
		require.False(t, w.BadgerTakes())
		w.badger.set(func() { w.badger.held = nil })
		w.badgerLow()
		require.False(t, w.BadgerTakes())
	})
}

// A spill that has failed counts as full for a second, to the nanosecond.
func TestSpillFailed(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.SpillFailed()
		require.True(t, w.Full())
		time.Sleep(time.Second - 1)
		require.True(t, w.Full())
		require.False(t, w.SpillUsable())
		time.Sleep(time.Nanosecond)
		require.False(t, w.Full())
		w.SpillFailed()
		w.RetrySpill(0)
		require.False(t, w.Full())
	})
}

// The tier says when a commit should go to the spill.
func TestShouldSpill(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		require.False(t, w.ShouldSpill(1))
		w.memory.Force(wbm.Memtable, w.manager.SpillLimit())
		require.True(t, w.ShouldSpill(1))
	})
}

// The ledger accounts for a log from when it follows it, whatever tells it to before.
func TestLedger(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		log := &fakeLog{disk: 1000, index: 100}
		l := NewLedger(w.spill)
		l.Refresh()
		require.Zero(t, w.held())
		l.Follow(log)
		require.Equal(t, [4]int64{0, 1000, 100, 0}, w.held())
		log.set(func() { log.disk, log.index = 300, 200 })
		l.Refresh()
		require.Equal(t, [4]int64{0, 300, 200, 0}, w.held())
		var all sync.WaitGroup // the last one has the latest usage
		for i := range int64(50) {
			all.Go(func() {
				log.set(func() { log.disk, log.index = i*100, i })
				l.Refresh()
			})
		}
		all.Wait()
		disk, index := log.Usage()
		require.Equal(t, [4]int64{0, disk, index, 0}, w.held())
		require.Zero(t, w.manager.Leaks())
	})
}
