package live

import (
	"errors"
	"sync"
	"time"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/wbm"
)

// fake is a source whose numbers the test sets, and a clock that it moves.
type fake struct {
	mu     sync.Mutex
	stats  badgerspill.SpillStats
	events []badgerspill.RecentEvent
	disks  []badgerspill.DiskSpace
	closed bool
	looks  int
	clock  time.Time
	next   []func() // what after was called with
}

func newFake() *fake {
	f := &fake{clock: time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)}
	f.stats = badgerspill.SpillStats{
		State: "direct", ReplayState: "idle", SpillCapacity: 8 << 30, MemoryLimit: 100 << 20, ReplayDuty: 1,
		SpillStarts: map[string]int64{},
	}
	f.disks = []badgerspill.DiskSpace{{Dir: "/data/app", Free: 50 << 30, Total: 100 << 30, Floor: 1 << 30}}
	return f
}

func (f *fake) SpillStats() badgerspill.SpillStats {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looks++
	return f.stats
}

func (f *fake) RecentEvents() []badgerspill.RecentEvent {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.events
}

func (f *fake) DiskSpace() []badgerspill.DiskSpace {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.disks
}

func (f *fake) Size() (lsm, vlog int64) { return 3 << 30, 1 << 20 }

func (f *fake) Opts() badgerspill.Options { return badgerspill.DefaultOptions("/data/app") }

func (f *fake) IsClosed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closed
}

func (f *fake) now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.clock
}

func (f *fake) after(d time.Duration, call func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next = append(f.next, call)
}

func (f *fake) handler() *handler { return newHandler(f, f.now, f.after) }

// waits returns how many timers are set.
func (f *fake) waits() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.next)
}

// second changes the numbers, lets a second pass, and lets the timers that are set fire.
func (f *fake) second(change func(s *badgerspill.SpillStats)) {
	f.mu.Lock()
	if change != nil {
		change(&f.stats)
	}
	f.clock = f.clock.Add(time.Second)
	due := f.next
	f.next = nil
	f.mu.Unlock()
	for _, call := range due {
		call()
	}
}

func (f *fake) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// append counts n appends that took d each.
func (f *fake) append(n int64, d time.Duration) func(s *badgerspill.SpillStats) {
	return func(s *badgerspill.SpillStats) {
		s.Append.Count += n
		s.Append.Max = max(s.Append.Max, d)
		for i := range s.Append.Buckets {
			if d <= wbm.LatencyBound(i) {
				s.Append.Buckets[i] += n
			}
		}
	}
}

var errDamage = errors.New("block checksum does not match")
