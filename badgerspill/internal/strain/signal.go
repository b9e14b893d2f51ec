package strain

import (
	"slices"
	"time"
)

// signal is one of the things measured. All but samples belongs to the caller of strain.
type signal struct {
	samples    histogram
	acceptable time.Duration // on any machine

	gathered counts // samples that are not judged yet
	count    int64
	first    int64         // when the first of them came
	judged   int64         // when level was found, in nanoseconds of now
	level    time.Duration // 99th percentile of the last window
	fresh    bool          // found by the last gather

	// Levels without replay, the latest ones in rings: whenever it did not work, and when it might
	// have.
	idle  [calmLooks]time.Duration
	idles int
	calm  [calmPatience]struct {
		level time.Duration
		at    int64
	}
	calms int
}

// gather takes what has come since the last call, judges it if it is enough, and returns how much
// came.
func (s *signal) gather(now int64) int64 {
	n := s.samples.moveTo(&s.gathered)
	if s.count == 0 {
		s.first = now
	}
	s.count += n
	s.fresh = s.count >= minJudged || s.count > 0 && now-s.first >= int64(maxJudge)
	if s.fresh {
		s.level, s.judged = s.gathered.quantile(0.99, s.count), now
		s.gathered, s.count = counts{}, 0
	}
	return n
}

// learn takes the level for one without replay, during a run of replay or not.
func (s *signal) learn(now int64, run bool) {
	if !s.fresh {
		return
	}
	s.idle[s.idles%len(s.idle)] = s.level
	s.idles++
	if run {
		c := &s.calm[s.calms%len(s.calm)]
		c.level, c.at = s.level, now
		s.calms++
	}
}

// without returns the level without replay, as far as it is known; 0 at first.
func (s *signal) without(now int64) time.Duration {
	idle := s.idle
	known := idle[:min(s.idles, len(idle))]
	if len(known) == 0 {
		return 0
	}
	var calm [calmPatience]time.Duration
	for i, c := range s.calm {
		if c.level > 0 && now-c.at < int64(calmMemory) {
			calm[i] = c.level
		}
	}
	slices.Sort(known)
	slices.Sort(calm[:])
	return min(known[len(known)/2], calm[(len(calm)-1)/2])
}

// strain compares the level with what is acceptable.
func (s *signal) strain(now int64) float64 {
	if s.level == 0 || now-s.judged > int64(maxJudge) {
		return 0
	}
	return float64(s.level) / float64(max(s.acceptable, acceptableFactor*s.without(now)))
}
