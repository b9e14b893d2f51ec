package badgerspill

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/trie"

	"github.com/badgerspill/badgerspill/badgerspill/internal/pipeline"
)

const (
	// A subscriber that is behind by either of these holds up new commits: updates in number, and
	// bytes of memory that they take. As much again may be in the hands of its callback.
	maxBehindUpdates = 1 << 16
	maxBehindBytes   = 32 << 20

	// updateOverhead is what an update takes in memory beside its key and its value: a pb.KV of 160
	// bytes, the byte of its meta, and its places in lists, which grow by doubling.
	updateOverhead = 160 + 8 + 3*8
)

// updateMemory is about what an update takes in memory. Go rounds what it allocates up, by an
// eighth or to the next eight bytes.
func updateMemory(key, value int) int64 {
	n := int64(key) + int64(value)
	return updateOverhead + n + n/8 + 8
}

// publisher tells subscribers of commits. Subscribers are matched before the commit is queued
// (match), and again under the commit lock if one has come meanwhile. They are told when the
// commit is acknowledged, under the commit lock, so in commit order and once, whether Badger or the
// spill had it first.
type publisher struct {
	count atomic.Int32  // of subscribers
	added atomic.Uint64 // subscribers, ever
	waits atomic.Int64  // commits that have waited for a subscriber, ever
	calls sync.WaitGroup

	mu     sync.Mutex // after the commit lock
	room   sync.Cond  // a subscriber caught up, or left
	index  *trie.Trie
	subs   map[uint64]*subscriber
	nextID uint64
	closed bool
}

// subscriber is one call of Subscribe. All but wake is guarded by publisher.mu.
type subscriber struct {
	list  []*pb.KV
	bytes int64         // of memory that list takes
	given int64         // the same of what the callback has in hand
	wake  chan struct{} // one token: list is not empty, or the database is being closed
}

// updates is what one commit tells.
type updates struct {
	kvs []*pb.KV // of version 0: the commit timestamp
	to  map[*subscriber]*share
}

// share is what one commit tells one subscriber.
type share struct {
	kvs   []*pb.KV
	bytes int64 // of memory
}

func newPublisher() *publisher {
	p := &publisher{index: trie.NewTrie(), subs: map[uint64]*subscriber{}}
	p.room.L = &p.mu
	return p
}

// match finds out what c tells, nil if nothing. It copies, since the caller of Commit may reuse his
// buffers.
func (p *publisher) match(c *pipeline.Commit) {
	c.Updates = nil
	if p.count.Load() == 0 {
		return
	}
	u := &updates{to: map[*subscriber]*share{}}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range c.Entries {
		e := &c.Entries[i]
		ids := p.index.Get(e.Key)
		if len(ids) == 0 {
			continue
		}
		kv := &pb.KV{Key: append([]byte{}, e.Key...), Value: append([]byte{}, e.Value...), Meta: []byte{e.UserMeta},
			ExpiresAt: e.ExpiresAt, Version: e.Version}
		u.kvs = append(u.kvs, kv)
		for id := range ids {
			s := p.subs[id]
			if s == nil {
				continue
			}
			if u.to[s] == nil {
				u.to[s] = new(share)
			}
			u.to[s].kvs = append(u.to[s].kvs, kv)
			u.to[s].bytes += updateMemory(len(e.Key), len(e.Value))
		}
	}
	if len(u.to) > 0 {
		c.Updates = u
	}
}

// deliver is called under the commit lock, in commit order. It does not block.
func (p *publisher) deliver(c *pipeline.Commit) {
	u := c.Updates.(*updates)
	for _, kv := range u.kvs {
		if kv.Version == 0 {
			kv.Version = c.Ts
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for s, of := range u.to {
		s.list = append(s.list, of.kvs...)
		s.bytes += of.bytes
		s.signal()
	}
}

func (s *subscriber) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// throttle waits while a subscriber is too far behind, and the commit is patient. It is called
// without locks.
func (p *publisher) throttle(w *pipeline.Wait) error {
	if p.count.Load() == 0 {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || !p.behind() {
		return nil
	}
	p.waits.Add(1)
	defer w.OnEnd(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.room.Broadcast()
	})()
	for !p.closed && p.behind() {
		if err := w.Ended("a subscriber is too far behind"); err != nil {
			return err
		}
		p.room.Wait()
	}
	return nil
}

func (p *publisher) behind() bool {
	for _, s := range p.subs {
		if len(s.list) >= maxBehindUpdates || s.bytes >= maxBehindBytes {
			return true
		}
	}
	return false
}

func (p *publisher) add(matches []pb.Match) (*subscriber, uint64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, 0, ErrDBClosed
	}
	id := p.nextID
	p.nextID++
	for i := range matches {
		if err := p.index.AddMatch(pb.Match{Prefix: matches[i].Prefix, IgnoreBytes: matches[i].IgnoreBytes}, id); err != nil {
			p.forget(id, matches[:i])
			return nil, 0, fmt.Errorf("while creating a new subscriber err: %w", err)
		}
	}
	s := &subscriber{wake: make(chan struct{}, 1)}
	p.subs[id] = s
	p.count.Add(1)
	p.added.Add(1)
	p.calls.Add(1)
	return s, id, nil
}

func (p *publisher) remove(id uint64, matches []pb.Match) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget(id, matches)
	delete(p.subs, id)
	p.count.Add(-1)
	p.calls.Done()
	p.room.Broadcast()
}

func (p *publisher) forget(id uint64, matches []pb.Match) {
	for i := range matches { // each was added, so it parses
		_ = p.index.DeleteMatch(pb.Match{Prefix: matches[i].Prefix, IgnoreBytes: matches[i].IgnoreBytes}, id)
	}
}

// take returns what s has not seen yet, and whether more may come.
func (p *publisher) take(s *subscriber) (list []*pb.KV, open bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	list = s.list
	s.list, s.bytes, s.given = nil, 0, s.bytes
	p.room.Broadcast()
	return list, !p.closed
}

// returned is called when the callback of s has returned.
func (p *publisher) returned(s *subscriber) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.given = 0
}

// backlog returns the bytes of memory that wait for the subscriber that is furthest behind, or are
// in the hands of its callback.
func (p *publisher) backlog() (most int64) {
	if p.count.Load() == 0 {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.subs {
		most = max(most, s.bytes+s.given)
	}
	return most
}

// close ends the subscriptions after they have seen all that was delivered, and waits for that,
// until ctx ends.
func (p *publisher) close(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	for _, s := range p.subs {
		s.signal()
	}
	p.room.Broadcast()
	p.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		p.calls.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
	}
	return fmt.Errorf("badgerspill: a callback of Subscribe has not returned, and its updates are not all told; have it return when the database is to be closed: %w", ctx.Err())
}

// Subscribe calls cb with the updates of keys that match, from when it was called: each once, in
// commit order, when it is acknowledged, whether by Badger or by the spill; replay tells nothing
// again. What has gathered comes in one list. Deletions come with an empty value. It blocks until
// ctx ends (and returns its error), cb returns an error (and returns that), or the database is
// closed. Close waits for it; CloseContext until its context ends. Errors besides: ErrNilCallback,
// ErrDBClosed, and that of a match that cannot be parsed.
//
// A subscriber for whom 65,536 updates wait, or updates that take 32 MiB of memory, holds up
// commits until cb returns and is given them. As much again may be in the hands of cb, and what the
// commits tell that are on their way comes on top. See SpillStats.SubscriberBacklog. cb must not
// commit itself: far behind, it would wait for itself.
func (db *DB) Subscribe(ctx context.Context, cb func(kv *KVList) error, matches []pb.Match) error {
	if cb == nil {
		return ErrNilCallback
	}
	s, id, err := db.publisher.add(matches)
	if err != nil {
		return err
	}
	defer db.publisher.remove(id, matches)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.wake:
		}
		list, open := db.publisher.take(s)
		if len(list) > 0 {
			if err := cb(&KVList{Kv: list}); err != nil {
				return err
			}
			db.publisher.returned(s)
		}
		if !open {
			return nil
		}
	}
}
