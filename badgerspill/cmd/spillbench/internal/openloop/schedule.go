package openloop

import "time"

// Phase is a stretch of the schedule with one rate.
type Phase struct {
	Name     string
	Rate     int64         // writes a second
	Duration time.Duration // 0 leaves the phase out
}

// Writes returns how many writes fall due in the phase. Rate times Duration must fit in an int64 of
// nanoseconds.
func (p Phase) Writes() int64 {
	return p.Rate * int64(p.Duration) / int64(time.Second)
}

// Schedule assigns a due time to every slot. It is immutable and safe for concurrent use.
type Schedule struct {
	spans []span
	total int64
	end   time.Duration
}

// span is a phase placed on the time line: slots [first, last) fall due in [begin, end).
type span struct {
	Phase
	first, last int64
	begin, end  time.Duration
}

// NewSchedule lays the phases one after the other and leaves out those without duration.
func NewSchedule(phases ...Phase) *Schedule {
	s := &Schedule{}
	for _, p := range phases {
		if p.Duration <= 0 {
			continue
		}
		n := p.Writes()
		s.spans = append(s.spans, span{
			Phase: p,
			first: s.total, last: s.total + n,
			begin: s.end, end: s.end + p.Duration,
		})
		s.total += n
		s.end += p.Duration
	}
	return s
}

// Total returns the number of slots; they are numbered from 0.
func (s *Schedule) Total() int64 { return s.total }

// End returns when the last phase is over, counted from the begin of the run.
func (s *Schedule) End() time.Duration { return s.end }

// EndOf returns when the named phase is over, or the end of the schedule if it has no such phase.
func (s *Schedule) EndOf(name string) time.Duration {
	for i := range s.spans {
		if s.spans[i].Name == name {
			return s.spans[i].end
		}
	}
	return s.end
}

// Due returns when the slot is due, counted from the begin of the run.
func (s *Schedule) Due(slot int64) time.Duration {
	return s.spans[s.spanOf(slot)].due(slot)
}

// dueBy counts the slots that are due at or before t.
func (s *Schedule) dueBy(t time.Duration) int64 {
	n := int64(0)
	for i := range s.spans {
		sp := &s.spans[i]
		if t < sp.begin {
			break
		}
		// The k-th slot is due at floor(k*second/rate) past the begin, so k*second <
		// (t-begin+1)*rate.
		elapsed := min(t, sp.end) - sp.begin
		n = sp.first + min((int64(elapsed+1)*sp.Rate-1)/int64(time.Second)+1, sp.last-sp.first)
	}
	return n
}

// firstFrom returns the first slot that is due at t or later, Total if there is none.
func (s *Schedule) firstFrom(t time.Duration) int64 {
	if t <= 0 {
		return 0
	}
	return s.dueBy(t - 1)
}

func (s *Schedule) spanOf(slot int64) int {
	for i := range s.spans {
		if slot < s.spans[i].last {
			return i
		}
	}
	return len(s.spans) - 1
}

// spanAt returns the phase that is on at t, the last one after the end.
func (s *Schedule) spanAt(t time.Duration) *span {
	for i := range s.spans {
		if t < s.spans[i].end {
			return &s.spans[i]
		}
	}
	return &s.spans[len(s.spans)-1]
}

func (sp *span) due(slot int64) time.Duration {
	return sp.begin + time.Duration((slot-sp.first)*int64(time.Second)/sp.Rate)
}
