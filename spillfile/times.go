package spillfile

import "time"

// Times are when the steps of a batch on its way to disk ended. A step that was not taken has the
// zero time.
type Times struct {
	Taken   time.Time // from the queue, by who writes its group
	Written time.Time // to the segment's file
	Synced  time.Time // only under Options.SyncWrites
}

// timesOf returns where to note the times of a group, nil if none of its batches asks: then nobody
// looks at the clock.
func timesOf(group []*Batch) *Times {
	for _, b := range group {
		if b.Times != nil {
			return new(Times)
		}
	}
	return nil
}

func (t *Times) taken() {
	if t != nil {
		t.Taken = time.Now()
	}
}

func (t *Times) written() {
	if t != nil {
		t.Written = time.Now()
	}
}

func (t *Times) synced() {
	if t != nil {
		t.Synced = time.Now()
	}
}

func (t *Times) tell(group []*Batch) {
	if t == nil {
		return
	}
	for _, b := range group {
		if b.Times != nil {
			*b.Times = *t
		}
	}
}
