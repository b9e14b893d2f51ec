//go:build go1.25

package feed

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// restLeft makes a hand-over that has something left to load: a commit that comes after the last
// replay.
func (w *world) restLeft() {
	w.t.Helper()
	w.put("a", "1")
	require.True(w.t, w.replay(1<<20).Drained)
	w.pipeline.before = func() { w.put("b", "2") }
	w.steps()
}

func TestHandOverTakesTheRest(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.restLeft()
		require.True(t, w.handOver())
		require.Equal(t, []string{
			"sync spill", "sync Badger", // all but the rest
			"commit lock", "sync spill", "load", "sync Badger", "manifest, if last", "direct",
			"account", "interlock",
		}, w.steps())
		require.Equal(t, []string{"a", "b"}, w.badger.given(0))
		require.Equal(t, 2, w.audience.entries)
		require.EqualValues(t, 2, w.pipeline.replayed)
		w.put("a", "direct")
		require.True(t, w.handOver(), "it goes to Badger already")
		w.checkpoint()
		w.pipeline.turnToSpill()
		w.put("a", "spilled again")
		w.drained()
		require.EqualValues(t, 4, w.badger.version("a"))
	})
}

// Nothing follows the last replay: the commit lock is held over one write of the manifest.
func TestHandOverWithoutARest(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.put("a", "1")
		w.replay(1 << 20)
		w.steps()
		require.True(t, w.handOver())
		require.Equal(t, []string{"sync spill", "sync Badger", "commit lock", "manifest, if last", "direct", "account", "interlock"}, w.steps())
	})
}

// A load that outlasts the patience is given up, and awaited before anything else is loaded: it
// would bring old versions to Badger after newer commits, which Badger's compaction does not expect
// (invariant I1).
func TestHandOverThatIsGivenUp(t *testing.T) {
	for outcome, answer := range map[string]error{"and answered": nil, "and fails": errFake} {
		for next, call := range map[string]func(w *world) error{
			"a batch":     func(w *world) error { _, err := w.Replay(context.Background(), 1<<20); return err },
			"a hand-over": func(w *world) error { _, err := w.HandOver(context.Background()); return err },
			"a drop":      func(w *world) error { return w.Exclusively(func(x *Exclusive) error { x.AwaitLate(); return nil }) },
		} {
			t.Run(fmt.Sprintf("%s, then %s", outcome, next), func(t *testing.T) {
				bubble(t, func(t *testing.T, w *world) {
					w.restLeft()
					w.badger.onLoad = func(n int) error {
						if n == 2 {
							return answer
						}
						return nil
					}
					w.badger.hold()
					begin := time.Now()
					require.False(t, w.handOver(), "it is no error")
					require.Equal(t, HandOverWait, time.Since(begin), "how long writers have waited")
					require.Equal(t, HandOverWait, w.pipeline.patience)
					require.False(t, w.pipeline.isDirect())
					require.Equal(t, 2, w.badger.countLoads())
					require.Positive(t, w.room.inFlight, "until Badger has answered")
					w.put("c", "3") // writers go on
					w.checkpoint()  // and so does what loads nothing

					later := async(func() error { return call(w) })
					time.Sleep(time.Minute)
					require.False(t, later.known(), "it passes the late load")
					require.Equal(t, 2, w.badger.countLoads())
					w.badger.release()
					synctest.Wait()
					require.True(t, later.known())
					require.NoError(t, later.err)
					require.Zero(t, w.room.inFlight)
					w.drained()
					require.Equal(t, "b", string(w.badger.loads[1][0].Key))
					require.Equal(t, []string{"b", "c"}, w.badger.given(2), "what was given up is given again")
				})
			})
		}
	}
}

// Writers accept waits up to StallThreshold anyway.
func TestPatienceOfAHandOver(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.Feed.opt.StallThreshold = 20 * time.Millisecond
		w.restLeft()
		w.badger.hold()
		begin := time.Now()
		require.False(t, w.handOver())
		require.Equal(t, 20*time.Millisecond, time.Since(begin))
		require.Equal(t, 20*time.Millisecond, w.pipeline.patience)
	})
}

func TestHandOverWhoseLoadFails(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.restLeft()
		w.badger.onLoad = func(n int) error {
			if n == 2 {
				return errFake
			}
			return nil
		}
		_, err := w.HandOver(context.Background())
		require.ErrorIs(t, err, errFake)
		require.False(t, w.pipeline.isDirect())
		require.Zero(t, w.room.inFlight)
		require.NotContains(t, w.steps(), "manifest, if last")
		w.drained()
		require.EqualValues(t, 2, w.badger.version("b"))
	})
}

// Under the commit lock only little is loaded.
func TestHandOverLeavesMuchToReplay(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.put("a", "1")
		w.replay(1 << 20)
		w.pipeline.before = func() {
			for i := range 5 {
				w.put(name(i), fmt.Sprintf("%20000d", i))
			}
		}
		w.steps()
		require.False(t, w.handOver())
		require.Equal(t, []string{"sync spill", "sync Badger", "commit lock"}, w.steps())
		w.drained()
	})
}

// In the middle of a chunk the rest is what the chunk has not handed out.
func TestHandOverInTheMiddleOfAChunk(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.fill(40)
		require.True(t, w.replay(1<<10).Midway)
		loads := w.badger.countLoads()
		require.False(t, w.handOver())
		require.Equal(t, loads, w.badger.countLoads())
		w.drained()
	})
}

// A commit that has its place in the queue is not passed.
func TestNoHandOverWhileABatchIsQueued(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.restLeft()
		var commit func()
		before := w.pipeline.before
		w.pipeline.before = func() {
			before()
			b, _ := w.enqueue("c", "3")
			commit = func() { require.NoError(t, w.log.Commit(b)) }
		}
		require.False(t, w.handOver())
		require.Contains(t, w.steps(), "manifest, if last")
		require.False(t, w.pipeline.isDirect())
		commit()
		w.drained()
		require.EqualValues(t, 3, w.badger.version("c"))
	})
}

// What Badger may have lost, has not synced or cannot take is not let go of.
func TestHandOverAgainstTheGuard(t *testing.T) {
	for what, c := range map[string]struct {
		refuse func(w *world, err error)
		steps  []string
	}{
		"Badger gets nothing": {func(w *world, err error) { w.guard.looks = err }, nil},
		"Badger cannot be synced": {func(w *world, err error) { w.badger.failSync = err },
			[]string{"sync spill", "sync Badger"}},
		"held by now": {func(w *world, err error) { w.guard.blocked = err },
			[]string{"sync spill", "sync Badger", "commit lock", "sync spill"}},
		"no room": {func(w *world, err error) { w.room.full = err },
			[]string{"sync spill", "sync Badger", "commit lock", "sync spill"}},
		"tables are lost": {func(w *world, err error) { w.guard.lost = err },
			[]string{"sync spill", "sync Badger", "commit lock", "sync spill", "load", "sync Badger"}},
	} {
		t.Run(what, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.restLeft()
				c.refuse(w, errFake)
				_, err := w.HandOver(context.Background())
				require.ErrorIs(t, err, errFake)
				require.Equal(t, c.steps, w.steps())
				require.False(t, w.pipeline.isDirect())
				require.Positive(t, w.log.State().LiveSegments)
				w.pipeline.before = nil
				c.refuse(w, nil)
				w.drained()
			})
		})
	}
}

// Commits come so fast that they would turn to the spill again at once: they stay there, unless
// somebody drains or the spill has no room for them.
func TestNoHandOverWhileTheSpillIsPreferred(t *testing.T) {
	for why, c := range map[string]struct {
		change func(w *world)
		direct bool
	}{
		"nothing else":    {func(*world) {}, false},
		"somebody drains": {func(w *world) { w.BeginDrain() }, true},
		"it is full":      {func(w *world) { w.spill.full = true }, true},
	} {
		t.Run(why, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.put("a", "1")
				w.replay(1 << 20)
				w.spill.preferred = true
				c.change(w)
				w.steps()
				require.True(t, w.handOver(), "replay ends its run")
				require.Equal(t, c.direct, w.pipeline.isDirect())
				if !c.direct {
					require.Empty(t, w.steps())
				}
			})
		})
	}
}

// What is left there has been replayed because of its age: the segment is ended, or its age would
// remain, and replay would follow each commit closely.
func TestAgeBeginsAnew(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.put("a", "1")
		w.replay(1 << 20)
		w.spill.preferred = true
		w.steps()
		time.Sleep(w.opt.MaxSpillAge / 2)
		require.True(t, w.handOver())
		require.Empty(t, w.steps())
		time.Sleep(time.Second)
		require.True(t, w.handOver())
		require.Equal(t, []string{"seal"}, w.steps())
		w.put("b", "2")
		require.Equal(t, 2, w.log.State().LiveSegments)
		w.spill.preferred = false
		w.drained()
	})
}

// Where commits go to the spill always all of it is replayed, and the state stays.
func TestHandOverWhereTheSpillIsUsedAlways(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.spill.always = true
		w.restLeft()
		require.True(t, w.handOver())
		require.False(t, w.pipeline.isDirect())
		require.Equal(t, []string{"sync spill", "sync Badger", "commit lock", "sync spill", "load"}, w.steps())
		w.checkpoint()
		require.Equal(t, []string{"sync Badger", "manifest", "account", "interlock"}, w.steps())
		require.True(t, w.handOver())
		require.NotContains(t, w.steps(), "load")
	})
}

// The interlock could not be removed: the state has changed, and the next checkpoint does it.
func TestInterlockThatStays(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.put("a", "1")
		w.replay(1 << 20)
		w.interlock.fail = errFake
		done, err := w.HandOver(context.Background())
		require.True(t, done)
		require.ErrorIs(t, err, errFake)
		require.True(t, w.pipeline.isDirect())
		w.interlock.fail = nil
		w.steps()
		w.checkpoint()
		require.Equal(t, []string{"interlock"}, w.steps())
	})
}
