package badgerspill

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/y"
	"google.golang.org/protobuf/proto"
)

const (
	// loadBytes is how much a KVLoader gathers at most before it sends it, as Badger's.
	loadBytes = 100 << 20
	// maxBackupList bounds the length that a backup may give for one list: more is damage, not
	// data.
	maxBackupList = 4 << 30
)

// KVLoader writes entries that carry their versions, with all their metadata, such as those of a
// backup. It stands for badger.KVLoader. It is not safe for concurrent use.
type KVLoader struct {
	db       *DB
	throttle *y.Throttle
	entries  []*Entry
	// of version 0, such as a backup has below a first version that discards the earlier ones
	zeroes []*Entry
	size   int64 // as it counts for a transaction
	bytes  int64
}

// NewKVLoader returns a loader with at most maxPendingWrites batches on their way, which must be
// above 0.
func (db *DB) NewKVLoader(maxPendingWrites int) *KVLoader {
	return &KVLoader{db: db, throttle: y.NewThrottle(maxPendingWrites)}
}

// Set adds an entry, which must not be modified until Finish has returned. It may block for batches
// on their way, and for room in memory or in the spill; it returns the error of an earlier batch.
// Batches are not transactions: after a crash some may be there and others not.
func (l *KVLoader) Set(kv *pb.KV) error {
	if len(kv.Key) > maxKeySize {
		return tooLong("Key", maxKeySize, kv.Key)
	}
	e := &Entry{Key: kv.Key, Value: kv.Value, ExpiresAt: kv.ExpiresAt, version: kv.Version}
	if len(kv.UserMeta) > 0 {
		e.UserMeta = kv.UserMeta[0]
	}
	if len(kv.Meta) > 0 {
		e.meta = kv.Meta[0]
	}
	size := e.estimateSize(l.db.opt.ValueThreshold)
	if int64(len(l.entries)+len(l.zeroes))+1 >= l.db.maxBatchCount || l.size+size >= l.db.maxBatchSize || l.bytes >= loadBytes {
		if err := l.send(); err != nil {
			return err
		}
	}
	if e.version == 0 {
		l.zeroes = append(l.zeroes, e)
	} else {
		l.entries = append(l.entries, e)
	}
	l.size += size
	l.bytes += size + int64(len(e.Value))
	return nil
}

func (l *KVLoader) send() error {
	if l.db.opt.ReadOnly {
		return ErrReadOnlyTxn
	}
	for _, entries := range [][]*Entry{l.entries, l.zeroes} {
		if len(entries) == 0 {
			continue
		}
		if err := l.throttle.Do(); err != nil {
			return err
		}
		txn := l.db.newTxn(true)
		txn.load = true
		txn.writes.entries = entries
		c, err := l.db.submit(txn)
		if err != nil {
			l.throttle.Done(nil)
			return err
		}
		go func() { l.throttle.Done(l.db.await(c, nil)) }()
	}
	l.entries, l.zeroes, l.size, l.bytes = nil, nil, 0, 0
	return nil
}

// Finish sends what is left and waits until everything is acknowledged. It returns the first error.
func (l *KVLoader) Finish() error {
	if len(l.entries)+len(l.zeroes) > 0 {
		if err := l.send(); err != nil {
			return err
		}
	}
	return l.throttle.Finish()
}

// Load writes what Backup has written, with at most maxPendingWrites batches on their way. Later
// commits get timestamps above all that was loaded. As in Badger it should run alone. It blocks
// until everything is acknowledged; an error leaves what was loaded before.
func (db *DB) Load(r io.Reader, maxPendingWrites int) error {
	loader := db.NewKVLoader(maxPendingWrites)
	err := readBackup(r, func(list *pb.KVList) error {
		var highest uint64
		for _, kv := range list.Kv {
			if err := loader.Set(kv); err != nil {
				return err
			}
			highest = max(highest, kv.Version)
		}
		db.pipe.Raise(highest)
		return nil
	})
	if err != nil {
		return errors.Join(err, loader.throttle.Finish())
	}
	return loader.Finish()
}

// readBackup calls fn with each list of a backup: its length in eight bytes, little-endian, then
// the list in protobuf.
func readBackup(r io.Reader, fn func(*pb.KVList) error) error {
	in := bufio.NewReader(r)
	var buf []byte
	for {
		var size uint64
		if err := binary.Read(in, binary.LittleEndian, &size); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if size > maxBackupList {
			return fmt.Errorf("badgerspill: not a backup, or a damaged one: a list of %d bytes", size)
		}
		// Grown as it is read: the length alone must not take the memory.
		buf = buf[:0]
		for uint64(len(buf)) < size {
			n := min(size-uint64(len(buf)), max(uint64(len(buf)), 1<<20))
			buf = append(buf, make([]byte, n)...)
			if _, err := io.ReadFull(in, buf[uint64(len(buf))-n:]); err != nil {
				return err
			}
		}
		list := new(pb.KVList)
		if err := proto.Unmarshal(buf, list); err != nil {
			return err
		}
		if err := fn(list); err != nil {
			return err
		}
	}
}
