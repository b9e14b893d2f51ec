package spillfile

import (
	"bytes"
	"time"

	"github.com/dgraph-io/badger/v4/y"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
)

// Retention says which versions of a key nobody can see any more. It is the rule of Badger's
// compaction (levels.go, subcompact), applied to what the merge has of a key.
type Retention struct {
	// DiscardTs is the timestamp at or below which only the newest version of a key can still be
	// read.
	DiscardTs uint64
	// Versions is how many versions are to be kept at and below DiscardTs, at least 1.
	Versions int
}

// Merge hands out the oldest live segments in the order of their keys, for replay. Of each key the
// versions come oldest first: a newer tombstone must not reach Badger before what it covers, or
// Badger's compaction could drop it by then. Versions that nobody can see any more are left out.
// Not safe for concurrent use.
//
// A merge is not replayed until all of it is: only then LastSeq and End say how far.
type Merge struct {
	log  *Log
	view *View
	it   *Iterator

	from    Position // entries before are replayed already
	end     Position
	lastSeq uint64
	bytes   int64

	key      []byte // user key of versions
	versions []Ref  // of the key at hand that are to be kept, newest first; taken from the end
	// hot, if not nil, has those of a key with more versions than are gathered: it goes from the
	// oldest to the newest.
	hot    *Iterator
	walked int // entries looked at since the last window was begun

	passed int64  // entries looked at in all, those before the place where it was resumed included
	total  int64  // about how many there are
	whole  []byte // the last key of which all versions are in windows
	handed Place  // that of the window that was handed out last

	ahead     chan *window // the window being read; nil: none
	retention Retention
	coalesced int64
}

// maxVersions bounds how many versions of one key are gathered. A variable for tests.
var maxVersions = 4 << 10

// maxWalk bounds how many entries one window looks at: where nearly all are left out, the caller
// wants to be asked again before all of the merge is through.
const maxWalk = 64 << 10

// NewMerge starts a merge of sealed segments, the oldest first, as many as have maxBytes on disk
// together and at least one, from a position on. Without any, it returns nil. It blocks while
// indexes are written that are still in memory. Close it.
func (l *Log) NewMerge(from Position, maxBytes int64) *Merge { return l.newMerge(from, maxBytes, nil) }

// ResumeMerge starts the merge that had come to a place, with what lies behind it. It returns nil
// if the place is void.
func (l *Log) ResumeMerge(from Position, p Place) *Merge {
	s := l.segmentOf(p)
	if s == nil {
		return nil
	}
	defer l.unref(s)
	return l.newMerge(from, 0, &p)
}

func (l *Log) newMerge(from Position, maxBytes int64, p *Place) *Merge {
	// What cannot be written stays in memory and is merged from there.
	l.report(l.indexSealed())
	v := l.Acquire()
	if v == nil {
		return nil
	}
	defer v.Release()
	m := &Merge{log: l, from: from}
	replayed := l.replayed.Load()
	l.w.mu.Lock()
	active := l.w.active
	l.w.mu.Unlock()
	var segs []*segment
	for _, s := range v.segs {
		size := s.end.Load() - block.SegmentHeaderSize
		if s == active || p == nil && len(segs) > 0 && m.bytes+size > maxBytes || p != nil && s.id() > p.End.Segment {
			break
		}
		if s.id() < from.Segment || s.lastSeq.Load() <= replayed || s.id() == from.Segment && s.end.Load() <= from.Offset {
			continue
		}
		segs = append(segs, s)
		m.bytes += size
		m.end, m.lastSeq = Position{Segment: s.id(), Offset: s.end.Load()}, s.lastSeq.Load()
		m.total += s.entries()
	}
	if len(segs) == 0 || p != nil && (m.end != p.End || m.lastSeq != p.LastSeq) {
		return nil
	}
	m.view = newView(l, segs)
	m.it = m.view.NewIterator(false)
	m.handed = Place{End: m.end, LastSeq: m.lastSeq}
	if p == nil {
		m.it.Rewind()
		return m
	}
	m.key, m.whole = append(m.key, p.Key...), append(m.whole, p.Key...)
	m.passed, m.handed = p.Entries, Place{End: m.end, LastSeq: m.lastSeq, Key: bytes.Clone(p.Key), Entries: p.Entries}
	for m.it.Seek(y.KeyWithTs(p.Key, 0)); m.it.Valid() && string(m.it.UserKey()) == string(p.Key); {
		m.it.Next()
	}
	return m
}

// Place returns how far the merge is with what Next has handed out so far. It has no key before a
// first one is done, all of its versions. The key's memory is the caller's.
func (m *Merge) Place() Place {
	p := m.handed
	p.Key = bytes.Clone(p.Key)
	return p
}

// Share returns about how much of the merge was handed out, 0 to 1.
func (m *Merge) Share() float64 {
	return min(1, float64(m.handed.Entries)/float64(max(1, m.total)))
}

// End returns the place behind the last batch of the merge.
func (m *Merge) End() Position { return m.end }

// LastSeq returns the sequence of the last batch of the merge.
func (m *Merge) LastSeq() uint64 { return m.lastSeq }

// Segments returns how many segments are merged.
func (m *Merge) Segments() int { return len(m.view.segs) }

// Bytes returns the size of the merged segments on disk.
func (m *Merge) Bytes() int64 { return m.bytes }

// Close ends the merge, wherever it is. It waits for reads that are under way.
func (m *Merge) Close() {
	if m.ahead != nil {
		w := <-m.ahead
		if w.err != nil { // nobody asks for it any more
			m.log.o.Logf("values of the spill could not be read ahead for a replay that ended, the next one reads them again: %v", w.err)
		}
		w.free()
		m.ahead = nil
	}
	m.endHot()
	_ = m.it.Close()
	m.view.Release()
}

func (m *Merge) endHot() {
	if m.hot != nil {
		_ = m.hot.Close()
		m.hot = nil
	}
}

// Next fills c with the next entries, in order, of about maxBytes together and at least one; with
// none at the end. While the caller works on them, the values of those after them are read. It
// returns how many entries were left out since the last call, as nobody can see them. It blocks for
// reads of files. After an error the merge must be closed. Memory of c is valid until the next
// call.
func (m *Merge) Next(c *Chunk, maxBytes int64, r Retention) (coalesced int64, err error) {
	m.retention = r
	if m.ahead == nil {
		m.readAhead(maxBytes)
	}
	w := <-m.ahead
	m.ahead = nil
	c.Reset()
	if w.err != nil {
		w.free()
		return 0, w.err
	}
	c.takeWindow(w)
	m.handed.Key, m.handed.Entries = append(m.handed.Key[:0], w.whole...), w.passed
	coalesced, m.coalesced = m.coalesced, 0
	if len(c.Entries) > 0 {
		m.readAhead(maxBytes)
	}
	return coalesced, nil
}

// readAhead gathers the places of the next entries and begins to read them.
func (m *Merge) readAhead(maxBytes int64) {
	w := windows.Get().(*window)
	w.reset()
	ahead := make(chan *window, 1)
	m.ahead = ahead
	m.walked = 0
	for w.bytes < maxBytes && m.walked < maxWalk {
		v, ok := m.nextVersion()
		if !ok {
			break
		}
		w.add(m.key, v)
	}
	if len(m.versions) == 0 && m.hot == nil {
		m.whole = append(m.whole[:0], m.key...)
	}
	w.whole, w.passed = append(w.whole[:0], m.whole...), m.passed
	if w.err = m.it.Err(); w.err == nil && m.hot != nil {
		w.err = m.hot.Err()
	}
	if w.err != nil || len(w.entries) == 0 {
		ahead <- w
		return
	}
	go func() {
		w.err = w.read(m.view)
		ahead <- w
	}()
}

// nextVersion returns the next version to be kept, of the key m.key.
func (m *Merge) nextVersion() (*Ref, bool) {
	for len(m.versions) == 0 {
		if m.hot != nil {
			if v, ok := m.nextHot(); ok {
				return v, true
			}
			if m.hot.Err() != nil { // the caller asks for it
				return nil, false
			}
			m.endHot()
		}
		if !m.nextKey() {
			return nil, false
		}
	}
	v := &m.versions[len(m.versions)-1]
	m.versions = m.versions[:len(m.versions)-1]
	return v, true
}

// nextHot returns the next version from hot that is not replayed already.
func (m *Merge) nextHot() (*Ref, bool) {
	for ; m.hot.Valid() && string(m.hot.UserKey()) == string(m.key); m.hot.Next() {
		m.walked++
		if ref := m.hot.Ref(); !m.isReplayed(&ref) {
			m.hot.Next()
			return &ref, true
		}
	}
	return nil, false
}

// isReplayed says that an entry lies before the merge.
func (m *Merge) isReplayed(ref *Ref) bool {
	return ref.at.Segment == m.from.Segment && ref.at.Block < m.from.Offset
}

// nextKey gathers the versions of the next key, or finds the oldest that is to be kept, if they are
// many.
func (m *Merge) nextKey() bool {
	if !m.it.Valid() {
		return false
	}
	m.whole = append(m.whole[:0], m.key...) // nothing of it is left
	m.key = append(m.key[:0], m.it.UserKey()...)
	m.versions = m.versions[:0]
	now := uint64(time.Now().Unix())
	covered, kept, many := false, 0, false
	var oldest uint64
	for ; m.it.Valid() && string(m.it.UserKey()) == string(m.key); m.it.Next() {
		m.walked++
		m.passed++
		ref := m.it.Ref()
		if m.isReplayed(&ref) {
			continue
		}
		if covered {
			m.coalesced++
			continue
		}
		if ref.Version <= m.retention.DiscardTs && ref.Meta&MetaMerge == 0 {
			kept++
			gone := ref.Meta&MetaDelete != 0 || ref.ExpiresAt != 0 && ref.ExpiresAt <= now
			covered = gone || ref.Meta&MetaDiscardEarlier != 0 || kept >= m.retention.Versions
		}
		if oldest = ref.Version; many {
			continue
		}
		m.versions = append(m.versions, ref)
		if many = len(m.versions) == maxVersions; many {
			m.versions = m.versions[:0]
		}
	}
	if many {
		m.hot = m.view.NewIterator(true)
		m.hot.Seek(y.KeyWithTs(m.key, oldest))
	}
	return true
}

// takeWindow makes the entries of w those of c, in order.
func (c *Chunk) takeWindow(w *window) {
	c.window = w
	c.Entries = append(c.Entries, w.entries...)
	c.RawBytes = w.bytes
}
