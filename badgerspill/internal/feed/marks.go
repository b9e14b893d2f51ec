package feed

import "sync"

// marks tells when Badger has all batches up to a sequence.
type marks struct {
	mu      sync.Mutex
	seq     uint64
	waiting map[uint64]chan struct{}
}

// Reached returns a channel that is closed when Badger has all batches up to seq. It does not block
// and is safe for concurrent use.
func (f *Feed) Reached(seq uint64) <-chan struct{} {
	m := &f.marks
	m.mu.Lock()
	defer m.mu.Unlock()
	if c, ok := m.waiting[seq]; ok {
		return c
	}
	c := make(chan struct{})
	if seq <= m.seq {
		close(c)
		return c
	}
	if m.waiting == nil {
		m.waiting = map[uint64]chan struct{}{}
	}
	m.waiting[seq] = c
	return c
}

// pass says that Badger has all batches up to seq.
func (m *marks) pass(seq uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seq = max(m.seq, seq)
	for s, c := range m.waiting {
		if s <= m.seq {
			close(c)
			delete(m.waiting, s)
		}
	}
}
