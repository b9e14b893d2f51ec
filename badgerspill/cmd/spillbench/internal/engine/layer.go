package engine

// Layer is what badgerspill counted. Sizes are bytes.
type Layer struct {
	State        string        `json:"state"`
	Tier         string        `json:"tier"`
	TiersEntered []TierEntered `json:"tiers_entered"` // in order of memory use
	Replay       string        `json:"replay"`        // what the replayer is doing

	CommitsDirect  int64 `json:"commits_direct"`
	CommitsHedged  int64 `json:"commits_hedged"`
	CommitsSpilled int64 `json:"commits_spilled"`
	CommitsBlocked int64 `json:"commits_blocked"`

	BytesSpilled    int64 `json:"bytes_spilled"`
	BytesReplayed   int64 `json:"bytes_replayed"`
	EntriesReplayed int64 `json:"entries_replayed"`
	SpillBytes      int64 `json:"spill_bytes"`   // on disk
	SpillPending    int64 `json:"spill_pending"` // commits that Badger does not hold yet
	// of the spill, on disk, that Badger does not hold yet
	BytesPending int64 `json:"bytes_pending"`

	Stalls    int64 `json:"stalls"`
	HandOvers int64 `json:"hand_overs"`

	Replays int64 `json:"replays"` // runs of replay that have begun
	// what began the last of them, as replay.Reason has it; empty before the first
	ReplayBy string `json:"replay_by,omitempty"`
}

// TierEntered is how often a memory tier was entered.
type TierEntered struct {
	Tier  string `json:"tier"`
	Times int64  `json:"times"`
}
