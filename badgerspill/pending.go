package badgerspill

import (
	"bytes"
	"iter"
	"sort"
)

// pendingWrites holds a transaction's own writes. Few keys are searched one by one; a map is made
// only for more.
type pendingWrites struct {
	entries []*Entry       // the last write of every key, in order of first write
	index   map[string]int // position in entries by key, once there are more than linearPending
	// superseded are writes of a key that was written again with another version (managed mode):
	// all are committed.
	superseded []*Entry
}

const linearPending = 16

func (p *pendingWrites) find(key []byte) int {
	if p.index != nil {
		if i, ok := p.index[string(key)]; ok {
			return i
		}
		return -1
	}
	for i, e := range p.entries {
		if bytes.Equal(e.Key, key) {
			return i
		}
	}
	return -1
}

func (p *pendingWrites) get(key []byte) *Entry {
	if i := p.find(key); i >= 0 {
		return p.entries[i]
	}
	return nil
}

func (p *pendingWrites) put(e *Entry) {
	if i := p.find(e.Key); i >= 0 {
		if old := p.entries[i]; old.version != e.version {
			p.superseded = append(p.superseded, old)
		}
		p.entries[i] = e
		return
	}
	p.entries = append(p.entries, e)
	switch n := len(p.entries); {
	case p.index != nil:
		p.index[string(e.Key)] = n - 1
	case n > linearPending:
		p.index = make(map[string]int, 4*n)
		for i, e := range p.entries {
			p.index[string(e.Key)] = i
		}
	}
}

// all yields what is committed.
func (p *pendingWrites) all() iter.Seq[*Entry] {
	return func(yield func(*Entry) bool) {
		for _, e := range p.entries {
			if !yield(e) {
				return
			}
		}
		for _, e := range p.superseded {
			if !yield(e) {
				return
			}
		}
	}
}

func (p *pendingWrites) len() int { return len(p.entries) + len(p.superseded) }

func (p *pendingWrites) empty() bool { return len(p.entries) == 0 }

// sorted returns a snapshot in key order; later writes do not show in it.
func (p *pendingWrites) sorted(reverse bool) []*Entry {
	s := make([]*Entry, len(p.entries))
	copy(s, p.entries)
	sort.Slice(s, func(i, j int) bool {
		cmp := bytes.Compare(s[i].Key, s[j].Key)
		if reverse {
			return cmp > 0
		}
		return cmp < 0
	})
	return s
}
