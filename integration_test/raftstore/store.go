package raftstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/badgerspill/badgerspill/badgerspill"
)

var (
	_ raft.LogStore    = (*Store)(nil)
	_ raft.StableStore = (*Store)(nil)
)

// ErrNotFound is what Get and GetUint64 return for a key that was never set. Raft knows it by its
// text, which must be this one, and so it is never wrapped.
var ErrNotFound = errors.New("not found")

var (
	logPrefix    = []byte("raft/log/")
	stablePrefix = []byte("raft/stable/")
)

// deleteBatch bounds the entries that one transaction deletes: raft shortens its log in the
// background, and appends wait for one such transaction at most.
const deleteBatch = 4096

// Store is the raft.LogStore and the raft.StableStore of one node. All methods are safe for
// concurrent use. A call that writes returns when what it wrote is durable, and may block as a
// commit of badgerspill does: for the disk, and for room when memory and spill are exhausted
// (Options.BlockTimeout). Its errors are those of badgerspill.Txn.Commit.
//
// The log may have gaps between one StoreLogs and the next, so Store is no raft.MonotonicLogStore:
// after a snapshot from elsewhere raft then keeps what it has and goes on above it.
type Store struct {
	db          *badgerspill.DB
	deleteBatch int

	storing sync.Mutex // held by StoreLogs; before writing
	// held for one transaction that changes the log, and the bounds with it; before mu
	writing sync.Mutex

	mu          sync.Mutex // guards the bounds, for an instant only
	first, last uint64     // 0 if the log is empty
}

// New returns the Store in db, which keeps on belonging to the caller: close it after raft was shut
// down. It looks for both ends of the log. db must not be managed. A database without SyncWrites is
// refused: raft counts on its votes and entries after a power cut.
func New(db *badgerspill.DB) (*Store, error) {
	if !db.Opts().SyncWrites {
		return nil, errors.New("raftstore: option SyncWrites = false: must be true, or a power cut could take back votes and entries " +
			"that other nodes rely on; open the database with WithSyncWrites(true)")
	}
	s := &Store{db: db, deleteBatch: deleteBatch}
	var err error
	if s.first, err = s.next(0, false); err == nil {
		s.last, err = s.next(math.MaxUint64, true)
	}
	if err != nil {
		return nil, fmt.Errorf("raftstore: find the ends of the log: %w", err)
	}
	return s, nil
}

// FirstIndex returns the lowest index in the log, 0 if it is empty. It does not block.
func (s *Store) FirstIndex() (uint64, error) {
	first, _ := s.bounds()
	return first, nil
}

// LastIndex returns the highest index in the log, 0 if it is empty. It does not block.
func (s *Store) LastIndex() (uint64, error) {
	_, last := s.bounds()
	return last, nil
}

func (s *Store) bounds() (first, last uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.first, s.last
}

func (s *Store) setBounds(first, last uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.first, s.last = first, last
}

// GetLog sets log to the entry at index; it shares no memory with the store. The error for one that
// is not there is raft.ErrLogNotFound. It waits for commits under way: wrap the Store in a
// raft.LogCache, and followers that are close behind do not.
func (s *Store) GetLog(index uint64, log *raft.Log) error {
	err := s.db.View(func(txn *badgerspill.Txn) error {
		item, err := txn.Get(logKey(index))
		if err != nil {
			return err
		}
		return item.Value(func(v []byte) error { return decodeEntry(v, index, log) })
	})
	switch {
	case errors.Is(err, badgerspill.ErrKeyNotFound):
		return raft.ErrLogNotFound // raft compares with ==
	case err != nil:
		return fmt.Errorf("raftstore: read entry %d: %w", index, err)
	}
	return nil
}

// StoreLog is StoreLogs of one entry.
func (s *Store) StoreLog(log *raft.Log) error { return s.StoreLogs([]*raft.Log{log}) }

// StoreLogs appends entries, whose indexes must rise. One transaction takes as many of them as fit,
// so with an error, or after a crash, a prefix of them may be there. Entries at and above the first
// of them are removed before: those are what such a call has left behind, and were they to stay
// behind newer ones, terms would fall along the log and elections go wrong.
func (s *Store) StoreLogs(logs []*raft.Log) error {
	if len(logs) == 0 {
		return nil
	}
	below := uint64(0)
	for _, l := range logs {
		if l.Index <= below {
			return fmt.Errorf("raftstore: entry %d follows %d: indexes must rise, from 1 on", l.Index, below)
		}
		below = l.Index
	}
	s.storing.Lock()
	defer s.storing.Unlock()
	if err := s.DeleteRange(logs[0].Index, math.MaxUint64); err != nil {
		return err
	}
	for len(logs) > 0 {
		n, err := s.append(logs)
		if err != nil {
			return fmt.Errorf("raftstore: store entries %d to %d: %w", logs[0].Index, below, err)
		}
		logs = logs[n:]
	}
	return nil
}

// append stores as many entries as one transaction takes, and returns how many.
func (s *Store) append(logs []*raft.Log) (int, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	txn := s.db.NewTransaction(true)
	defer txn.Discard()
	n := 0
	for ; n < len(logs); n++ {
		err := txn.Set(logKey(logs[n].Index), encodeEntry(logs[n]))
		if errors.Is(err, badgerspill.ErrTxnTooBig) && n > 0 { // one alone always fits
			break
		}
		if err != nil {
			return 0, fmt.Errorf("entry %d: %w", logs[n].Index, err)
		}
	}
	if err := txn.Commit(); err != nil {
		return 0, err
	}
	first, _ := s.bounds()
	if first == 0 {
		first = logs[0].Index
	}
	s.setBounds(first, logs[n-1].Index)
	return n, nil
}

// DeleteRange deletes the entries from minimum to maximum, both included, in transactions of a few
// thousand. With an error, or after a crash, some of them may be left, in one piece with the rest
// of the log (package comment).
func (s *Store) DeleteRange(minimum, maximum uint64) error {
	for more := true; more; {
		var err error
		if minimum, maximum, more, err = s.deleteSome(minimum, maximum); err != nil {
			return fmt.Errorf("raftstore: delete entries %d to %d: %w", minimum, maximum, err)
		}
	}
	return nil
}

// deleteSome deletes what one transaction takes of a range, and returns what is left of that.
func (s *Store) deleteSome(minimum, maximum uint64) (uint64, uint64, bool, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	first, last := s.bounds()
	minimum, maximum = max(minimum, first), min(maximum, last)
	if first == 0 || minimum > maximum {
		return minimum, maximum, false, nil
	}
	// From an end of the log inwards: what is left has no hole. Raft asks for nothing else.
	down := minimum > first
	from := minimum
	if down {
		from = maximum
	}
	var indexes []uint64 // and beyond holds what comes behind them, 0 if nothing does
	var beyond uint64
	err := s.scan(from, down, func(index uint64) bool {
		if index < minimum || index > maximum || len(indexes) == s.deleteBatch {
			beyond = index
			return false
		}
		indexes = append(indexes, index)
		return true
	})
	if err != nil || len(indexes) == 0 {
		return minimum, maximum, false, err
	}
	txn := s.db.NewTransaction(true)
	defer txn.Discard()
	for i, index := range indexes {
		err := txn.Delete(logKey(index))
		if errors.Is(err, badgerspill.ErrTxnTooBig) && i > 0 {
			indexes, beyond = indexes[:i], index
			break
		}
		if err != nil {
			return minimum, maximum, false, err
		}
	}
	if err := txn.Commit(); err != nil {
		return minimum, maximum, false, err
	}
	switch deleted := indexes[len(indexes)-1]; {
	case beyond == 0:
		// nothing above, or, if down, below: the latter cannot be, as the first entry is not in the
		// range
		s.setBounds(0, 0)
	case !down:
		s.setBounds(beyond, last)
		minimum = deleted + 1
	case maximum == last:
		s.setBounds(first, beyond)
		maximum = deleted - 1
	default: // a hole in the middle, which raft does not ask for
		maximum = deleted - 1
	}
	return minimum, maximum, true, nil
}

// next returns the first index of the log at or above from, or if down at or below it; 0 if there
// is none.
func (s *Store) next(from uint64, down bool) (found uint64, err error) {
	err = s.scan(from, down, func(index uint64) bool {
		found = index
		return false
	})
	return found, err
}

// scan calls fn with the indexes of the log from one on, upwards or downwards, until it returns
// false.
func (s *Store) scan(from uint64, down bool, fn func(index uint64) bool) error {
	opt := badgerspill.DefaultIteratorOptions
	opt.PrefetchValues, opt.Prefix, opt.Reverse = false, logPrefix, down
	return s.db.View(func(txn *badgerspill.Txn) error {
		it := txn.NewIterator(opt)
		defer it.Close()
		for it.Seek(logKey(from)); it.Valid(); it.Next() {
			key := it.Item().Key()
			if len(key) != len(logPrefix)+8 {
				return fmt.Errorf("key %q is not one of a raft log", key)
			}
			if !fn(binary.BigEndian.Uint64(key[len(logPrefix):])) {
				return nil
			}
		}
		return nil
	})
}

// Set stores a value by key, apart from the log.
func (s *Store) Set(key, val []byte) error {
	err := s.db.Update(func(txn *badgerspill.Txn) error { return txn.Set(stableKey(key), val) })
	if err != nil {
		return fmt.Errorf("raftstore: set %q: %w", key, err)
	}
	return nil
}

// Get returns a copy of the value of key, ErrNotFound if there is none.
func (s *Store) Get(key []byte) (val []byte, err error) {
	err = s.db.View(func(txn *badgerspill.Txn) error {
		item, err := txn.Get(stableKey(key))
		if err != nil {
			return err
		}
		val, err = item.ValueCopy([]byte{})
		return err
	})
	switch {
	case errors.Is(err, badgerspill.ErrKeyNotFound):
		return nil, ErrNotFound
	case err != nil:
		return nil, fmt.Errorf("raftstore: get %q: %w", key, err)
	}
	return val, nil
}

// SetUint64 is Set of an integer.
func (s *Store) SetUint64(key []byte, val uint64) error {
	return s.Set(key, binary.BigEndian.AppendUint64(nil, val))
}

// GetUint64 returns the integer that SetUint64 stored, ErrNotFound if there is none.
func (s *Store) GetUint64(key []byte) (uint64, error) {
	val, err := s.Get(key)
	if err != nil {
		return 0, err
	}
	if len(val) != 8 {
		return 0, fmt.Errorf("raftstore: get %q: its value is of %d bytes, not an integer of 8", key, len(val))
	}
	return binary.BigEndian.Uint64(val), nil
}

func logKey(index uint64) []byte {
	return binary.BigEndian.AppendUint64(append(make([]byte, 0, len(logPrefix)+8), logPrefix...), index)
}

func stableKey(key []byte) []byte { return append(append([]byte(nil), stablePrefix...), key...) }
