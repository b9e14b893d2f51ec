package notify

import (
	"fmt"
	"sync"
	"time"
)

const (
	// LineInterval is the time in which a Limiter lets few lines of a kind pass.
	LineInterval = 10 * time.Second
	// LinesPerInterval is how many, unless Most says otherwise.
	LinesPerInterval = 5
)

// Limiter lets few lines of a kind pass. Its zero value is ready. Its method is safe for concurrent
// use; the fields must not change any more then.
type Limiter struct {
	Now  func() time.Time // nil: the clock
	Most int              // of a kind in LineInterval; 0: LinesPerInterval

	mu sync.Mutex
	of map[string]*lineCount
}

type lineCount struct {
	since  time.Time
	passed int
	left   int // out, since the last line that passed
}

// Allow tells whether a line may pass, and what is to be appended to it.
func (l *Limiter) Allow(kind string) (more string, ok bool) {
	left, ok := l.Count(kind)
	if left > 0 {
		more = fmt.Sprintf(" (and %d more such lines since the last)", left)
	}
	return more, ok
}

// Count tells whether a line may pass, and how many of its kind did not since the last that did.
func (l *Limiter) Count(kind string) (left int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if l.Now != nil {
		now = l.Now()
	}
	if l.of == nil {
		l.of = map[string]*lineCount{}
	}
	c := l.of[kind]
	if c == nil {
		c = &lineCount{since: now}
		l.of[kind] = c
	}
	if now.Sub(c.since) >= LineInterval {
		c.since, c.passed = now, 0
	}
	most := l.Most
	if most == 0 {
		most = LinesPerInterval
	}
	if c.passed >= most {
		c.left++
		return 0, false
	}
	left, c.left = c.left, 0
	c.passed++
	return left, true
}
