package openloop

import "time"

// backlog stands for the time after the last phase.
const backlog = "backlog"

// Tick is what happened since the last one. Reads count as writes do.
type Tick struct {
	Phase   string  `json:"phase"`   // the phase, or "backlog" after the last one
	Offered float64 `json:"offered"` // writes a second that fell due
	// writes a second that were acknowledged, whenever they were due
	Achieved float64 `json:"achieved"`
	// over the writes acknowledged since the last tick, 0 if there were none
	P99    time.Duration `json:"p99_ns"`
	Behind int64         `json:"behind"` // writes that are due and without an answer
}

// tickState lets a tick look only at the slots that may have changed.
type tickState struct {
	at     time.Duration
	due    int64
	done   int64
	taken  int64   // slots below were looked at, and are answered or in open
	open   []int64 // slots that were unanswered then: at most one a writer
	window *window
}

// Tick measures the time since the last call. Not safe for concurrent use with itself.
func (r *Run) Tick() Tick {
	t := &r.tick
	if t.window == nil {
		t.window = newWindow()
	}
	t.window.reset()
	sched := r.cfg.Schedule
	now := r.Elapsed()
	acked, done := int64(0), t.done
	look := func(slot int64) bool {
		switch o := r.outcome[slot].Load(); o {
		case outcomeUnsent:
			return false
		case outcomeFailed:
		default:
			acked++
			t.window.record(time.Duration(o))
		}
		done++
		return true
	}

	open := t.open[:0]
	for _, slot := range t.open {
		if !look(slot) {
			open = append(open, slot)
		}
	}
	taken := min(r.next.Load(), sched.Total())
	for slot := t.taken; slot < taken; slot++ {
		if !look(slot) {
			open = append(open, slot)
		}
	}

	due := sched.dueBy(now)
	tick := Tick{
		P99:    t.window.quantile(99),
		Behind: max(due-done, 0),
	}
	// Named for the middle of the interval: a tick on the boundary tells of what was before it.
	if middle := t.at + (now-t.at)/2; middle < sched.End() {
		tick.Phase = sched.spanAt(middle).Name
	} else {
		tick.Phase = backlog
	}
	if seconds := (now - t.at).Seconds(); seconds > 0 {
		tick.Offered = float64(due-t.due) / seconds
		tick.Achieved = float64(acked) / seconds
	}
	t.at, t.due, t.done, t.taken, t.open = now, due, done, taken, open
	return tick
}
