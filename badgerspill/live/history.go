package live

import (
	"math"
	"slices"
	"sync"
	"time"
	"weak"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/wbm"
)

const (
	// interval is how often the numbers are taken.
	interval = time.Second
	// window is how much is kept, and the most that the page draws.
	window = 5 * time.Minute
	// recently is over how long rates and latencies of now are taken.
	recently = 10 * time.Second
	// staleAfter is how old numbers may be before the page says so.
	staleAfter = 5 * interval
)

// source is what the page needs of a database.
type source interface {
	SpillStats() badgerspill.SpillStats
	RecentEvents() []badgerspill.RecentEvent
	DiskSpace() []badgerspill.DiskSpace
	Size() (lsm, vlog int64)
	Opts() badgerspill.Options
	IsClosed() bool
}

// state is that of the database.
type state string

const (
	open    state = "open"
	closing state = "closing" // Close replays the spill
	closed  state = "closed"
)

// point is what is drawn of a second. Those a second are means since the point before.
type point struct {
	At          int64   `json:"at_ms"`          // since 1970
	ToBadger    float64 `json:"to_badger"`      // commits a second that Badger acknowledged
	ToSpill     float64 `json:"to_spill"`       // commits a second that the spill did
	P50         float64 `json:"append_p50"`     // of the appends, in seconds; 0 = there was none
	P99         float64 `json:"append_p99"`     // likewise
	Spill       int64   `json:"spill_bytes"`    // on disk
	Pending     int64   `json:"pending_bytes"`  // of it, not replayed
	Memory      int64   `json:"memory_bytes"`   // of the budget
	Replayed    float64 `json:"replayed_bytes"` // a second
	Waiting     int64   `json:"waiting"`        // commits that wait for room
	Slowed      int64   `json:"slowed"`         // commits that wait for their turn
	State       string  `json:"state"`          // "spilling" if commits went there at one time
	Tier        string  `json:"tier"`           // the fullest
	ReplayState string  `json:"replay_state"`
	Health      string  `json:"health"`

	stats *totals
}

// totals are counters at a point, whose differences are what happened between two.
type totals struct {
	appends wbm.Latency
	waits   [4]int64 // blocked, slowed, timed out, without space
}

// history takes the numbers of a database once a second, and keeps those of the last minutes.
type history struct {
	now func() time.Time

	mu sync.Mutex
	// Guarded by mu.
	db     source // nil once it is closed
	last   view   // without points
	points []point
}

// view is all that a page is made of. What it holds is not changed any more.
type view struct {
	seq   int // of the look, from 1
	at    time.Time
	state state
	stale bool // it is older than it should be

	dir       string
	stats     badgerspill.SpillStats
	lsm, vlog int64
	disks     []badgerspill.DiskSpace
	events    []badgerspill.RecentEvent
	points    []point
	span      time.Duration // what is drawn of them
}

func newHistory(from source, now func() time.Time) *history {
	h := &history{now: now, db: from, last: view{at: now(), state: closed}}
	if from != nil {
		h.last.dir = from.Opts().Dir
	}
	return h
}

// spanOf returns what is to be drawn: all that there is, and no more than needed for that.
func spanOf(points []point) time.Duration {
	have := time.Duration(0)
	if n := len(points); n > 0 {
		have = time.Duration(points[n-1].At-points[0].At) * time.Millisecond
	}
	for _, span := range []time.Duration{time.Minute, 2 * time.Minute} {
		if have <= span {
			return span
		}
	}
	return window
}

// lookAgain has h look every interval, until there is nothing to see any more or nobody holds h.
// There is a timer in between, and no goroutine.
func lookAgain(h *history, after func(time.Duration, func())) {
	held := weak.Make(h)
	var again func()
	again = func() {
		if h := held.Value(); h != nil && h.look() {
			after(interval, again)
		}
	}
	after(interval, again)
}

// look takes the numbers, and reports whether there will be more. It may block for the file system,
// and must not be called concurrently.
func (h *history) look() (more bool) {
	h.mu.Lock()
	db, before := h.db, h.last
	h.mu.Unlock()
	if db == nil {
		return false
	}
	v := view{seq: before.seq + 1, state: open, dir: before.dir}
	isClosed := db.IsClosed()
	v.stats, v.events = db.SpillStats(), db.RecentEvents()
	if isClosed {
		// What Close leaves is not looked up any more.
		v.state, v.lsm, v.vlog, v.disks = stateOf(&v.stats), before.lsm, before.vlog, before.disks
	} else {
		v.lsm, v.vlog = db.Size()
		v.disks = db.DiskSpace()
	}
	v.at = h.now()

	h.mu.Lock()
	defer h.mu.Unlock()
	if v.state == closed && before.seq > 0 {
		// The numbers of a database that is shut down would only be those of its absence.
		v.stats = before.stats
	}
	h.last = v
	if v.state == closed {
		h.db = nil
		return false
	}
	p := pointOf(&v, &before)
	if n := len(h.points); n > 0 {
		p.rates(&v, &before, &h.points[n-1])
	}
	first := 0
	for first < len(h.points) && v.at.Sub(time.UnixMilli(h.points[first].At)) > window {
		first++
	}
	h.points = append(slices.Delete(h.points, 0, first), p)
	return true
}

// stateOf is that of a database whose Close was called.
func stateOf(s *badgerspill.SpillStats) state {
	if s.SpillPending > 0 && s.ReplayState != "stopped" && s.ReplayState != "halted" {
		return closing
	}
	return closed
}

// view returns what there is to see now. It does not block.
func (h *history) view() view {
	h.mu.Lock()
	defer h.mu.Unlock()
	v := h.last
	v.points = slices.Clone(h.points)
	v.span = spanOf(v.points)
	switch {
	case h.db == nil:
	case v.state == open && h.db.IsClosed():
		s := h.db.SpillStats() // the next look may be a second away
		v.state = stateOf(&s)
	default:
		v.stale = h.now().Sub(v.at) > staleAfter
	}
	return v
}

func pointOf(v, before *view) point {
	s := &v.stats
	p := point{
		At: v.at.UnixMilli(), Spill: s.SpillBytes, Pending: s.BytesPending, Memory: s.MemoryUsage,
		Waiting: s.BlockedNow, Slowed: s.SlowedNow,
		State: s.State, Tier: s.Tier.String(), ReplayState: s.ReplayState, Health: s.Health.String(),
		stats: &totals{s.Append, [4]int64{s.CommitsBlocked, s.CommitsSlowed, s.BlockTimeouts, s.NoSpace}},
	}
	if before.seq == 0 {
		return p
	}
	// The clocks of the states tell what came and went between two looks.
	if s.StateTime[badgerspill.Spilling] > before.stats.StateTime[badgerspill.Spilling] {
		p.State = badgerspill.Spilling.String()
	}
	for tier := wbm.Block; tier > wbm.Normal; tier-- {
		if s.TierTime[tier] > before.stats.TierTime[tier] {
			p.Tier = max(tier, s.Tier).String()
			break
		}
	}
	if s.CommitsBlocked > before.stats.CommitsBlocked {
		p.Waiting = max(p.Waiting, 1)
	}
	if s.CommitsSlowed > before.stats.CommitsSlowed {
		p.Slowed = max(p.Slowed, 1)
	}
	return p
}

// rates fills in what has happened since the point before.
func (p *point) rates(v, before *view, last *point) {
	seconds := v.at.Sub(before.at).Seconds()
	if seconds <= 0 {
		return
	}
	a, b := &v.stats, &before.stats
	rate := func(now, then int64) float64 { return max(0, float64(now-then)/seconds) }
	p.ToBadger = rate(a.CommitsDirect, b.CommitsDirect)
	p.ToSpill = rate(a.CommitsSpilled+a.CommitsHedged, b.CommitsSpilled+b.CommitsHedged)
	p.Replayed = rate(a.BytesReplayed, b.BytesReplayed)
	p.P50 = quantile(&p.stats.appends, &last.stats.appends, 0.5)
	p.P99 = quantile(&p.stats.appends, &last.stats.appends, 0.99)
}

// quantile returns that of the samples between two snapshots, in seconds; 0 if there are none. It
// lies in the right bucket, each of which is twice as wide as the one before.
func quantile(now, then *wbm.Latency, q float64) float64 {
	total := now.Count - then.Count
	if total <= 0 {
		return 0
	}
	rank := math.Ceil(q * float64(total))
	var low time.Duration
	seen := 0.0
	for i := range now.Buckets {
		high, n := wbm.LatencyBound(i), float64(now.Buckets[i]-then.Buckets[i])
		if n >= rank {
			at := float64(low) + float64(high-low)*(rank-seen)/(n-seen)
			return min(at, float64(now.Max)) / float64(time.Second)
		}
		low, seen = high, n
	}
	return now.Max.Seconds()
}

// since returns the newest point that is at least so old, or else the oldest. There must be one.
func (v *view) since(d time.Duration) *point {
	for i := len(v.points) - 1; i >= 0; i-- {
		if v.at.UnixMilli()-v.points[i].At >= d.Milliseconds() {
			return &v.points[i]
		}
	}
	return &v.points[0]
}

// recent returns the mean of what the last points have, 0 without any.
func (v *view) recent(of func(*point) float64) float64 {
	if len(v.points) < 2 {
		return 0
	}
	sum, n := 0.0, 0.0
	for i := len(v.points) - 1; i > 0 && v.at.UnixMilli()-v.points[i].At < recently.Milliseconds(); i-- {
		sum += of(&v.points[i])
		n++
	}
	return sum / max(n, 1)
}

// left returns how long the rest of the replay takes at the pace of the last seconds, 0 if that is
// not known.
func (v *view) left() time.Duration {
	if len(v.points) < 2 {
		return 0
	}
	first, last := v.since(recently), &v.points[len(v.points)-1]
	if first.Pending <= last.Pending || last.Pending == 0 {
		return 0
	}
	ms := float64(last.At-first.At) * float64(last.Pending) / float64(first.Pending-last.Pending)
	return time.Duration(min(ms, 1e12)) * time.Millisecond
}
