package history_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/integration_test/kit"
)

// The clients whose history is checked, see history_test.go: random transactions over a few keys,
// so that most of them meet.

const (
	historyKeys   = 10
	receiptPrefix = "receipt/"
	// longCommits is how many commits of others a long transaction sees pass before it ends, if the
	// others go on.
	longCommits = 60
	longRounds  = 12
	oldCommits  = 40 // between two looks of the oldest transaction
)

// historyJournal takes down what a client does, in the order of the calls.
type historyJournal interface {
	begin(id int)
	commit(r *txnRecord) // everything but the outcome is known
	end(id int, o txnOutcome)
}

// memoryJournal keeps the records. Its clock counts calls.
type memoryJournal struct {
	mu      sync.Mutex
	clock   int64
	open    map[int]*txnRecord
	records []*txnRecord
}

func (j *memoryJournal) tick() int64 { j.clock++; return j.clock }

func (j *memoryJournal) begin(id int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.open == nil {
		j.open = map[int]*txnRecord{}
	}
	j.open[id] = &txnRecord{ID: id, Begin: j.tick(), Commit: -1}
}

func (j *memoryJournal) commit(r *txnRecord) {
	j.mu.Lock()
	defer j.mu.Unlock()
	r.Begin, r.Commit = j.open[r.ID].Begin, j.tick()
	j.open[r.ID] = r
}

func (j *memoryJournal) end(id int, o txnOutcome) {
	j.mu.Lock()
	defer j.mu.Unlock()
	r := j.open[id]
	delete(j.open, id)
	if r.Commit >= 0 { // otherwise it ended before it had anything to say
		r.Outcome, r.End = o, j.tick()
		j.records = append(j.records, r)
	}
}

// killed ends what was open when the process ended. It is called once the database is open again:
// whether those commits took place is settled by then.
func (j *memoryJournal) killed() {
	for _, id := range sortedKeys(j.open) {
		j.end(id, txnUnknown)
	}
}

// historyClient is one of several that share db, nextID and journal.
type historyClient struct {
	db      *badgerspill.DB
	number  int
	rng     *rand.Rand
	nextID  *atomic.Int64
	journal historyJournal
}

// errEnded is how a client learns that the database was closed.
var errEnded = errors.New("the database is closed")

func historyKey(i int) []byte     { return fmt.Appendf(nil, "k/%02d", i) }
func receiptKey(id int) []byte    { return fmt.Appendf(nil, "%s%09d", receiptPrefix, id) }
func receiptOf(key []byte) string { return string(bytes.TrimPrefix(key, []byte(receiptPrefix))) }

// historyValue says who wrote it, and is of the same writer and key always the same: short, long,
// or very long.
func historyValue(id, key int) []byte {
	v := fmt.Appendf(nil, "%d/%d", id, key)
	return append(append(v, '|'), bytes.Repeat(v, []int{0, 40, 200}[(id+key)%3])...)
}

// writerOf returns who wrote the value of key, or an error if no single transaction did.
func writerOf(key int, value []byte) (int, error) {
	digits, _, _ := bytes.Cut(value, []byte{'/'})
	id, err := strconv.Atoi(string(digits))
	if err != nil || !bytes.Equal(value, historyValue(id, key)) {
		return 0, fmt.Errorf("key %d has a value that nobody wrote: %.60q", key, value)
	}
	return id, nil
}

// tracker is one transaction with what it has seen.
type tracker struct {
	*badgerspill.Txn
	r    *txnRecord
	seen map[observation]bool
	own  map[int]txnChange
}

func (c *historyClient) newTracker(update bool) *tracker {
	id := int(c.nextID.Add(1))
	c.journal.begin(id)
	txn := c.db.NewTransaction(update)
	return &tracker{Txn: txn, r: &txnRecord{ID: id, Client: c.number, ReadTs: txn.ReadTs()},
		seen: map[observation]bool{}, own: map[int]txnChange{}}
}

// saw takes an answer down, or compares it with the transaction's own write.
func (t *tracker) saw(o observation) error {
	if own, ok := t.own[o.Key]; ok {
		want := t.r.ID
		if own.Delete {
			want = 0
		}
		if o.Writer != want || want != 0 && o.Version != t.r.ReadTs {
			return fmt.Errorf("%v wrote key %d and reads %+v", t.r, o.Key, o)
		}
		return nil
	}
	if !t.seen[o] {
		t.seen[o] = true
		t.r.Reads = append(t.r.Reads, o)
	}
	return nil
}

func (t *tracker) sawItem(key int, item *badgerspill.Item) error {
	return item.Value(func(v []byte) error {
		writer, err := writerOf(key, v)
		if err != nil {
			return fmt.Errorf("%v: version %d: %w", t.r, item.Version(), err)
		}
		return t.saw(observation{Key: key, Writer: writer, Version: item.Version()})
	})
}

func (t *tracker) get(key int) error {
	item, err := t.Get(historyKey(key))
	switch {
	case errors.Is(err, badgerspill.ErrKeyNotFound):
		return t.saw(observation{Key: key})
	case err != nil:
		return err
	}
	return t.sawItem(key, item)
}

// historyScan is an iteration over all keys that can be stopped and continued.
type historyScan struct {
	t       *tracker
	it      *badgerspill.Iterator
	reverse bool
	next    int // the key that would come next
}

func (t *tracker) newScan(rng *rand.Rand) *historyScan {
	opt := badgerspill.DefaultIteratorOptions
	opt.Prefix, opt.Reverse, opt.PrefetchValues = []byte("k/"), rng.IntN(2) == 0, rng.IntN(2) == 0
	s := &historyScan{t: t, it: t.NewIterator(opt), reverse: opt.Reverse}
	from := []byte("k/")
	if s.reverse {
		from, s.next = append(from, 0xFF), historyKeys-1
	}
	s.it.Seek(from)
	return s
}

// upTo goes on until so many keys were passed. What is not there is a phantom.
func (s *historyScan) upTo(keys int) error {
	step := 1
	if s.reverse {
		step = -1
	}
	for ; keys > 0 && s.next >= 0 && s.next < historyKeys; s.next, keys = s.next+step, keys-1 {
		if s.it.Valid() && bytes.Equal(s.it.Item().Key(), historyKey(s.next)) {
			if _, own := s.t.own[s.next]; own && !slices.Contains(s.t.r.Iterated, s.next) {
				s.t.r.Iterated = append(s.t.r.Iterated, s.next)
			}
			if err := s.t.sawItem(s.next, s.it.Item()); err != nil {
				return err
			}
			s.it.Next()
			continue
		}
		if err := s.t.saw(observation{Key: s.next, Phantom: true}); err != nil {
			return err
		}
	}
	return nil
}

// end reads the rest and closes the iterator.
func (s *historyScan) end() error {
	defer s.it.Close()
	if err := s.upTo(historyKeys); err != nil {
		return err
	}
	if s.it.Valid() {
		return fmt.Errorf("%v iterates over %q where all keys are passed", s.t.r, s.it.Item().Key())
	}
	return nil
}

func (t *tracker) scanAll(rng *rand.Rand) error { return t.newScan(rng).end() }

func (t *tracker) write(key int, del bool) (err error) {
	if del {
		err = t.Delete(historyKey(key))
	} else {
		err = t.Set(historyKey(key), historyValue(t.r.ID, key))
	}
	t.own[key] = txnChange{Key: key, Delete: del}
	return err
}

// run makes one transaction: fn, and then the commit.
func (c *historyClient) run(update bool, fn func(t *tracker) error) error {
	t := c.newTracker(update)
	defer t.Discard()
	if err := fn(t); err != nil {
		return err
	}
	for _, k := range sortedKeys(t.own) {
		t.r.Changes = append(t.r.Changes, t.own[k])
	}
	if len(t.own) > 0 {
		if err := t.Set(receiptKey(t.r.ID), strconv.AppendInt(nil, int64(t.r.ID), 10)); err != nil {
			return err
		}
	}
	c.journal.commit(t.r)
	switch err := t.Commit(); {
	case err == nil:
		c.journal.end(t.r.ID, txnCommitted)
	case errors.Is(err, badgerspill.ErrConflict):
		c.journal.end(t.r.ID, txnConflicted)
	case errors.Is(err, badgerspill.ErrBlockedWrites):
		c.journal.end(t.r.ID, txnRefused)
		return errEnded
	default:
		return err
	}
	return nil
}

// some are a few different keys.
func (c *historyClient) some() []int { return c.rng.Perm(historyKeys)[:1+c.rng.IntN(3)] }

func (c *historyClient) writeSome(t *tracker, keys []int) error {
	for _, k := range keys {
		if err := t.write(k, c.rng.IntN(5) == 0); err != nil {
			return err
		}
	}
	return nil
}

// blind writes without reading. Unlike other transactions it may run while the database is closed.
func (c *historyClient) blind() error {
	return c.run(true, func(t *tracker) error { return c.writeSome(t, c.some()) })
}

// reads makes a transaction that writes nothing.
func (c *historyClient) reads() error {
	switch n := c.rng.IntN(20); {
	case n < 14:
		return c.run(false, func(t *tracker) error { return t.getAll(c.some()) })
	case n < 19:
		return c.run(false, func(t *tracker) error { return t.scanAll(c.rng) })
	default:
		return c.run(false, c.long)
	}
}

// writes makes a transaction that writes.
func (c *historyClient) writes() error {
	switch n := c.rng.IntN(30); {
	case n < 10:
		return c.blind()
	case n < 15: // read, and overwrite just that: lost updates
		return c.run(true, func(t *tracker) error {
			keys := c.some()
			if err := t.getAll(keys); err != nil {
				return err
			}
			return c.writeSome(t, keys)
		})
	case n < 24: // read some, write others: write skew
		return c.run(true, func(t *tracker) error {
			keys := c.rng.Perm(historyKeys)[:4]
			if err := t.getAll(keys[:3]); err != nil {
				return err
			}
			if err := c.writeSome(t, keys[2:]); err != nil {
				return err
			}
			return t.getAll(keys) // own writes, and the others again
		})
	case n < 29:
		return c.run(true, func(t *tracker) error {
			if err := t.scanAll(c.rng); err != nil {
				return err
			}
			if err := c.writeSome(t, c.some()); err != nil {
				return err
			}
			return t.scanAll(c.rng)
		})
	default:
		return c.run(true, func(t *tracker) error {
			if err := c.long(t); err != nil {
				return err
			}
			return c.writeSome(t, c.some())
		})
	}
}

// step makes one random transaction.
func (c *historyClient) step() error {
	if c.rng.IntN(3) == 0 {
		return c.reads()
	}
	return c.writes()
}

func (t *tracker) getAll(keys []int) error {
	for _, k := range keys {
		if err := t.get(k); err != nil {
			return err
		}
	}
	return nil
}

// long reads the same keys again and again, by point reads, by new iterators and by one that was
// opened in the beginning, while commits go by.
func (c *historyClient) long(t *tracker) error {
	early := t.newScan(c.rng)
	err := early.upTo(c.rng.IntN(historyKeys))
	until := t.r.ReadTs + uint64(c.rng.IntN(longCommits))
	for round := 0; err == nil && round < longRounds && c.db.MaxVersion() < until; round++ {
		if err = t.getAll(c.rng.Perm(historyKeys)); err == nil {
			err = t.scanAll(c.rng)
		}
	}
	return errors.Join(err, early.end())
}

// old is one transaction as long as everything else: it reads all keys every few commits, until
// stop is closed. If it writes something in the end, that must be refused.
func (c *historyClient) old(update bool, stop <-chan struct{}) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	return c.run(update, func(t *tracker) error {
		early := t.newScan(c.rng)
		err := early.upTo(c.rng.IntN(historyKeys))
		next := t.r.ReadTs
		for stopped := false; err == nil && !stopped; {
			select {
			case <-tick.C:
			case <-stop:
				stopped = true
			}
			if now := c.db.MaxVersion(); now >= next || stopped {
				next = now + oldCommits
				if err = t.getAll(c.rng.Perm(historyKeys)); err == nil {
					err = t.scanAll(c.rng)
				}
			}
		}
		if err = errors.Join(err, early.end()); err == nil && update {
			err = c.writeSome(t, c.some())
		}
		return err
	})
}

// historyLoad is what the clients of one database share.
type historyLoad struct {
	db      *badgerspill.DB
	nextID  *atomic.Int64
	journal historyJournal
	rng     *rand.Rand

	mu       sync.Mutex
	failures []error
}

func (w *historyLoad) client(number int) *historyClient {
	w.mu.Lock()
	defer w.mu.Unlock()
	return &historyClient{db: w.db, number: number, nextID: w.nextID, journal: w.journal, rng: rand.New(rand.NewPCG(w.rng.Uint64(), 1))}
}

// ended takes the error of a client down, unless it is that the database was closed, and says
// whether it is over.
func (w *historyLoad) ended(err error) bool {
	if err != nil && !errors.Is(err, errEnded) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.failures = append(w.failures, err)
	}
	return err != nil
}

// start lets clients act until stop returns true or the database is closed.
func (w *historyLoad) start(from, to int, act func(c *historyClient) error, stop func() bool) (wait func()) {
	var wg kit.WaitGroup
	for n := from; n < to; n++ {
		c := w.client(n)
		wg.Go(func() {
			for !stop() && !w.ended(act(c)) {
			}
		})
	}
	return wg.Wait
}

// fillMemtable writes as much as a memtable of churning holds, to keys of its own: Badger flushes
// and compacts.
func fillMemtable(db *badgerspill.DB) error {
	wb := db.NewWriteBatch()
	defer wb.Cancel()
	for i := range 1200 {
		if err := wb.Set(fmt.Appendf(nil, "filler/%04d", i), make([]byte, 500)); err != nil {
			return err
		}
	}
	return wb.Flush()
}

// handOvers drains whenever there is something in the spill, until ctx ends or the database is
// closed.
func handOvers(ctx context.Context, db *badgerspill.DB) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil && !db.IsClosed() {
		if db.SpillStats().SpillPending > 0 {
			_ = db.Drain(ctx)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// auditHistory ends a history: it reads all keys and all receipts.
func auditHistory(t *testing.T, db *badgerspill.DB, j *memoryJournal, nextID *atomic.Int64) *recording {
	t.Helper()
	c := &historyClient{db: db, number: 99, nextID: nextID, journal: j, rng: rand.New(rand.NewPCG(1, 1))}
	h := &recording{receipts: map[int]uint64{}}
	require.NoError(t, c.run(false, func(tr *tracker) error {
		opt := badgerspill.DefaultIteratorOptions
		opt.Prefix = []byte(receiptPrefix)
		it := tr.NewIterator(opt)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			id, err := strconv.Atoi(receiptOf(it.Item().Key()))
			require.NoError(t, err)
			require.NoError(t, it.Item().Value(func(v []byte) error {
				require.Equal(t, strconv.Itoa(id), string(v))
				return nil
			}))
			h.receipts[id] = it.Item().Version()
		}
		if err := tr.scanAll(c.rng); err != nil {
			return err
		}
		return tr.getAll(c.rng.Perm(historyKeys))
	}))
	h.records = j.records
	return h
}
