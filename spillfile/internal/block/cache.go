package block

import (
	"sync"
	"sync/atomic"
)

// What is cached: decoded leaves of indexes, and decoded blocks of segments.
const (
	CacheIndex uint64 = iota // a leaf of an index file
	CacheBlock               // a block of a segment
)

// Cache keeps the decoded blocks that point reads have asked for last. What is in it is never
// changed. A nil cache keeps nothing. Safe for concurrent use.
//
// It is not ristretto, which is at hand. That must be closed, a Set that meets its Close panics,
// and views are read beyond the Close of the log. It does not tell how much it holds but for a
// price above that of a small cache.
type Cache struct {
	used   atomic.Int64 // bytes of all shards: every group of commits asks for it
	shards [cacheShards]cacheShard
}

const (
	cacheShards = 16
	// cacheOverhead is what one block costs beside its bytes: its element and its place in the map.
	cacheOverhead = 160
)

// cacheShard is a map and a ring in the order of use: root.next was used last.
type cacheShard struct {
	mu     sync.Mutex
	limit  int64
	used   int64
	total  *atomic.Int64
	blocks map[cacheKey]*cachedBlock
	root   cachedBlock
}

type cacheKey struct {
	kind, segment uint64
	at            int64
}

type cachedBlock struct {
	key        cacheKey
	raw        []byte
	ts         uint64 // commit timestamp of the batch, of blocks of segments
	prev, next *cachedBlock
}

func (b *cachedBlock) cost() int64 { return int64(cap(b.raw)) + cacheOverhead }

// NewCache makes a cache of so many bytes, none if that is 0 or less.
func NewCache(size int64) *Cache {
	if size <= 0 {
		return nil
	}
	c := new(Cache)
	for i := range c.shards {
		s := &c.shards[i]
		s.limit, s.total = size/cacheShards, &c.used
		s.reset()
	}
	return c
}

// Resize changes how many bytes it may hold. What is too much goes now.
func (c *Cache) Resize(size int64) {
	if c == nil {
		return
	}
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.limit = max(0, size) / cacheShards
		for s.used > s.limit {
			s.evict(s.root.prev)
		}
		s.mu.Unlock()
	}
}

func (c *Cache) shard(k cacheKey) *cacheShard {
	h := (k.segment<<1|k.kind)*0x9e3779b97f4a7c15 + uint64(k.at)*0xbf58476d1ce4e5b9
	return &c.shards[h>>32%cacheShards]
}

func (s *cacheShard) reset() {
	s.count(-s.used)
	s.blocks = map[cacheKey]*cachedBlock{}
	s.root.prev, s.root.next = &s.root, &s.root
}

func (s *cacheShard) count(n int64) {
	s.used += n
	s.total.Add(n)
}

func (b *cachedBlock) unlink() { b.prev.next, b.next.prev = b.next, b.prev }

func (s *cacheShard) pushFront(b *cachedBlock) {
	b.prev, b.next = &s.root, s.root.next
	b.prev.next, b.next.prev = b, b
}

// Get returns a block and the timestamp that it was put with, nil if it is not cached.
func (c *Cache) Get(kind, segment uint64, at int64) (raw []byte, ts uint64) {
	if c == nil {
		return nil, 0
	}
	k := cacheKey{kind, segment, at}
	s := c.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.blocks[k]
	if b == nil {
		return nil, 0
	}
	b.unlink()
	s.pushFront(b)
	return b.raw, b.ts
}

// Put adds a block, unless it is too large. raw must not be changed any more.
func (c *Cache) Put(kind, segment uint64, at int64, raw []byte, ts uint64) {
	if c == nil {
		return
	}
	k := cacheKey{kind, segment, at}
	b := &cachedBlock{key: k, raw: raw, ts: ts}
	s := c.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.blocks[k] != nil || b.cost() > s.limit/4 {
		return
	}
	for s.used+b.cost() > s.limit {
		s.evict(s.root.prev)
	}
	s.blocks[k] = b
	s.count(b.cost())
	s.pushFront(b)
}

func (s *cacheShard) evict(b *cachedBlock) {
	b.unlink()
	delete(s.blocks, b.key)
	s.count(-b.cost())
}

// Memory returns the bytes in use.
func (c *Cache) Memory() int64 {
	if c == nil {
		return 0
	}
	return c.used.Load()
}

// Clear empties the cache.
func (c *Cache) Clear() {
	if c == nil {
		return
	}
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.reset()
		s.mu.Unlock()
	}
}

// Forget drops what is cached of a segment.
func (c *Cache) Forget(kind, segment uint64) {
	if c == nil {
		return
	}
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		for k, b := range s.blocks {
			if k.kind == kind && k.segment == segment {
				s.evict(b)
			}
		}
		s.mu.Unlock()
	}
}
