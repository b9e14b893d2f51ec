package badgerspill

import (
	"sync"

	"github.com/dgraph-io/badger/v4"

	"github.com/badgerspill/badgerspill/spillfile"
)

// commit is one commit between its timestamp and its acknowledgement.
//
// It is done once Badger or the spill has it. What goes to Badger is a copy: Badger may still read
// it after the caller's Commit has returned from the spill.
type commit struct {
	ts       uint64 // 0 if every entry has its own timestamp (managed mode)
	writes   pendingWrites
	rawBytes int64 // of keys and values
	keyBytes int64
	// entries carry versions of their own, or metadata that Badger's transactions do not take
	raw     bool
	load    bool              // of a KVLoader: it takes no timestamp, nor part in conflicts
	highest uint64            // of those versions
	entries []spillfile.Entry // copies of writes, for Badger; see own
	keys    []uint64          // fingerprints, for conflict detection
	memory  int64             // bytes of budget on the way to Badger
	claim   int64             // bytes of room on disk that it holds: see diskSpace
	batch   *spillfile.Batch  // made by admit if the commit is to go to the spill
	spilled bool              // and it does
	watch   *stopwatch        // nil: nobody asks where its time goes
	inner   *badger.Txn       // the transaction that carries it to Badger, until it is sent

	// Guarded by DB.mu.
	start       int64 // when it was sent to Badger, in nanoseconds of DB.now
	inBadger    bool  // sent to Badger, which has not answered
	refused     error // Badger's answer, if that was an error and the hedge may still save it
	hedge       *spillfile.Batch
	updates     *updates // nil: nobody subscribes to its keys
	subscribers uint64   // publisher.added when updates were found
	settled     bool     // Badger or the spill has it, or it failed
	err         error
	next        *commit // in the line, or in an ackList

	// done when it is settled and all commits before it are: the acknowledgement
	done   sync.WaitGroup
	oneKey [1]uint64 // keys of a commit of one entry
}

// line is the queue of commits in commit order. The head is acknowledged when it is settled; so
// commits are acknowledged, and become visible, in order. All methods need DB.mu.
type line struct {
	head, tail *commit
	visible    uint64 // all commits up to this timestamp are settled
	publisher  *publisher
}

func (l *line) push(c *commit) {
	if l.tail == nil {
		l.head, l.tail = c, c
		return
	}
	l.tail.next, l.tail = c, c
}

// last returns the newest commit that is not acknowledged yet, nil if all are. When it is, so are
// all before it.
func (l *line) last() *commit { return l.tail }

// settle records the outcome of c and moves the commits that this acknowledges to acked. The caller
// acknowledges them after it has released DB.mu.
func (l *line) settle(c *commit, err error, acked *ackList) {
	if c.settled {
		return
	}
	c.settled, c.err = true, err
	for l.head != nil && l.head.settled {
		c := l.head
		// a load stands where it stands without a version of its own
		if l.visible = max(l.visible, c.highest); !c.load {
			l.visible = max(l.visible, c.ts)
		}
		if l.head = c.next; l.head == nil {
			l.tail = nil
		}
		c.next = nil
		if c.updates != nil && c.err == nil {
			l.publisher.deliver(c.updates, c.ts)
		}
		acked.add(c)
	}
}

// ackList is a list of commits to acknowledge, in commit order.
type ackList struct{ head, tail *commit }

func (a *ackList) add(c *commit) {
	if a.tail == nil {
		a.head, a.tail = c, c
		return
	}
	a.tail.next, a.tail = c, c
}

// acknowledge wakes who waits for the commits. It must be called without locks.
func (a *ackList) acknowledge() {
	for c := a.head; c != nil; {
		next := c.next
		// An acknowledged commit, which a transaction may still refer to, keeps nothing alive. Its
		// inner transaction is sent, or was given up when it took the way to the spill.
		c.next, c.entries, c.writes = nil, nil, pendingWrites{}
		c.done.Done()
		c = next
	}
}
