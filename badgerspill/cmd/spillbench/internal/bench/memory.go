package bench

import (
	"time"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/engine"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/usage"
)

const memoryEvery = 200 * time.Millisecond

// memory is what the process holds, in bytes.
type memory struct {
	beside int64 // resident, and neither part of a file nor in Badger's block cache
	cache  int64 // in Badger's block cache
	mapped int64 // resident parts of files
}

func memoryOf(db engine.Engine) (memory, error) {
	m, err := usage.InMemory()
	cache := db.BlockCacheBytes()
	return memory{beside: max(m.Anonymous-cache, 0), cache: cache, mapped: m.Mapped()}, err
}

// memoryWatch looks at the memory of the process until it is stopped.
type memoryWatch struct {
	db   engine.Engine
	quit chan struct{}
	done chan struct{}
	peak int64
	err  error
}

func watchMemory(db engine.Engine) *memoryWatch {
	w := &memoryWatch{db: db, quit: make(chan struct{}), done: make(chan struct{})}
	go w.watch()
	return w
}

func (w *memoryWatch) watch() {
	defer close(w.done)
	tick := time.NewTicker(memoryEvery)
	defer tick.Stop()
	for w.err == nil {
		select {
		case <-w.quit:
			return
		case <-tick.C:
		}
		_, w.err = w.look()
	}
}

func (w *memoryWatch) look() (memory, error) {
	m, err := memoryOf(w.db)
	w.peak = max(w.peak, m.beside)
	return m, err
}

// stop returns the memory now and the most beside files and cache that was ever seen.
func (w *memoryWatch) stop() (last memory, peak int64, err error) {
	close(w.quit)
	if <-w.done; w.err != nil {
		return last, w.peak, w.err
	}
	last, err = w.look()
	return last, w.peak, err
}
