package badgerspill

import (
	"github.com/dgraph-io/badger/v4"

	"github.com/badgerspill/badgerspill/spillfile"
)

// commit is one commit between its timestamp and its acknowledgement.
//
// It is done once Badger or the spill has it. What goes to Badger is a copy: Badger may still read it after the
// caller's Commit has returned from the spill.
type commit struct {
	ts       uint64 // 0 if every entry has its own timestamp (managed mode)
	writes   pendingWrites
	raw      int64 // bytes of keys and values
	keyBytes int64
	mixed    bool              // entries carry versions of their own
	entries  []spillfile.Entry // copies of writes, for Badger; see own
	keys     []uint64          // fingerprints, for conflict detection
	memory   int64             // bytes of budget on the way to Badger
	batch    *spillfile.Batch  // set by admit if the commit goes to the spill
	inner    *badger.Txn       // the transaction that carries it to Badger, until it is sent

	// Guarded by DB.mu.
	start    int64 // when it was sent to Badger, in nanoseconds of DB.now
	inBadger bool  // sent to Badger, which has not answered
	refused  error // Badger's answer, if that was an error and the hedge may still save it
	hedge    *spillfile.Batch
	settled  bool // Badger or the spill has it, or it failed
	err      error

	done chan struct{} // closed when it is settled and all commits before it are
}

// line is the queue of commits in commit order. The head is acknowledged when it is settled; so commits are
// acknowledged, and become visible, in order. All methods need DB.mu.
type line struct {
	queue   []*commit
	visible uint64 // all commits up to this timestamp are settled
}

func (l *line) push(c *commit) { l.queue = append(l.queue, c) }

// pending returns a channel that is closed once all commits so far are acknowledged, nil if they are.
func (l *line) pending() <-chan struct{} {
	if len(l.queue) == 0 {
		return nil
	}
	return l.queue[len(l.queue)-1].done
}

// settle records the outcome of c and returns the commits that this acknowledges; the caller closes their done
// channels after it has released DB.mu.
func (l *line) settle(c *commit, err error) []*commit {
	if c.settled {
		return nil
	}
	c.settled, c.err = true, err
	n := 0
	for n < len(l.queue) && l.queue[n].settled {
		l.visible = max(l.visible, l.queue[n].ts)
		n++
	}
	if n == 0 {
		return nil
	}
	acked := l.queue[:n:n]
	if n == len(l.queue) {
		l.queue = nil
	} else {
		l.queue = l.queue[n:]
	}
	return acked
}

func acknowledge(acked []*commit) {
	for _, c := range acked {
		close(c.done)
	}
}
