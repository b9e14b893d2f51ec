package burst

import "time"

// outlook tells how long the rest of a replay takes, from how fast the last outlookWindow went.
type outlook struct {
	points []outlookPoint // oldest first
}

type outlookPoint struct {
	at   time.Duration
	left int64
}

const outlookWindow = 10 * time.Second

// at notes how many bytes are left at a time, and returns how long they take; 0 if that is not
// known.
func (o *outlook) at(at time.Duration, left int64) time.Duration {
	o.points = append(o.points, outlookPoint{at, left})
	for len(o.points) > 2 && at-o.points[0].at > outlookWindow {
		o.points = o.points[1:]
	}
	first := o.points[0]
	if first.left <= left {
		return 0
	}
	return time.Duration(float64(at-first.at) * float64(left) / float64(first.left-left))
}
