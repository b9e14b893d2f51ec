package feed

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
	// chunkShare is the share of the capacity that one chunk takes below the high-water mark; above
	// it is a piece. The larger it is the less Badger has to compact; but room comes free only at
	// the end of a chunk, and commits that the spill's filling slows wait for that.
	chunkShare = 4
)

// beginChunk starts to merge what is spilled, if that is enough to be worth it. Needs mu.
func (f *Feed) beginChunk() error {
	m, log, spill := &f.mu, f.env.Log, f.env.Spill
	if p := m.resume; p != nil {
		m.resume = nil
		if m.merge = log.ResumeMerge(m.pos, *p); m.merge != nil {
			m.foreign = false
			if _, yes := f.draining(); yes { // what was done before is not what this drain does
				m.drain.bytes -= f.chunkDone()
			}
			return nil
		}
	}
	if m.foreign {
		if err := log.VoidPlace(); err != nil {
			return err
		}
		m.foreign = false
	}
	behind := log.Behind(m.pos)
	if behind <= spill.SegmentSize()/inOrderShare {
		return nil
	}
	most := spill.Capacity() / chunkShare
	if m.bySegment {
		most = 0
	} else if float64(spill.Usage()) >= f.opt.HighWater*float64(spill.Capacity()) {
		most = spill.Piece()
	}
	most = min(most, f.env.Room.ChunkRoom())
	if behind <= most { // all of it is one chunk, what is being written too
		if err := log.Seal(); err != nil {
			return err
		}
	}
	// what came before it counts as given, too
	m.merge, m.passage = log.NewMerge(m.pos, most), passage{vlog: m.synced != m.seq}
	return nil
}

// replayChunk moves the next entries of the merge to Badger. Needs mu.
func (f *Feed) replayChunk(maxBytes int64) (replay.Progress, error) {
	m := &f.mu
	if !m.untaken {
		leftOut, err := m.merge.Next(&m.chunk, maxBytes, f.retention())
		if err != nil {
			return f.breakOff(err)
		}
		f.env.Audience.LeftOut(leftOut)
		m.untaken = len(m.chunk.Entries) > 0
	}
	if !m.untaken {
		f.passed(m.merge.End(), m.merge.LastSeq())
		skipped := max(0, m.merge.Bytes()-m.passage.given)
		f.endChunk()
		m.passage = passage{}
		st := f.env.Log.State()
		return replay.Progress{Skipped: skipped, Drained: st.Queued == 0 && m.seq >= st.LastSeq}, nil
	}
	if err := f.load(0, m.merge.End()); err != nil {
		return replay.Progress{}, err
	}
	m.untaken = false
	return replay.Progress{Bytes: m.chunk.RawBytes, Entries: int64(len(m.chunk.Entries)), Midway: true, Synced: f.countBatch()}, nil
}

// breakOff gives up a chunk that could not be read, to go on at the same key. Damage in one of
// several segments is no error yet: they are replayed one after the other from where the chunk
// began, so that what lies before the damage reaches Badger. Needs mu.
func (f *Feed) breakOff(err error) (replay.Progress, error) {
	m := &f.mu
	several, at := m.merge.Segments() > 1, m.merge.Place()
	if _, yes := f.draining(); yes {
		m.drain.bytes += f.chunkDone()
	}
	f.endChunk()
	m.resume = &at
	if several && errors.Is(err, spillfile.ErrCorrupt) {
		m.bySegment, m.resume, m.foreign, m.passage = true, nil, true, passage{}
		return replay.Progress{Midway: true}, nil
	}
	return replay.Progress{}, err
}

// endChunk gives up the merge, wherever it is. Needs mu.
func (f *Feed) endChunk() {
	m := &f.mu
	if m.merge != nil {
		m.merge.Close()
		m.merge, m.untaken = nil, false
		m.chunk.Reset()
	}
}

// chunkDone returns how many bytes of the chunk's segments, on disk, are in Badger, about. Needs
// mu.
func (f *Feed) chunkDone() int64 {
	m := &f.mu
	if m.merge == nil {
		return 0
	}
	chunk := f.env.Log.Behind(m.pos) - f.env.Log.Behind(m.merge.End())
	return int64(float64(chunk) * m.merge.Share())
}

// retention returns which versions Badger's compaction would keep now.
func (f *Feed) retention() spillfile.Retention {
	r := spillfile.Retention{Versions: f.opt.Versions, DiscardTs: f.env.Pipeline.Discardable()}
	if r.Versions <= 0 {
		r.Versions = math.MaxInt
	}
	return r
}
