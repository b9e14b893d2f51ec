package pace

import (
	"context"
	"time"
)

// Pacer bounds how fast something is read. The zero value does not. It is for one goroutine.
type Pacer struct {
	Rate  int64 // bytes a second; 0 or less: no bound
	begin time.Time
	bytes int64
}

// paceStep is how far a reader may be ahead of its rate: less is not worth a timer.
const paceStep = 20 * time.Millisecond

// Read counts n bytes that were read, and waits until they were due, or until ctx ends.
func (p *Pacer) Read(ctx context.Context, n int64) error {
	if p.Rate <= 0 {
		return ctx.Err()
	}
	if p.begin.IsZero() {
		p.begin = time.Now()
	}
	p.bytes += n
	due := time.Duration(float64(p.bytes) / float64(p.Rate) * float64(time.Second))
	wait := due - time.Since(p.begin)
	if wait < -time.Second { // after a pause: no burst to catch up
		p.begin, p.bytes = time.Now(), 0
	}
	if wait < paceStep {
		return ctx.Err()
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
