package burst

import (
	"context"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/badgerspill/internal/openloop"
)

// Engine is an open database under test. All methods are safe for concurrent use, except Close.
type Engine interface {
	openloop.Reader
	// Writer returns a function for one goroutine that puts one key in a transaction of its own and returns when it is
	// acknowledged. It does not keep its arguments after that.
	Writer() func(key, value []byte) error
	// Layer returns what the layer above Badger did so far, nil if there is none.
	Layer() *Layer
	// Drain blocks until nothing is left in the spill. A no-op without a layer.
	Drain(ctx context.Context) error
	// Close may block for as long as the engine needs to bring what it holds to disk.
	Close() error
}

// OpenFunc opens the named engine in dir, which exists.
type OpenFunc func(name, dir string, opt OpenOptions) (Engine, error)

// OpenOptions are the same for every engine.
type OpenOptions struct {
	SyncWrites bool
	// Checking opens what is there to read it once: without compaction, which would compete with the reads.
	Checking bool
}

// Layer is what badgerspill counted. Sizes are bytes.
type Layer struct {
	State        string        `json:"state"`
	Tier         string        `json:"tier"`
	TiersEntered []TierEntered `json:"tiers_entered"` // in order of memory use

	CommitsDirect  int64 `json:"commits_direct"`
	CommitsHedged  int64 `json:"commits_hedged"`
	CommitsSpilled int64 `json:"commits_spilled"`
	CommitsBlocked int64 `json:"commits_blocked"`

	BytesSpilled    int64 `json:"bytes_spilled"`
	BytesReplayed   int64 `json:"bytes_replayed"`
	EntriesReplayed int64 `json:"entries_replayed"`
	SpillBytes      int64 `json:"spill_bytes"`   // on disk
	SpillPending    int64 `json:"spill_pending"` // commits that Badger does not hold yet

	Stalls    int64 `json:"stalls"`
	HandOvers int64 `json:"hand_overs"`
}

// TierEntered is how often a memory tier was entered.
type TierEntered struct {
	Tier  string `json:"tier"`
	Times int64  `json:"times"`
}
