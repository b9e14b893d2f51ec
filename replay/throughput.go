package replay

import "time"

// sustainedWindow is the shortest time over which a run's throughput says what Badger sustains. A
// memtable takes a second to write, and what compaction costs comes later still.
const sustainedWindow = 10 * time.Second

// throughput measures what Badger sustains during a run, window by window.
//
// At the begin of a run Badger takes data as fast as memory: its memtables have room. Measured on
// 500 MB, the first second of a run went at 100 MB/s, the run at 65 MB/s, and until compaction
// had caught up, which is what sustaining means, at 25 MB/s. So the first window leaves out what
// memtables can have absorbed, and has to be twice as large as that. What compaction still has
// to do at the end is not seen: half of the rate is what counts as quiet.
type throughput struct {
	begun    time.Time
	bytes    int64
	rested   bool  // part of the window was given away: Badger would have taken more
	absorbed int64 // Options.Absorbed, 0 after the first window
}

// add counts a batch that ended now, and tells rate at the end of a window.
func (t *throughput) add(bytes int64, now time.Time, rate *RateDetector) {
	t.bytes += bytes
	took := now.Sub(t.begun)
	if took < sustainedWindow || t.bytes < 2*t.absorbed {
		return
	}
	seen := float64(t.bytes-t.absorbed) / took.Seconds()
	if t.rested {
		rate.ObserveAtLeast(seen)
	} else {
		rate.ObserveSustained(seen)
	}
	*t = throughput{begun: now}
}
