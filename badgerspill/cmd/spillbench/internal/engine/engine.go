package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/dgraph-io/badger/v4"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/openloop"
)

// The engines.
const (
	Badger      = "badger"
	Badgerspill = "badgerspill"
	Log         = "log" // a bare group-committed log, the floor
	Pebble      = "pebble"
)

var openers = map[string]func(dir string, opt Options) (Engine, error){
	Badger: openBadger, Badgerspill: openBadgerspill, Log: openLog, Pebble: openPebble,
}

// Names returns the names of all engines.
func Names() []string {
	return []string{Badger, Badgerspill, Log, Pebble, Badger + MendedSuffix, Badgerspill + MendedSuffix}
}

// errReleased is the error of an executable that was not built on a mended Badger.
var errReleased = errors.New("the executable of --mended was built on Badger as released")

// MendedSuffix is what the names of Badger and badgerspill have where they run on a mended Badger,
// in an executable that was built with it: see badgerpatch.
const MendedSuffix = "-mended"

// Mended reports whether the named engine runs on a mended Badger, and returns its name without
// that.
func Mended(name string) (base string, mended bool) { return strings.CutSuffix(name, MendedSuffix) }

// ErrNoTransactions is the error of an engine that cannot read and write in one transaction.
var ErrNoTransactions = errors.New("the engine has no transactions")

// Engine is an open database under test, or the log. All methods are safe for concurrent use,
// except Close.
type Engine interface {
	openloop.Reader
	// ScanKeys calls visit with every key in order until that returns false. The key is valid
	// during the call only.
	ScanKeys(visit func(key []byte) bool) error
	// Writer returns a function for one goroutine that puts one key in a transaction of its own and
	// returns when it is acknowledged. It does not keep its arguments after that.
	Writer() func(key, value []byte) error
	// Increment adds one to the counter at the key, 0 if there is none, in one transaction that
	// reads and sets it, until that does not conflict. It returns how often it did, or
	// ErrNoTransactions.
	Increment(key []byte) (conflicts int64, err error)
	// GetHeld reads the key in a transaction of its own, which stays open until hold has returned.
	GetHeld(key []byte, hold func()) error
	// Batch returns a new batch, for one goroutine.
	Batch() Batch

	// Layer returns what the layer above Badger did so far, nil if there is none.
	Layer() *Layer
	// LayerStats returns all that the layer counts, as it is, nil if there is none.
	LayerStats() any
	// Levels returns what each level of Badger's tree holds.
	Levels() []badger.LevelInfo
	// BlockCacheBytes returns how much Badger's block cache holds, in bytes.
	BlockCacheBytes() int64

	// Drain blocks until nothing is left in the spill. A no-op without a layer.
	Drain(ctx context.Context) error
	// Close may block for as long as the engine needs to bring what it holds to disk.
	Close() error
}

// Batch is a WriteBatch.
type Batch interface {
	// Set keeps key and value until Flush has returned. It may block, and commit what was set so
	// far.
	Set(key, value []byte) error
	// Flush commits the rest and blocks until all is acknowledged.
	Flush() error
	// Cancel gives up what is not committed. It may be called after Flush.
	Cancel()
}

// Options are the same for every engine, except for those of the layer, which plain Badger ignores.
// All else is as the engines have it by default, without a log.
type Options struct {
	SyncWrites bool
	// Checking opens what is there to read it once: without compaction, which would compete with
	// the reads.
	Checking bool

	// HoldSpill puts every commit into the spill and keeps it there: nothing is replayed before the
	// spill is full, nor by Close.
	HoldSpill     bool
	MemoryLimit   int64 // bytes; 0 = the default
	SpillCapacity int64 // bytes; 0 = the default

	// Superflag sets options of Badger for both, and of the layer, in the form of
	// badgerspill.Options.FromSuperFlag.
	Superflag string
}

// Check returns the error of a Superflag that does not hold.
func (o Options) Check() error {
	opt := badgerspill.DefaultOptions("").WithInMemory(true).WithLogger(nil).FromSuperFlag(o.Superflag)
	db, err := badgerspill.Open(opt)
	if err != nil {
		return err
	}
	return db.Close()
}

// Open opens the named engine in dir, which exists.
func Open(name, dir string, opt Options) (Engine, error) {
	base, mended := Mended(name)
	open, found := openers[base]
	if !found {
		return nil, fmt.Errorf("unknown engine %q", name)
	}
	if mended && badgerspill.BadgerBuild().Mends == "" {
		return nil, errReleased
	}
	return open(dir, opt)
}
