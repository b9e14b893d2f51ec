package engine

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/openloop"
)

// bareLog is the floor below any durable store: one append-only file and a group commit, and
// nothing else. What an engine takes longer than this is its own; what this takes is the machine's.
// It is no database: nothing is indexed while it is written, and what is read is first looked for
// in the file, from where the last read stopped. So it is a floor for writes, not for reads, and
// reading costs the writes, too.
//
// A record, integers little-endian:
//
//	length of key    uint32
//	length of value  uint32
//	CRC32C           uint32, of the lengths, key and value
//	key, value
//
// Group commit: a writer puts its record into the group that is gathering. The first of a group
// leads it: it waits for the group before to be written, closes its own, writes it with one call,
// and with SyncWrites syncs it. The others, which came while it waited, wait for it.
type bareLog struct {
	file    *os.File
	sync    bool
	written atomic.Int64 // bytes of the file that hold whole groups

	mu        sync.Mutex // guards gathering and what is in it
	gathering *group

	// writing is held by the leader whose group is being written. It is locked before mu, and
	// guards what follows.
	writing sync.Mutex
	spare   []byte // the buffer of the group before
	failed  error  // the file may end in half a group: nothing is written after it

	index logIndex
}

type group struct {
	records []byte
	// closed when the group is written; nil as long as nobody but the leader waits for it
	done chan struct{}
	err  error
}

const (
	logFile       = "log"
	logHead       = 12
	maxLogPart    = 1 << 30 // of a key or a value: bounds what a broken length can ask for
	logReadBuffer = 64 << 10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func openLog(dir string, opt Options) (Engine, error) {
	file, err := os.OpenFile(filepath.Join(dir, logFile), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	l := &bareLog{file: file, sync: opt.SyncWrites, gathering: &group{}}
	l.index.at, l.index.file = map[string]logValue{}, bufio.NewReaderSize(nil, logReadBuffer)
	l.written.Store(info.Size())
	return l, nil
}

func (l *bareLog) Writer() func(key, value []byte) error {
	var record []byte
	return func(key, value []byte) error {
		record = appendRecord(record[:0], key, value)
		return l.append(record)
	}
}

func appendRecord(dst, key, value []byte) []byte {
	var head [logHead]byte
	binary.LittleEndian.PutUint32(head[0:], uint32(len(key)))
	binary.LittleEndian.PutUint32(head[4:], uint32(len(value)))
	binary.LittleEndian.PutUint32(head[8:], recordCRC(head[:8], key, value))
	dst = append(dst, head[:]...)
	dst = append(dst, key...)
	return append(dst, value...)
}

func recordCRC(parts ...[]byte) uint32 {
	crc := uint32(0)
	for _, p := range parts {
		crc = crc32.Update(crc, castagnoli, p)
	}
	return crc
}

// append returns when the record is written, and synced if the log is.
func (l *bareLog) append(record []byte) error {
	l.mu.Lock()
	g := l.gathering
	leads := len(g.records) == 0
	g.records = append(g.records, record...)
	if !leads && g.done == nil {
		g.done = make(chan struct{})
	}
	l.mu.Unlock()
	if !leads {
		<-g.done
		return g.err
	}

	l.writing.Lock()
	next := &group{records: l.spare}
	l.mu.Lock()
	l.gathering = next
	l.mu.Unlock()
	g.err = l.write(g.records)
	l.spare = g.records[:0]
	l.writing.Unlock()
	if g.done != nil {
		close(g.done)
	}
	return g.err
}

// write needs writing to be locked.
func (l *bareLog) write(records []byte) error {
	if l.failed != nil {
		return l.failed
	}
	_, err := l.file.Write(records)
	if err == nil && l.sync {
		err = datasync(l.file)
	}
	if err != nil {
		l.failed = fmt.Errorf("log is broken, make a new one: %w", err)
		return l.failed
	}
	l.written.Add(int64(len(records)))
	return nil
}

// logIndex is where values are, as far as somebody has read the file.
type logIndex struct {
	mu   sync.Mutex // guards the rest
	at   map[string]logValue
	read int64 // bytes of the file
	file *bufio.Reader
	body []byte
}

type logValue struct {
	offset int64
	length int32
}

// catchUp reads what was written since the last call and checks it. Later records of a key replace
// earlier ones. The caller holds index.mu.
func (l *bareLog) catchUp() error {
	x, end := &l.index, l.written.Load()
	if x.read == end {
		return nil
	}
	r := x.file
	r.Reset(io.NewSectionReader(l.file, x.read, end-x.read))
	var head [logHead]byte
	for x.read < end {
		corrupt := func(reason any) error {
			return fmt.Errorf("%s: record at %d: %v", l.file.Name(), x.read, reason)
		}
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return corrupt(err)
		}
		k, v := binary.LittleEndian.Uint32(head[0:]), binary.LittleEndian.Uint32(head[4:])
		if k > maxLogPart || v > maxLogPart || logHead+int64(k)+int64(v) > end-x.read {
			return corrupt(fmt.Sprintf("key of %d and value of %d bytes do not fit into what is left, %d", k, v, end-x.read))
		}
		x.body = slices.Grow(x.body[:0], int(k)+int(v))[:k+v]
		body := x.body
		if _, err := io.ReadFull(r, body); err != nil {
			return corrupt(err)
		}
		if got, want := recordCRC(head[:8], body), binary.LittleEndian.Uint32(head[8:]); got != want {
			return corrupt(fmt.Sprintf("CRC32C is %#08x instead of %#08x", got, want))
		}
		x.at[string(body[:k])] = logValue{x.read + logHead + int64(k), int32(v)}
		x.read += logHead + int64(k) + int64(v)
	}
	return nil
}

func (l *bareLog) Get(key, dst []byte) ([]byte, error) {
	l.index.mu.Lock()
	err := l.catchUp()
	at, found := l.index.at[string(key)]
	l.index.mu.Unlock()
	switch {
	case err != nil:
		return dst, err
	case !found:
		return dst, openloop.ErrNotFound
	}
	return l.appendValue(dst, at)
}

func (l *bareLog) GetHeld(key []byte, hold func()) error {
	_, err := l.Get(key, nil)
	hold()
	return err
}

func (l *bareLog) Increment([]byte) (int64, error) { return 0, ErrNoTransactions }

func (l *bareLog) appendValue(dst []byte, at logValue) ([]byte, error) {
	n := len(dst)
	dst = slices.Grow(dst, int(at.length))[:n+int(at.length)]
	_, err := l.file.ReadAt(dst[n:], at.offset)
	return dst, err
}

// keys returns where the keys are now, and the keys in order.
func (l *bareLog) keys() (map[string]logValue, []string, error) {
	l.index.mu.Lock()
	defer l.index.mu.Unlock()
	if err := l.catchUp(); err != nil {
		return nil, nil, err
	}
	at := maps.Clone(l.index.at)
	return at, slices.Sorted(maps.Keys(at)), nil
}

func (l *bareLog) Scan(visit func(key, value []byte) bool) error {
	at, keys, err := l.keys()
	if err != nil {
		return err
	}
	var value []byte
	for _, key := range keys {
		if value, err = l.appendValue(value[:0], at[key]); err != nil || !visit([]byte(key), value) {
			return err
		}
	}
	return nil
}

func (l *bareLog) ScanKeys(visit func(key []byte) bool) error {
	_, keys, err := l.keys()
	for _, key := range keys {
		if !visit([]byte(key)) {
			break
		}
	}
	return err
}

func (l *bareLog) Batch() Batch { return logBatch{l.Writer()} }

// logBatch writes each key by itself: the group commit is the batch.
type logBatch struct {
	set func(key, value []byte) error
}

func (b logBatch) Set(key, value []byte) error { return b.set(key, value) }
func (logBatch) Flush() error                  { return nil }
func (logBatch) Cancel()                       {}

func (l *bareLog) Layer() *Layer               { return nil }
func (l *bareLog) LayerStats() any             { return nil }
func (l *bareLog) Levels() []badger.LevelInfo  { return nil }
func (l *bareLog) BlockCacheBytes() int64      { return 0 }
func (l *bareLog) Drain(context.Context) error { return nil }
func (l *bareLog) Close() error                { return l.file.Close() }
