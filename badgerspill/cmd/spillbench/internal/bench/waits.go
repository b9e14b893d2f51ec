package bench

import "time"

// waitLog keeps how long the calls of writers took, from call to return: what an engine does to one
// caller, whatever queue the caller has before itself.
type waitLog struct{ writers []*writerWaits }

type writerWaits struct {
	longest time.Duration
	long    int64
}

// around returns a maker of writers that are watched. It is called from one goroutine.
func (w *waitLog) around(newWriter func() func(key, value []byte) error) func() func(key, value []byte) error {
	return func() func(key, value []byte) error {
		write, mine := newWriter(), &writerWaits{}
		w.writers = append(w.writers, mine)
		return func(key, value []byte) error {
			begin := time.Now()
			err := write(key, value)
			took := time.Since(begin)
			if mine.longest = max(mine.longest, took); took > longWait {
				mine.long++
			}
			return err
		}
	}
}

// sum returns the longest call, and how many were longer than longWait. No writer may be at work.
func (w *waitLog) sum() (longest time.Duration, long int64) {
	for _, one := range w.writers {
		longest = max(longest, one.longest)
		long += one.long
	}
	return longest, long
}
