package spillfile

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4/y"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/index"
	"github.com/badgerspill/badgerspill/spillfile/vfs"
)

// The life of a segment's index: in memory while the segment is written (lifecycle.go), in a file
// once it is sealed and durable (indexSealed). It is in memory again if the file turns out to be
// damaged (heal), and then in a new file.

// segmentIndex maps key@version to the place of an entry, for one segment: in memory until the
// segment is sealed and durable, in a file from then on. One of the two is set.
type segmentIndex struct {
	mem  *index.Memory
	file *index.File
}

// memory returns the bytes that it holds, beside the cache.
func (x *segmentIndex) memory() int64 {
	if x.mem != nil {
		return x.mem.Cap()
	}
	return x.file.Memory()
}

// setIndex gives s an index and accounts for its memory.
func (l *Log) setIndex(s *segment, x *segmentIndex) {
	s.idx.mu.Lock()
	defer s.idx.mu.Unlock()
	l.countLocked(s, x.memory())
	s.index.Store(x)
}

// countLocked accounts for n bytes of memory of the index of s, in place of what was counted.
// idx.mu must be held.
func (l *Log) countLocked(s *segment, n int64) {
	if s.idx.dropped {
		n = 0
	}
	l.memory.Add(n - s.idx.counted)
	s.idx.counted = n
}

// discount ends the accounting of a segment that left the log: nothing but its readers can free its
// memory now. It returns the size of its index file.
func (l *Log) discount(s *segment) (disk int64) {
	s.idx.mu.Lock()
	defer s.idx.mu.Unlock()
	s.idx.dropped = true
	l.countLocked(s, 0)
	l.expectLocked(s, 0)
	return s.idx.disk
}

// expectLocked accounts for an index file of at most n bytes that is still to be made, in place of
// what was expected. idx.mu must be held.
func (l *Log) expectLocked(s *segment, n int64) {
	if s.idx.dropped {
		n = 0
	}
	l.expected.Add(n - s.idx.expected)
	s.idx.expected = n
}

// expectMore accounts for n more bytes of the index file of an active segment.
func (l *Log) expectMore(s *segment, n int64) {
	s.idx.mu.Lock()
	defer s.idx.mu.Unlock()
	if s.idx.expected == 0 {
		n += index.FileFixed
	}
	l.expectLocked(s, s.idx.expected+n)
}

// nameIndex gives a finished index file its name, unless the segment's files are removed by now.
func (l *Log) nameIndex(s *segment, temp, path string, size int64) error {
	s.idx.mu.Lock()
	defer s.idx.mu.Unlock()
	if s.idx.unlinked {
		return errUnlinked
	}
	if err := l.fs.Rename(temp, path); err != nil {
		return err
	}
	l.disk.Add(size - s.idx.disk)
	s.idx.disk = size
	l.expectLocked(s, 0)
	return nil
}

// writeIndex makes the index file of a sealed segment from its index in memory, whole or not at
// all, and opens it.
func (l *Log) writeIndex(s *segment, mem *index.Memory) (*index.File, error) {
	path := filepath.Join(l.o.Dir, index.Name(s.id()))
	temp := path + vfs.TempSuffix
	built, err := index.Build(mem, index.Footer{
		DatabaseID: l.o.DatabaseID, Segment: s.id(), SegmentCRC: s.header.Checksum(), Encrypted: s.aead != nil, Mixed: s.mixed.Load(),
		End: s.end.Load(), FirstSeq: s.header.FirstSeq, LastSeq: s.lastSeq.Load(),
		MinTs: s.minTs.Load(), MaxTs: s.maxTs.Load(), MaxVersion: s.maxVersion.Load(),
	}, l.o.EncryptionKey)
	if errors.Is(err, index.ErrEmpty) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("spill index %s: %w", path, err)
	}
	size := int64(len(built.Bytes))
	if size > math.MaxUint32 {
		return nil, fmt.Errorf("%w: the index of segment %s takes %d bytes", ErrTooLarge, s.path, size)
	}
	f, err := vfs.CreateTemp(l.fs, path)
	if err == nil {
		err = vfs.Complete(f, built.Bytes)
	}
	if err == nil {
		err = l.nameIndex(s, temp, path, size)
	}
	if err != nil {
		if rerr := l.fs.Remove(temp); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			l.o.Logf("spill index %s could not be removed, the next Open does it: %v", temp, rerr)
		}
		return nil, fmt.Errorf("spill index %s: %w", path, err)
	}
	file := l.files.File(path, os.O_RDONLY)
	x, err := built.Open(file, path, l.cache)
	if err != nil {
		if s.unlinked() {
			err = errUnlinked
		}
		return nil, errors.Join(err, file.Close())
	}
	return x, nil
}

// errUnlinked: the files of a segment are removed, or will be.
var errUnlinked = errors.New("segment is gone")

// unlinked says that the files of s are removed, or will be.
func (s *segment) unlinked() bool {
	s.idx.mu.Lock()
	defer s.idx.mu.Unlock()
	return s.idx.unlinked
}

// indexSealed makes files of the indexes of sealed segments that are still in memory, as far as the
// log is durable. An index in a file is a promise that its segment, and all before it, is durable.
func (l *Log) indexSealed() error {
	l.indexing.Lock()
	defer l.indexing.Unlock()
	var todo []*segment
	l.w.mu.Lock()
	for _, s := range l.w.live {
		end := Position{Segment: s.id(), Offset: s.end.Load()}
		if s.sealed && s.index.Load().mem != nil && !end.After(l.w.mark) && !s.unindexable && !s.doomed {
			s.refs.Add(1)
			todo = append(todo, s)
		}
	}
	l.w.mu.Unlock()
	var errs []error
	indexed := false
	for _, s := range todo {
		if mem := s.index.Load().mem; mem != nil && len(errs) == 0 {
			switch x, err := l.writeIndex(s, mem); {
			case err == nil:
				l.setIndex(s, &segmentIndex{file: x})
				indexed = true
			case errors.Is(err, errUnlinked):
			case errors.Is(err, index.ErrEmpty), errors.Is(err, ErrTooLarge):
				s.unindexable = true
			default:
				errs = append(errs, err)
			}
		}
		l.unref(s)
	}
	if indexed { // views to come know the filters
		l.w.mu.Lock()
		l.publishLocked()
		l.w.mu.Unlock()
		l.o.OnIndexed()
	}
	return errors.Join(errs...)
}

// heal makes a damaged index again, in memory, from its segment. If somebody has done that already,
// it returns what he made.
func (l *Log) heal(s *segment, bad *index.File, cause error) (*segmentIndex, error) {
	s.idx.healing.Lock()
	defer s.idx.healing.Unlock()
	if x := s.index.Load(); x.file != bad {
		return x, nil
	}
	if vfs.OutOfFiles(cause) || errors.Is(cause, ErrClosed) { // that is not the file's fault
		return nil, cause
	}
	mem, err := s.readIndex()
	if err != nil {
		return nil, err
	}
	l.o.Logf("spill index %s is made again from its segment: %v", bad.Path, cause)
	x := &segmentIndex{mem: mem}
	l.setIndex(s, x)
	// Who still reads it, or begins to, comes here and gets what is in its place.
	_ = bad.Close() // nothing was written to it
	l.cache.Forget(block.CacheIndex, s.id())
	l.wakeBackground()
	return x, nil
}

// get returns the newest version of the user key at or below ts in s.
func (l *Log) get(s *segment, key []byte, ts uint64, hash uint64) (vs y.ValueStruct, found bool, err error) {
	for x := s.index.Load(); ; {
		if x.mem != nil {
			vs, found = x.mem.Get(key, ts)
			return vs, found, nil
		}
		if vs, found, err = x.file.Get(key, ts, hash); err == nil {
			return vs, found, nil
		}
		if x, err = l.heal(s, x.file, err); err != nil {
			return vs, false, err
		}
	}
}

// iterator iterates the index of s. It may leave out entries that are not shown. fail is told of an
// error that ended it.
func (l *Log) iterator(s *segment, reverse bool, what index.Shown, fail func(error)) y.Iterator {
	x := s.index.Load()
	if x.mem != nil {
		return x.mem.Iterator(reverse)
	}
	return x.file.Iterator(reverse, what, fail, func(bad *index.File, cause error) (y.Iterator, error) {
		healed, err := l.heal(s, bad, cause)
		if err != nil {
			return nil, err
		}
		if healed.mem == nil { // healed long ago, and in a new file since
			return l.iterator(s, reverse, what, fail), nil
		}
		return healed.mem.Iterator(reverse), nil
	})
}

// closeIndex closes the file of the index, after the last reader.
func (s *segment) closeIndex() error {
	if x := s.index.Load(); x != nil && x.file != nil {
		return x.file.Close()
	}
	return nil
}
