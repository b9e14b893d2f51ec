package pipeline

import (
	"context"
	"fmt"
	"sync"

	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/wbm"
)

// Commit is one commit, from before it is admitted until it is acknowledged.
//
// It is settled once Badger or the spill has it, and done once all before it are settled, too. What
// goes to Badger is a copy: Badger may still read it after the caller's Commit has returned because
// of the spill.
type Commit struct {
	Ts uint64 // of the commit; 0 if every entry has its own (managed mode)
	// Entries is what it writes: the caller's own bytes until own has copied them, and nil once it
	// is acknowledged.
	Entries []spillfile.Entry
	// Load: it is of a KVLoader. It takes no timestamp, nor part in conflicts.
	Load bool
	// Raw: entries carry versions of their own, or metadata that Badger's transactions do not take.
	Raw      bool
	Memory   int64            // bytes of budget on the way to Badger
	RawBytes int64            // of keys and values
	Batch    *spillfile.Batch // for the spill; nil unless that is its way
	Prepared Prepared         // Badger's transaction, until it is sent
	Claim    int64            // bytes of room on disk that it holds
	// Updates is what subscribers are told of it, nil for nothing: Audience's.
	Updates any

	keyBytes int64
	highest  uint64 // of the entries' own versions
	keys     []uint64
	owned    bool // Entries are copies
	spilled  bool // its way is the spill
	trace    *Trace
	matches  uint64 // Audience.Matches when Updates was found
	wait     Wait   // while it has no place; here, since it would escape to the heap

	// Guarded by the commit lock.
	start    int64 // when it was sent to Badger
	inBadger bool  // sent, and not answered
	refused  error // Badger's answer, if that was an error and the hedge may still save it
	hedge    *spillfile.Batch
	settled  bool // Badger or the spill has it, or it has failed
	err      error
	next     *Commit // in the line, or in an ackList

	done   sync.WaitGroup // ackList.wake
	oneKey [1]uint64      // keys and Entries of a commit of one entry
	one    [1]spillfile.Entry
	pooled *[]spillfile.Entry // where Entries come from, and go back to; nil if they are one
}

// NewCommit returns a commit of n entries, which Add fills in. ts is 0 unless the caller owns
// timestamps. load says that it brings entries of a backup: it gets no timestamp, and has no part
// in conflicts. trace may be nil.
func (p *Pipeline) NewCommit(n int, ts uint64, load bool, trace *Trace) *Commit {
	c := &Commit{Ts: ts, Load: load, Raw: load, trace: trace}
	c.done.Add(1)
	c.Entries = c.one[:0]
	if n > len(c.one) {
		c.pooled = takeEntries(n)
		c.Entries = (*c.pooled)[:0]
	}
	if p.opt.DetectConflicts && !load {
		c.keys = c.oneKey[:0]
		if n > len(c.oneKey) {
			c.keys = make([]uint64, 0, n)
		}
	}
	return c
}

// Add adds an entry. Its bytes must stay as they are until Await has returned.
func (p *Pipeline) Add(c *Commit, e spillfile.Entry) {
	c.Memory += p.opt.Memory(len(e.Key), len(e.Value))
	c.keyBytes += int64(len(e.Key))
	c.RawBytes += int64(len(e.Key) + len(e.Value))
	c.Raw = c.Raw || e.Version != 0 || e.Meta&^(spillfile.MetaDelete|spillfile.MetaDiscardEarlier) != 0
	c.highest = max(c.highest, e.Version)
	if c.keys != nil {
		c.keys = append(c.keys, Fingerprint(e.Key))
	}
	c.Entries = append(c.Entries, e)
}

// entryPool has slices of entries for commits that went to the spill: nobody but the commit has
// seen them. Those that Badger has got are left to it.
var entryPool sync.Pool

// pooledEntries is how many entries a slice may have to be kept.
const pooledEntries = 4 << 10

func takeEntries(n int) *[]spillfile.Entry {
	if p, ok := entryPool.Get().(*[]spillfile.Entry); ok && cap(*p) >= n {
		return p
	}
	s := make([]spillfile.Entry, 0, n)
	return &s
}

// letGo lets go of all that an acknowledged commit, which a transaction may still refer to, need
// not keep alive.
func (c *Commit) letGo() {
	if c.pooled != nil && !c.owned && cap(c.Entries) <= pooledEntries {
		clear(c.Entries)
		*c.pooled = c.Entries[:0]
		entryPool.Put(c.pooled)
	}
	c.pooled, c.next, c.Entries, c.one, c.Updates = nil, nil, nil, [1]spillfile.Entry{}, nil
}

// ownSlab is up to where one allocation for all keys and values is cheaper than one for each entry:
// it is zeroed first.
const ownSlab = 8 << 10

// own copies what the transaction wrote: Badger, or a hedge, may read it after Commit has returned
// and the caller has reused his buffers. Until then they are the caller's own word to leave alone.
func (c *Commit) own() {
	if c.owned {
		return
	}
	c.owned = true
	var slab []byte
	if c.RawBytes <= ownSlab {
		slab = make([]byte, 0, c.RawBytes)
	}
	for i := range c.Entries {
		e := &c.Entries[i]
		if n := len(e.Key) + len(e.Value); cap(slab)-len(slab) < n {
			slab = make([]byte, 0, n)
		}
		at := len(slab)
		slab = append(append(slab, e.Key...), e.Value...)
		mid := at + len(e.Key)
		e.Key, e.Value = slab[at:mid:mid], slab[mid:len(slab):len(slab)]
	}
}

// encoded returns a batch of c's entries, for the log.
func (c *Commit) encoded() *spillfile.Batch {
	b := spillfile.NewBatch()
	for i := range c.Entries {
		b.Add(&c.Entries[i])
	}
	b.Finish()
	b.Owner, b.Times = c, c.trace.batchTimes()
	return b
}

// request is what c needs of memory or of the spill. Before it is encoded its size in the spill is
// estimated from above.
func (c *Commit) request() wbm.Request {
	if c.Batch != nil {
		return wbm.Request{Memory: c.Memory, Spill: c.Batch.DiskSize(), Index: c.Batch.IndexSize()}
	}
	return wbm.Request{
		Memory: c.Memory,
		Spill:  spillfile.EstimateDiskSize(len(c.Entries), c.keyBytes, c.RawBytes),
		Index:  spillfile.EstimateIndexSize(len(c.Entries), c.keyBytes, c.RawBytes),
	}
}

// giveUpPrepared lets go of a transaction of Badger's that will not be sent.
func (c *Commit) giveUpPrepared() {
	if c.Prepared != nil {
		c.Prepared.Discard()
		c.Prepared = nil
	}
}

// Wait waits until c is acknowledged, and with it all commits before it.
func (c *Commit) Wait() { c.done.Wait() }

// AwaitVisible waits until c is acknowledged, and with it all commits before it, or until ctx ends;
// nil is no context.
func (c *Commit) AwaitVisible(ctx context.Context) error {
	if ctx == nil {
		c.done.Wait()
		return nil
	}
	if err := ctx.Err(); err != nil { // who goes on asking must not start a goroutine each time
		return fmt.Errorf("badgerspill: given up while earlier commits were not visible yet: %w", err)
	}
	done := make(chan struct{})
	go func() { // until c is acknowledged, as its own writer
		defer close(done)
		c.done.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("badgerspill: given up while earlier commits were not visible yet: %w", ctx.Err())
	}
}
