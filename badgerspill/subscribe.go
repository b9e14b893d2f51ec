package badgerspill

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/trie"
)

const (
	// A subscriber that is behind by both of these holds up new commits. It is more than Badger keeps for one.
	maxBehindCommits = 1 << 14
	maxBehindBytes   = 64 << 20
)

// publisher tells subscribers of commits. What a commit tells whom is found out before it has its place (updatesOf), with
// no lock of the commit path; it is delivered when the commit is acknowledged, under the commit lock, so in commit order
// and once, whether Badger or the spill had it first.
type publisher struct {
	count atomic.Int32  // of subscribers
	added atomic.Uint64 // subscribers, ever
	calls sync.WaitGroup

	mu     sync.Mutex // after DB.mu
	room   sync.Cond  // a subscriber caught up, or left
	index  *trie.Trie
	subs   map[uint64]*subscriber
	nextID uint64
	closed bool
}

// subscriber is one call of Subscribe. All but wake is guarded by publisher.mu.
type subscriber struct {
	commits int
	bytes   int64
	list    []*pb.KV
	wake    chan struct{} // one token: list is not empty, or the database is being closed
}

// updates is what one commit tells.
type updates struct {
	kvs   []*pb.KV // of version 0: the commit timestamp
	bytes int64
	to    map[*subscriber][]*pb.KV
}

func newPublisher() *publisher {
	p := &publisher{index: trie.NewTrie(), subs: map[uint64]*subscriber{}}
	p.room.L = &p.mu
	return p
}

// updatesOf finds out what c tells, nil if nothing. It copies, since the caller of Commit may reuse his buffers.
func (p *publisher) updatesOf(c *commit) *updates {
	c.subscribers = p.added.Load()
	if p.count.Load() == 0 {
		return nil
	}
	u := &updates{to: map[*subscriber][]*pb.KV{}}
	p.mu.Lock()
	defer p.mu.Unlock()
	for e := range c.writes.all() {
		ids := p.index.Get(e.Key)
		if len(ids) == 0 {
			continue
		}
		kv := &pb.KV{Key: append([]byte{}, e.Key...), Value: append([]byte{}, e.Value...), Meta: []byte{e.UserMeta},
			ExpiresAt: e.ExpiresAt, Version: e.version}
		u.kvs = append(u.kvs, kv)
		u.bytes += int64(len(e.Key) + len(e.Value))
		for id := range ids {
			if s := p.subs[id]; s != nil {
				u.to[s] = append(u.to[s], kv)
			}
		}
	}
	if len(u.to) == 0 {
		return nil
	}
	return u
}

// deliver is called under the commit lock, in commit order. It does not block.
func (p *publisher) deliver(u *updates, ts uint64) {
	for _, kv := range u.kvs {
		if kv.Version == 0 {
			kv.Version = ts
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for s, kvs := range u.to {
		s.list = append(s.list, kvs...)
		s.commits++
		s.bytes += u.bytes
		s.signal()
	}
}

func (s *subscriber) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// throttle waits while a subscriber is too far behind, and the commit is patient. It is called without locks.
func (p *publisher) throttle(wait *patience) error {
	if p.count.Load() == 0 {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || !p.behind() {
		return nil
	}
	defer wait.onEnd(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.room.Broadcast()
	})()
	for !p.closed && p.behind() {
		if err := wait.ended("a subscriber is too far behind"); err != nil {
			return err
		}
		p.room.Wait()
	}
	return nil
}

func (p *publisher) behind() bool {
	for _, s := range p.subs {
		if s.commits >= maxBehindCommits && s.bytes >= maxBehindBytes {
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
			return nil, 0, fmt.Errorf("badgerspill: Subscribe: match %d: %w", i, err)
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
	s.list, s.commits, s.bytes = nil, 0, 0
	p.room.Broadcast()
	return list, !p.closed
}

// close ends the subscriptions after they have seen all that was delivered, and waits for that.
func (p *publisher) close() {
	p.mu.Lock()
	p.closed = true
	for _, s := range p.subs {
		s.signal()
	}
	p.room.Broadcast()
	p.mu.Unlock()
	p.calls.Wait()
}

// Subscribe calls cb with the updates of keys that match, from when it was called: each once, in commit order, when it is
// acknowledged, whether by Badger or by the spill; replay tells nothing again. What has gathered comes in one list. Deletions come
// with an empty value. It blocks until ctx ends (and returns its error), cb returns an error (and returns that), or
// the database is closed. Close waits for it. A subscriber that is very far behind holds up commits. Errors besides:
// ErrNilCallback, ErrDBClosed, and that of a match that cannot be parsed. cb must not commit itself: far behind, it would wait for
// itself.
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
		}
		if !open {
			return nil
		}
	}
}
