package openloop

import (
	"slices"
	"time"
)

// Second is a second of a run, seen in two ways: what became of the writes that were due in it,
// whenever they were sent, and how many writes were acknowledged in it, whenever they were due.
// Reads are not in it.
//
// Seconds are counted anew from the begin of each phase and from the end of the last one, so that
// none of them belongs to two phases. Percentiles are exact, over the acknowledged writes: they
// must be read together with Unsent and Failed.
type Second struct {
	At     time.Duration `json:"at_ns"`     // its begin, since the begin of the run
	Length time.Duration `json:"length_ns"` // a second, or what the phase has left at its end
	Phase  string        `json:"phase"`     // "backlog" after the last one

	Due    int64 `json:"due"`
	Failed int64 `json:"failed"` // of those due
	Unsent int64 `json:"unsent"` // of those due

	// Of those due; 0 if none of them was acknowledged.
	P50 time.Duration `json:"p50_ns"`
	P99 time.Duration `json:"p99_ns"`
	Max time.Duration `json:"max_ns"`

	OfferedRate float64 `json:"offered_per_s"` // writes that were due, by Length
	// writes that were acknowledged in this second, by Length
	AckedRate float64 `json:"acknowledged_per_s"`
}

// End returns when the second is over, counted from the begin of the run.
func (s Second) End() time.Duration { return s.At + s.Length }

// Seconds returns the seconds of the run in order and without a gap: those of the schedule, and
// after it as many as it took until the last write was acknowledged and until `until` was over. Ask
// for them after Do has returned.
func (r *Run) Seconds(until time.Duration) []Second {
	until = max(until, r.LastAnswer())
	seconds := r.cfg.Schedule.seconds(until)
	acked := make([]int64, len(seconds))
	var latencies []time.Duration
	for i := range seconds {
		s := &seconds[i]
		latencies = latencies[:0]
		for slot := r.cfg.Schedule.firstFrom(s.At); slot < r.cfg.Schedule.firstFrom(s.End()); slot++ {
			if r.reading(slot) {
				continue
			}
			s.Due++
			switch o := r.outcome[slot].Load(); o {
			case outcomeUnsent:
				s.Unsent++
			case outcomeFailed:
				s.Failed++
			default:
				latencies = append(latencies, time.Duration(o))
				acked[secondAt(seconds, r.cfg.Schedule.Due(slot)+time.Duration(o))]++
			}
		}
		slices.Sort(latencies)
		s.P50, s.P99, s.Max = rank(latencies, 50), rank(latencies, 99), rank(latencies, 100)
	}
	for i := range seconds {
		s := &seconds[i]
		s.OfferedRate = float64(s.Due) / s.Length.Seconds()
		s.AckedRate = float64(acked[i]) / s.Length.Seconds()
	}
	return seconds
}

// LastAnswer returns when the last write was acknowledged, counted from the begin of the run, 0 if
// none was.
func (r *Run) LastAnswer() time.Duration {
	last := time.Duration(0)
	for slot := range r.cfg.Schedule.Total() {
		if o := r.outcome[slot].Load(); o > 0 && !r.reading(slot) {
			last = max(last, r.cfg.Schedule.Due(slot)+time.Duration(o))
		}
	}
	return last
}

// seconds cuts the time from the begin of the schedule to its end, or to until if that is later.
func (s *Schedule) seconds(until time.Duration) []Second {
	var seconds []Second
	cut := func(phase string, begin, end time.Duration) {
		for at := begin; at < end; at += time.Second {
			seconds = append(seconds, Second{At: at, Length: min(time.Second, end-at), Phase: phase})
		}
	}
	for i := range s.spans {
		cut(s.spans[i].Name, s.spans[i].begin, s.spans[i].end)
	}
	// Whole seconds: a rate over a moment in which one write was acknowledged would say nothing.
	after := (max(until-s.end, 0) + time.Second - 1).Truncate(time.Second)
	cut(backlog, s.end, s.end+after)
	return seconds
}

// secondAt returns the index of the second that t is in, of the last one if t is the end of that.
func secondAt(seconds []Second, t time.Duration) int {
	i, found := slices.BinarySearchFunc(seconds, t, func(s Second, t time.Duration) int { return int(s.At - t) })
	if !found {
		i--
	}
	return i
}

// rank returns the smallest of the sorted values that at least percent of them do not exceed, 0 if
// there are none.
func rank(sorted []time.Duration, percent int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[(len(sorted)*percent+99)/100-1]
}
