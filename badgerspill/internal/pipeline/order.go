package pipeline

import (
	"slices"

	"github.com/dgraph-io/ristretto/v2/z"
)

// Snapshot is what the pipeline knows of a transaction. Its owner fills in Update, and adds to
// Reads; in managed mode ReadTs, too.
type Snapshot struct {
	ReadTs uint64
	Reads  []uint64 // fingerprints of the keys read
	Update bool

	read, update *readMark // guarded by the commit lock; nil once done
}

// Fingerprint identifies a key for conflict detection; a collision costs a needless conflict, never
// a missed one.
func Fingerprint(key []byte) uint64 { return z.MemHash(key) }

// oracle hands out read timestamps and detects conflicts. Pipeline.assign takes the timestamp of a
// commit from nextTs. All methods need the commit lock.
//
// It keeps serializable snapshot isolation as Badger does: a commit conflicts if a key that it read
// was committed after its read timestamp. Where Badger scans every recent transaction, the oracle
// keeps the last commit timestamp by key fingerprint: one map look-up a read.
type oracle struct {
	managed bool // the caller owns the timestamps
	detect  bool

	nextTs     uint64
	ahead      bool      // some entry has a version of its own that is above the timestamps, or 0
	lastReadTs uint64    // the highest read timestamp ever handed out
	readers    readMarks // every active transaction: bounds what Badger may discard
	updaters   readMarks // active read-write transactions: bounds what conflicts must be remembered

	lastCommit map[uint64]uint64 // fingerprint of a key -> timestamp of its last commit
	// what lastCommit was made from, in commit order (not in managed mode)
	recent    []committed
	discardTs uint64 // SetDiscardTs of the caller in managed mode
}

type committed struct {
	ts   uint64
	keys []uint64
}

func newOracle(managed, detect bool, lastTs uint64) *oracle {
	return &oracle{
		managed: managed, detect: detect,
		nextTs: lastTs + 1, lastReadTs: lastTs,
		lastCommit: map[uint64]uint64{},
	}
}

// begin registers a transaction and fixes its read timestamp: all that was assigned before.
func (o *oracle) begin(s *Snapshot) {
	s.ReadTs = o.nextTs - 1
	o.lastReadTs = s.ReadTs
	s.read = o.readers.begin(s.ReadTs)
	if s.Update {
		s.update = o.updaters.begin(s.ReadTs)
	}
}

// doneRead ends the transaction's hold on old versions; it may be called more than once.
func (o *oracle) doneRead(s *Snapshot) {
	if s.read != nil {
		o.readers.done(s.read)
		s.read = nil
	}
	if s.update != nil {
		o.updaters.done(s.update)
		s.update = nil
	}
}

func (o *oracle) conflicts(s *Snapshot) bool {
	for _, fp := range s.Reads {
		if o.lastCommit[fp] > s.ReadTs {
			return true
		}
	}
	return false
}

// committed remembers the keys of a commit as long as a transaction is active that may have read
// them before.
func (o *oracle) committed(ts uint64, keys []uint64) {
	if !o.detect {
		return
	}
	if o.managed {
		for _, fp := range keys {
			if o.lastCommit[fp] < ts {
				o.lastCommit[fp] = ts
			}
		}
		return
	}
	o.forget()
	if o.updaters.empty() {
		return
	}
	keys = slices.Clone(keys) // they may lie in the commit, which is not to be kept
	o.recent = append(o.recent, committed{ts, keys})
	for _, fp := range keys {
		o.lastCommit[fp] = ts
	}
}

// forget drops the commits at or below the oldest read timestamp of the active updaters.
func (o *oracle) forget() {
	n := len(o.recent)
	if !o.updaters.empty() {
		oldest := o.updaters.oldest()
		for n = 0; n < len(o.recent) && o.recent[n].ts <= oldest; n++ {
		}
	}
	for _, c := range o.recent[:n] {
		for _, fp := range c.keys {
			if o.lastCommit[fp] == c.ts {
				delete(o.lastCommit, fp)
			}
		}
	}
	clear(o.recent[:n])
	if n == len(o.recent) {
		o.recent = o.recent[:0]
	} else {
		o.recent = o.recent[n:]
	}
}

// setDiscardTs is managed mode's clean-up: the caller promises to read nothing at or below ts any
// more.
func (o *oracle) setDiscardTs(ts uint64) {
	if ts <= o.discardTs {
		return
	}
	o.discardTs = ts
	for fp, last := range o.lastCommit {
		if last <= ts {
			delete(o.lastCommit, fp)
		}
	}
}

// discardable is the timestamp at or below which only the newest version of a key can still be
// read.
func (o *oracle) discardable() uint64 {
	if o.readers.empty() {
		return o.lastReadTs
	}
	if ts := o.readers.oldest(); ts > 0 {
		return ts - 1
	}
	return 0
}

// readMarks counts active transactions by read timestamp. Read timestamps never fall, so it is a
// queue.
type readMarks struct {
	queue []*readMark
}

type readMark struct {
	ts     uint64
	active int
}

func (r *readMarks) begin(ts uint64) *readMark {
	if n := len(r.queue); n > 0 && r.queue[n-1].ts == ts {
		r.queue[n-1].active++
		return r.queue[n-1]
	}
	m := &readMark{ts: ts, active: 1}
	r.queue = append(r.queue, m)
	return m
}

func (r *readMarks) done(m *readMark) {
	m.active--
	n := 0
	for n < len(r.queue) && r.queue[n].active == 0 {
		r.queue[n] = nil
		n++
	}
	if n == len(r.queue) {
		r.queue = r.queue[:0]
	} else {
		r.queue = r.queue[n:]
	}
}

func (r *readMarks) empty() bool { return len(r.queue) == 0 }

func (r *readMarks) oldest() uint64 { return r.queue[0].ts }
