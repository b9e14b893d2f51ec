package badgerspill

import (
	"io/fs"
	"sync"
	"syscall"

	"github.com/dgraph-io/badger/v4"

	"github.com/badgerspill/badgerspill/badgerspill/internal/pipeline"
	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/spillfile/vfs/vfstest"
)

// fault says how operations fail. They are counted from 1, only those that the kind of fault knows.
type fault struct {
	name  string
	knows func(op string) bool // nil: every operation
	err   error
	times int // so many operations in a row fail
	// partly: a write that fails has written half of its bytes, a load half of its entries.
	partly bool
}

// takesRoom are the operations that a full disk fails.
func takesRoom(op string) bool {
	switch op {
	case "mkdir", "create", "write", "sync", "rename", "syncdir":
		return true
	}
	return false
}

var fileFaults = []fault{
	{name: "one fails", err: errTest, times: 1},
	{name: "short write", knows: func(op string) bool { return op == "write" }, err: syscall.ENOSPC, partly: true, times: 1},
	{name: "no space for a while", knows: takesRoom, err: syscall.ENOSPC, partly: true, times: 6},
}

var engineFaults = []fault{
	{name: "disk full", err: syscall.ENOSPC, times: 1},
	{name: "disk full after half of a load", knows: func(op string) bool { return op == "load" }, err: syscall.ENOSPC, partly: true, times: 2},
	{name: "writes blocked", knows: func(op string) bool { return op != "sync" }, err: badger.ErrBlockedWrites, times: 3},
	{name: "sync fails", knows: func(op string) bool { return op == "sync" }, err: syscall.EIO, times: 2},
}

// injector counts operations and fails those from number at on.
type injector struct {
	kind fault
	at   int

	mu     sync.Mutex
	off    bool // nothing is counted, nothing fails
	n      int
	failed []string // the operations that failed
}

// set turns counting and failing off or on, and returns what it was.
func (f *injector) set(off bool) (was bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	was, f.off = f.off, off
	return was
}

// hits returns the operations that failed.
func (f *injector) hits() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed
}

func (f *injector) ask(op, what string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.off || f.kind.knows != nil && !f.kind.knows(op) {
		return nil
	}
	if f.n++; f.n < f.at || f.n >= f.at+f.kind.times {
		return nil
	}
	f.failed = append(f.failed, op+" "+what)
	return &fs.PathError{Op: op, Path: what, Err: f.kind.err}
}

// faultEngine is Badger behind an injector.
type faultEngine struct {
	engine
	*injector
}

func (e *faultEngine) Send(c *pipeline.Commit, answer func(error)) {
	if err := e.ask("send", "commit"); err != nil {
		c.Prepared.Discard()
		c.Prepared = nil
		go answer(err)
		return
	}
	e.engine.Send(c, answer)
}

func (e *faultEngine) Load(entries []spillfile.Entry) error {
	err := e.ask("load", "entries")
	if err == nil {
		return e.engine.Load(entries)
	}
	if e.kind.partly {
		if lerr := e.engine.Load(entries[:len(entries)/2]); lerr != nil {
			return lerr
		}
	}
	return err
}

func (e *faultEngine) Sync() error {
	if err := e.ask("sync", "Badger"); err != nil {
		return err
	}
	return e.engine.Sync()
}

// faultFS is the file system behind an injector, which is asked for all operations but closing
// files.
func faultFS(fails *injector) spillfile.FS {
	return vfstest.NewFaults(spillfile.OS, func(op, path string) error {
		err := fails.ask(op, path)
		if err != nil && fails.kind.partly {
			err = &vfstest.Torn{Err: err, Keep: func(n int) int { return n / 2 }}
		}
		return err
	})
}
