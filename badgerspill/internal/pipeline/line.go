package pipeline

// line is the queue of commits in commit order. The head is acknowledged when it is settled; so
// commits are acknowledged, and become visible, in order. All methods need the commit lock.
type line struct {
	head, tail *Commit
	visible    uint64 // all commits up to this timestamp are settled
	audience   Audience
}

func (l *line) push(c *Commit) {
	if l.tail == nil {
		l.head, l.tail = c, c
		return
	}
	l.tail.next, l.tail = c, c
}

// last returns the newest commit that is not acknowledged yet, nil if all are. When it is, so are
// all before it.
func (l *line) last() *Commit { return l.tail }

// settle records the outcome of c and moves the commits that this acknowledges to acked. The caller
// wakes their writers once it has released the commit lock.
func (l *line) settle(c *Commit, err error, acked *ackList) {
	if c.settled {
		return
	}
	c.settled, c.err = true, err
	for l.head != nil && l.head.settled {
		c := l.head
		// a load stands where it stands without a version of its own
		if l.visible = max(l.visible, c.highest); !c.Load {
			l.visible = max(l.visible, c.Ts)
		}
		if l.head = c.next; l.head == nil {
			l.tail = nil
		}
		c.next = nil
		if c.Updates != nil && c.err == nil {
			l.audience.Deliver(c)
		}
		acked.add(c)
	}
}

// ackList is a list of commits that are acknowledged, in commit order: their writers are to wake.
type ackList struct{ head, tail *Commit }

func (a *ackList) add(c *Commit) {
	if a.tail == nil {
		a.head, a.tail = c, c
		return
	}
	a.tail.next, a.tail = c, c
}

// wake wakes who waits for the commits. It must be called without locks.
func (a *ackList) wake() {
	for c := a.head; c != nil; {
		next := c.next
		// Its transaction of Badger's is sent, or was given up when it took the way to the spill.
		c.letGo()
		c.done.Done()
		c = next
	}
}
