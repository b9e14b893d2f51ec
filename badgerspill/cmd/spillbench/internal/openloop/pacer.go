package openloop

import (
	"context"
	"time"
)

const (
	// preciseRate is the highest rate at which the kernel timer is used. An idle Go program wakes
	// from time.Sleep about half a millisecond late, ten times what a healthy commit takes; the
	// timer is 70 µs late but costs three system calls a write, and at 60,000/s more than one core.
	// There the program is never idle and Sleep is exact.
	preciseRate = 5000
	// waitSlice bounds how long an interrupted run goes unnoticed by a waiting writer.
	waitSlice = 100 * time.Millisecond
)

// pacer lets one writer wait for due times.
type pacer struct {
	timer *kernelTimer // nil: time.Sleep only
}

func newPacer(precise bool) *pacer {
	p := &pacer{}
	if precise {
		p.timer = newKernelTimer()
	}
	return p
}

// wait blocks until due has passed since start, or returns false soon after ctx has ended.
func (p *pacer) wait(ctx context.Context, start time.Time, due time.Duration, rate int64) bool {
	for {
		left := due - time.Since(start)
		if left <= 0 {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		left = min(left, waitSlice)
		if p.timer == nil || rate > preciseRate || !p.timer.sleep(left) {
			time.Sleep(left)
		}
	}
}

func (p *pacer) close() {
	if p.timer != nil {
		p.timer.close()
	}
}
