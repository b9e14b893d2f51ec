package host

import (
	"errors"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/skl"
	"github.com/dgraph-io/ristretto/v2/z"
)

// State reaches what Badger keeps to itself, to mend what some of its failures leave behind.
// Every field is looked up by name and type. A Badger that has them otherwise is left alone: nil,
// on which all methods do nothing.
//
// What is mended:
//
//   - No active memtable. If Badger cannot make the next one (db.go, ensureRoomForWrite, dropAll,
//     DropPrefix), reads panic on nil, and the next write ends the process by an assertion. An
//     empty memtable that counts as full takes its place: readers find nothing in it, and the next
//     write tries again to make one. Until then Badger's Sync panics, too, and keeps Badger's lock
//     for ever, so that nothing can be put right after it: [State.sync] is for that.
//   - An active memtable that is in the list of sealed ones, too. A DropPrefix that could not flush
//     it leaves it so. The next flush would end the process by an assertion, and a second
//     DropPrefix would panic.
//   - The number of the next table. DropAll begins at 1 again, although the files of tables that a
//     reader holds are still there.
type State struct {
	lock      *sync.RWMutex // guards all but tables
	active    reflect.Value // the active memtable: a pointer to Badger's type
	sealed    reflect.Value // a slice of those
	memtables *int          // the number of the next one
	tables    *atomic.Uint64
	blank     func() reflect.Value // makes what takes the place of the active memtable
	values    reflect.Value        // the value log
	valueLock *sync.RWMutex        // guards which files it has
	// when there was no active memtable last, in Unix nanoseconds; 0 = never
	mended atomic.Int64
	// this is the Badger that is known, so that it is certain which locks its faults leave held
	known bool
}

// blankArena is the arena of a memtable in which nothing is written: it holds the head of the skip
// list.
const blankArena = 4 << 10

// NewState returns what there is of an open Badger, nil if its fields are others.
func NewState(inner *badger.DB) *State {
	db := reflect.ValueOf(inner).Elem()
	s := &State{active: reach(db, "mt"), sealed: reach(db, "imm")}
	s.lock, _ = pointer[sync.RWMutex](reach(db, "lock"))
	s.memtables, _ = pointer[int](reach(db, "nextMemFid"))
	if lc := reach(db, "lc"); lc.IsValid() && lc.Kind() == reflect.Pointer && !lc.IsNil() {
		s.tables, _ = pointer[atomic.Uint64](reach(lc.Elem(), "nextFileID"))
	}
	if s.lock == nil || s.memtables == nil || s.tables == nil || !s.active.IsValid() || !s.sealed.IsValid() ||
		s.active.Kind() != reflect.Pointer || s.active.Type().Elem().Kind() != reflect.Struct ||
		s.sealed.Kind() != reflect.Slice || s.sealed.Type().Elem() != s.active.Type() {
		return nil
	}
	table := s.active.Type().Elem()
	s.blank = func() reflect.Value {
		made := reflect.New(table)
		// Its other fields are zero. So a memtable of any size is too large for it, and it has no
		// file to be synced.
		reach(made.Elem(), "sl").Set(reflect.ValueOf(skl.NewSkiplist(blankArena)))
		wal := reach(made.Elem(), "wal")
		wal.Set(reflect.New(wal.Type().Elem()))
		return made
	}
	list, hasList := table.FieldByName("sl")
	wal, hasWAL := table.FieldByName("wal")
	if !hasList || list.Type != reflect.TypeFor[*skl.Skiplist]() || !hasWAL || !isLog(wal.Type) {
		return nil
	}
	if s.values = reach(db, "vlog"); !s.values.IsValid() || s.values.Kind() != reflect.Struct {
		return nil
	}
	s.valueLock, _ = pointer[sync.RWMutex](reach(s.values, "filesLock"))
	newest, files := reach(s.values, "maxFid"), reach(s.values, "filesMap")
	if s.valueLock == nil || !newest.IsValid() || !files.IsValid() || files.Kind() != reflect.Map ||
		files.Type().Key() != newest.Type() || !isLog(files.Type().Elem()) {
		return nil
	}
	version, replaced := BuiltOn()
	s.known = isKnown(version, replaced, Mends())
	return s
}

// isLog reports whether t is a pointer to Badger's type of a log.
func isLog(t reflect.Type) bool {
	if t.Kind() != reflect.Pointer || t.Elem().Kind() != reflect.Struct {
		return false
	}
	lock, hasLock := t.Elem().FieldByName("lock")
	mapped, hasMapped := t.Elem().FieldByName("MmapFile")
	return hasLock && lock.Type == reflect.TypeFor[sync.RWMutex]() && hasMapped && mapped.Type == reflect.TypeFor[*z.MmapFile]()
}

// reach returns a field of a struct that can be set, whatever its name; the zero Value if there is
// none.
func reach(v reflect.Value, name string) reflect.Value {
	f := v.FieldByName(name)
	if !f.IsValid() {
		return f
	}
	return reflect.NewAt(f.Type(), unsafe.Pointer(f.UnsafeAddr())).Elem()
}

func pointer[T any](v reflect.Value) (*T, bool) {
	if !v.IsValid() || v.Type() != reflect.TypeFor[T]() {
		return nil, false
	}
	p, ok := v.Addr().Interface().(*T)
	return p, ok
}

// Mend looks at the memtables and puts them right. It must be called by who has just written to
// Badger in vain, before anybody writes again.
func (s *State) Mend() {
	if s == nil {
		return
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	s.mendLocked()
}

// mendLocked needs lock.
func (s *State) mendLocked() {
	if s.active.IsNil() {
		s.active.Set(s.blank())
		s.mended.Store(time.Now().UnixNano())
		return
	}
	if n := s.sealed.Len(); n > 0 && s.sealed.Index(n-1).Pointer() == s.active.Pointer() {
		s.sealed.Set(s.sealed.Slice(0, n-1))
	}
}

// sync is Badger's Sync: it syncs the log of the active memtable and the newest file of the value
// log, which is all that is not synced when it is full. It is content without an active memtable.
// It waits for the disk, under Badger's lock. s is not nil.
func (s *State) sync() error {
	s.lock.RLock()
	var err error
	if !s.active.IsNil() {
		err = syncLog(reach(s.active.Elem(), "wal"))
	}
	s.lock.RUnlock()

	s.valueLock.RLock()
	log := reach(s.values, "filesMap").MapIndex(reach(s.values, "maxFid"))
	if !log.IsValid() || log.IsNil() { // it is being made
		s.valueLock.RUnlock()
		return err
	}
	lock, _ := pointer[sync.RWMutex](reach(log.Elem(), "lock"))
	lock.RLock() // before the other lock is let go, or it is removed
	s.valueLock.RUnlock()
	defer lock.RUnlock()
	return errors.Join(err, syncLog(log))
}

func syncLog(log reflect.Value) error {
	mapped, _ := pointer[*z.MmapFile](reach(log.Elem(), "MmapFile"))
	return (*mapped).Sync() // nothing for nil
}

// letGo releases the lock of a file of the value log, which a reader keeps that has met a damaged
// header (value.go, Read): Badger's Close and its GC would wait for it for ever. at is where he has
// read, a pointer of Badger's. Another release, or a fork, may let go of it itself, and is left
// alone.
func (s *State) letGo(at any) {
	if s == nil || !s.known {
		return
	}
	file := reflect.Indirect(reflect.ValueOf(at)).FieldByName("Fid")
	s.valueLock.RLock()
	defer s.valueLock.RUnlock()
	files := reach(s.values, "filesMap")
	if !file.IsValid() || file.Type() != files.Type().Key() {
		return
	}
	if log := files.MapIndex(file); log.IsValid() && !log.IsNil() {
		lock, _ := pointer[sync.RWMutex](reach(log.Elem(), "lock"))
		lock.RUnlock()
	}
}

// NextTable returns the number of Badger's next table, 0 if it is not known.
func (s *State) NextTable() uint64 {
	if s == nil {
		return 0
	}
	return s.tables.Load()
}

// RaiseTable makes the next table's number at least next.
func (s *State) RaiseTable(next uint64) {
	for s != nil {
		now := s.tables.Load()
		if now >= next || s.tables.CompareAndSwap(now, next) {
			return
		}
	}
}

// NextMemtable returns the number of the memtable that Badger makes next. known is false while it
// makes one, or drops.
func (s *State) NextMemtable() (n int, known bool) {
	if s == nil || !s.lock.TryRLock() {
		return 0, false
	}
	defer s.lock.RUnlock()
	return *s.memtables, true
}

// valueLogHeader is what a file of the value log begins with, in bytes.
const valueLogHeader = 20

// NextValueLog returns the number of the next file of the value log, 0 as long as the one before it
// has no values. known is false while Badger changes which files there are.
func (s *State) NextValueLog() (n uint32, known bool) {
	if s == nil || !s.valueLock.TryRLock() {
		return 0, false
	}
	defer s.valueLock.RUnlock()
	newest, _ := pointer[uint32](reach(s.values, "maxFid"))
	offset, _ := pointer[atomic.Uint32](reach(s.values, "writableLogOffset"))
	switch {
	case newest == nil || offset == nil:
		return 0, false
	case offset.Load() <= valueLogHeader:
		return 0, true
	}
	return *newest + 1, true
}

// MendedLately reports whether there was no active memtable a moment ago, and is one now. It is
// false while Badger's lock is held for writing, since it does not wait.
func (s *State) MendedLately() bool {
	const lately = 10 * time.Second
	if s == nil || s.mended.Load() < time.Now().Add(-lately).UnixNano() {
		return false
	}
	if !s.lock.TryRLock() { // perhaps nobody lets go of it any more
		return false
	}
	defer s.lock.RUnlock()
	return !s.active.IsNil()
}

// Collect runs gc, which is Badger's RunValueLogGC, and returns its error. It reads all the time,
// so it meets the moment without a memtable, and panics: then Collect returns an error that matches
// ErrHeld, once that is mended. It may wait for that as Rescue does, and panics as that.
//
// A collection begins with Badger's MaxVersion, which panics with Badger's lock in its hand. Then
// this goroutine holds that, and lets go of it.
func (s *State) Collect(gc func() error) (err error) {
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		if s != nil && s.known && strings.HasSuffix(panickedIn(), ".(*DB).MaxVersion") {
			s.mendLocked()
			s.lock.Unlock()
		}
		s.Rescue(r)
		err = &heldError{"it could not make its next memtable; what was being collected stays as it is"}
	}()
	return gc()
}

// panickedIn returns the innermost function of Badger's root package below a panic that is being
// recovered from, empty for none.
func panickedIn() string {
	callers := make([]uintptr, 64)
	frames := runtime.CallersFrames(callers[:runtime.Callers(1, callers)])
	for {
		f, more := frames.Next()
		if strings.HasPrefix(f.Function, badgerPackage+".") || !more {
			return f.Function
		}
	}
}

var badgerPackage = reflect.TypeFor[badger.DB]().PkgPath()

// Rescue handles a panic of a read of Badger. It returns if that is to be tried again: Badger had
// no memtable for a moment, which is mended by now. Else it panics. It may wait for that, a second
// at most.
func (s *State) Rescue(panicked any) {
	const patience, step = time.Second, time.Millisecond
	if _, ok := panicked.(runtime.Error); ok {
		for waited := time.Duration(0); waited < patience; waited += step {
			if s.MendedLately() {
				return
			}
			time.Sleep(step)
		}
	}
	panic(panicked)
}
