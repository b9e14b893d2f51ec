package badgerspill

import (
	"errors"
	"math"

	"github.com/badgerspill/badgerspill/replay"
	"github.com/badgerspill/badgerspill/spillfile"
)

// Replay in key order. A chunk is the merge of many sealed segments, without the versions that
// nobody can see any more: to Badger the spill is one huge memtable. Until all of a chunk is in
// Badger its segments stay, in the view and on disk, and hide what Badger has of it so far. A chunk
// that is interrupted goes on at a key: see passage. What lies before that and was given after it
// was noted is given twice, which is harmless.
//
// It does not break invariant I1: within a chunk keys come in order, and the versions of one key
// oldest first. Between chunks, and between a chunk and what is replayed in the order of the log,
// commits come in commit order.

const (
	// inOrderShare is the share of SegmentSize that is replayed in the order of the log rather than
	// sealed and merged: less is not worth a segment and an index file of its own.
	inOrderShare = 16
	// chunkShare is the share of the capacity that one chunk takes below ReplayHighWater; above it
	// is spillPiece. The larger it is the less Badger has to compact; but room comes free only at
	// the end of a chunk, and commits that the spill's filling slows wait for that.
	chunkShare = 4
)

// beginChunk starts to merge what is spilled, if that is enough to be worth it.
func (r *replayLog) beginChunk() error {
	db := r.db
	if p := r.resume; p != nil {
		r.resume = nil
		if r.merge = db.log.ResumeMerge(r.pos, *p); r.merge != nil {
			r.foreign = false
			if _, yes := r.draining(); yes { // what was done before is not what this drain does
				db.drains.bytes -= r.chunkDone()
			}
			return nil
		}
	}
	if r.foreign {
		if err := db.log.VoidPlace(); err != nil {
			return err
		}
		r.foreign = false
	}
	behind := db.log.Behind(r.pos)
	if behind <= db.segmentSize()/inOrderShare {
		return nil
	}
	most := db.spill.Capacity() / chunkShare
	if r.bySegment {
		most = 0
	} else if float64(db.spill.Usage()) >= db.opt.Tuning.ReplayHighWater*float64(db.spill.Capacity()) {
		most = db.spillPiece()
	}
	most = min(most, db.room.ChunkRoom())
	if behind <= most { // all of it is one chunk, what is being written too
		if err := db.log.Seal(); err != nil {
			return err
		}
	}
	// what came before it counts as given, too
	r.merge, r.passage = db.log.NewMerge(r.pos, most), passage{vlog: r.synced != r.seq}
	return nil
}

// replayChunk moves the next entries of the merge to Badger.
func (r *replayLog) replayChunk(maxBytes int64) (replay.Progress, error) {
	if !r.untaken {
		coalesced, err := r.merge.Next(&r.chunk, maxBytes, r.db.retention())
		if err != nil {
			several, at := r.merge.Segments() > 1, r.merge.Place()
			if _, yes := r.draining(); yes {
				r.db.drains.bytes += r.chunkDone()
			}
			r.endChunk()
			r.resume = &at
			if several && errors.Is(err, ErrCorrupt) {
				// and from r.pos again
				r.bySegment, r.resume, r.foreign, r.passage = true, nil, true, passage{}
				return replay.Progress{Midway: true}, nil
			}
			return replay.Progress{}, err
		}
		r.db.counters.coalesced.Add(coalesced)
		r.untaken = len(r.chunk.Entries) > 0
	}
	if !r.untaken {
		r.passed(r.merge.End(), r.merge.LastSeq())
		skipped := max(0, r.merge.Bytes()-r.passage.given)
		r.endChunk()
		r.passage = passage{}
		st := r.db.log.State()
		return replay.Progress{Skipped: skipped, Drained: st.Queued == 0 && r.seq >= st.LastSeq}, nil
	}
	if err := r.load(0, r.merge.End()); err != nil {
		return replay.Progress{}, err
	}
	r.untaken = false
	return replay.Progress{Bytes: r.chunk.RawBytes, Entries: int64(len(r.chunk.Entries)), Midway: true, Synced: r.took()}, nil
}

// endChunk gives up the merge, wherever it is.
func (r *replayLog) endChunk() {
	if r.merge != nil {
		r.merge.Close()
		r.merge, r.untaken = nil, false
		r.chunk.Reset()
	}
}

// retention returns which versions Badger's compaction would keep now.
func (db *DB) retention() spillfile.Retention {
	r := spillfile.Retention{Versions: db.opt.NumVersionsToKeep, DiscardTs: db.pipe.Discardable()}
	if r.Versions <= 0 {
		r.Versions = math.MaxInt
	}
	return r
}
