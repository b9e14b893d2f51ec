package spillfile

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/dgraph-io/badger/v4/y"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/index"
)

// writer is the leader's side of the log.
type writer struct {
	group []*Batch // the leader's own

	mu sync.Mutex // held while a group is written, and to change the set of segments

	// Guarded by mu.
	// segments with acknowledged batches, oldest first; the active one is the last
	live     []*segment
	active   *segment   // nil: the next batch begins a new segment
	rotate   bool       // the same, asked for while active is set
	direct   uint64     // DirectThrough of segments to come
	unsynced []*segment // sealed, not durable up to their end, oldest first
	mark     Position   // everything before is durable
	asked    bool       // a successor of active is being prepared
	newest   newestWriter
	closed   bool
	deferred bool   // nothing is made on disk yet: see Make
	times    *Times // of the group that is being written; nil: nobody asks
	buf      []byte // group buffer
	key, loc []byte // scratch for the index
	stamp    block.Stamper
}

// unlockWriter releases writer.mu and sends the events that were noted under it. No other lock may
// be held: who holds one sends them when all locks are released.
func (l *Log) unlockWriter() {
	l.w.mu.Unlock()
	l.send()
}

// eventQueue holds events in the order in which things happened, until somebody sends them who
// holds no lock.
type eventQueue struct {
	mu      sync.Mutex
	queue   []Event
	sending bool
}

// send calls OnEvent for what was noted. If somebody does that already, it leaves the rest to him:
// two at a time would mix up the order.
func (l *Log) send() {
	q := &l.events
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.sending {
		return
	}
	q.sending = true
	for len(q.queue) > 0 {
		events := q.queue
		q.queue = nil
		q.mu.Unlock()
		for _, e := range events {
			l.o.OnEvent(e)
		}
		q.mu.Lock()
	}
	q.sending = false
}

func (l *Log) note(e Event) {
	l.events.mu.Lock()
	defer l.events.mu.Unlock()
	l.events.queue = append(l.events.queue, e)
}

func (l *Log) noteLocked(kind EventKind, s *segment, bytes int64, err error) {
	l.note(Event{Kind: kind, Segment: s.id(), File: s.path, Bytes: bytes, Err: err})
}

// write puts the group on disk and into the index. All of it succeeds or fails.
func (l *Log) write(group []*Batch) error {
	times := timesOf(group)
	times.taken()
	l.w.mu.Lock()
	l.w.times = times
	err := l.writeLocked(group)
	l.w.times = nil
	if err != nil {
		// The sequences of the group are never written, and within a segment they have no gaps.
		l.w.rotate = true
	}
	l.answered(len(group))
	l.unlockWriter()
	times.tell(group)
	return err
}

func (l *Log) writeLocked(group []*Batch) error {
	w := &l.w
	var err error
	for _, b := range group {
		if b.rotate {
			w.rotate = true
			w.direct = max(w.direct, b.direct)
		}
		err = cmp.Or(err, b.err)
	}
	if err != nil {
		return err
	}
	if err := l.usableLocked(); err != nil {
		return err
	}
	if len(w.unsynced) >= l.files.MostUnsynced() {
		l.syncOldestLocked()
		if err := l.usableLocked(); err != nil {
			return err
		}
	}
	if len(w.live) == 0 {
		// Nobody can make the log non-empty meanwhile: only the leader writes.
		l.unlockWriter()
		err := l.o.OnFirst()
		w.mu.Lock()
		if err == nil {
			err = l.usableLocked()
		}
		if err != nil {
			return err
		}
	}
	var bytes, indexed int64
	for _, b := range group {
		bytes += b.Size()
		indexed += b.IndexSize()
	}
	if most := min(index.ArenaLimit, block.MaxPiece); indexed > most {
		return fmt.Errorf("%w: the keys of a batch take %d bytes in the index, the limit is %d", ErrTooLarge, indexed, most)
	}
	if s := w.active; s != nil && (w.rotate || s.end.Load()+bytes > l.sizes.Load().segment || s.mem().Room() < indexed) {
		l.sealLocked(s)
	}
	if w.active == nil {
		if err := l.activateLocked(group[0].seq, indexed); err != nil {
			return err
		}
	}
	s := w.active
	at := s.end.Load()
	out := l.stampLocked(s, at, group)
	if err := l.appendLocked(s, out, at); err != nil {
		l.poisonLocked(s, err)
		return err
	}
	if s.lastSeq.Load() == 0 {
		l.noteNewestLocked(s, at+int64(len(out)))
	}
	l.indexLocked(s, group)
	l.includeLocked(s, group, at+int64(len(out)))
	return nil
}

func (l *Log) usableLocked() error {
	switch {
	case l.w.closed:
		return ErrClosed
	case l.o.ReadOnly:
		return ErrReadOnly
	case l.w.deferred:
		return errDeferred
	}
	return nil
}

func (l *Log) appendLocked(s *segment, out []byte, at int64) error {
	n, err := s.file.WriteAt(out, at)
	if err == nil && n < len(out) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return fmt.Errorf("spill segment %s: write of %d bytes at %d: %w", s.path, len(out), at, err)
	}
	if grown := at + int64(len(out)) - s.size.Load(); grown > 0 {
		s.size.Add(grown)
		l.disk.Add(grown)
	}
	l.w.times.written()
	if !l.o.SyncWrites {
		return nil
	}
	if err := s.file.Sync(); err != nil {
		return fmt.Errorf("spill segment %s: sync: %w", s.path, err)
	}
	s.synced = at + int64(len(out))
	l.w.times.synced()
	return nil
}

func (l *Log) indexLocked(s *segment, group []*Batch) {
	w := &l.w
	loc := index.Location{Segment: s.id()}
	mem := s.mem()
	var file int64
	for _, b := range group {
		high := uint64(0)
		for i := range b.blocks {
			blk := &b.blocks[i]
			loc.Block, loc.Stored = blk.offset, blk.storedLen
			for j := range b.ents[blk.firstEnt : blk.firstEnt+int(blk.count)] {
				e := &b.ents[blk.firstEnt+j]
				version := e.version
				if version == 0 {
					version = b.ts
				} else {
					s.mixed.Store(true)
				}
				high = max(high, version)
				loc.Offset, loc.KeyLen, loc.ValueLen = e.offset, uint32(e.keyLen), e.valueLen
				w.loc = index.AppendLocation(w.loc[:0], loc)
				w.key = append(w.key[:0], b.raw[e.key:e.key+int(e.keyLen)]...)
				w.key = binary.BigEndian.AppendUint64(w.key, ^version)
				vs := y.ValueStruct{Meta: e.meta, UserMeta: e.userMeta, ExpiresAt: e.expiresAt, Value: w.loc}
				file += index.FileEntry(len(w.key), int(vs.EncodedSize()))
				if e.valueLen <= index.InlineValue {
					value := e.key + int(e.keyLen)
					w.loc = append(w.loc, b.raw[value:value+int(e.valueLen)]...)
					vs.Value = w.loc
				}
				mem.Put(w.key, vs)
			}
		}
		s.note(b.ts, high)
	}
	l.expectMore(s, file)
}

// includeLocked makes the group, which is indexed, part of the log, and of the view. OnCommit
// acknowledges it after that, without the lock.
func (l *Log) includeLocked(s *segment, group []*Batch, end int64) {
	w := &l.w
	last := group[len(group)-1].seq
	first := s.lastSeq.Load() == 0
	s.end.Store(end)
	s.lastSeq.Store(last)
	l.lastSeq.Store(last)
	if first {
		w.live = append(w.live, s)
		l.publishLocked()
		l.noteLocked(SegmentCreated, s, end, nil)
	}
	if l.o.SyncWrites {
		l.advanceLocked()
	}
	if mem := s.mem(); !w.asked && (end > l.sizes.Load().segment/2 || mem.Room() < mem.Size()) {
		w.asked = true
		l.wakeBackground()
	}
}

// advanceLocked moves the synced mark as far as segments are durable without a gap.
func (l *Log) advanceLocked() {
	w := &l.w
	for _, s := range slices.Backward(w.live) {
		if s.synced > 0 && (len(w.unsynced) == 0 || s.id() <= w.unsynced[0].id()) {
			l.setMarkLocked(Position{Segment: s.id(), Offset: s.synced})
			return
		}
	}
}

func (l *Log) setMarkLocked(at Position) {
	l.w.mark = at
	l.synced.Store(&at)
}
