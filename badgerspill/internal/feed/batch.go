package feed

import (
	"context"
	"errors"
	"time"

	"github.com/badgerspill/badgerspill/replay"
	"github.com/badgerspill/badgerspill/spillfile"
)

// Replay implements replay.Log: it moves the next entries to Badger, in key order, or, when little
// is left, in log order.
func (f *Feed) Replay(_ context.Context, maxBytes int64) (done replay.Progress, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer func() { f.failed(err) }()
	f.draining()
	f.awaitLate()
	if f.mu.merge == nil {
		if err := f.beginChunk(); err != nil {
			return replay.Progress{}, err
		}
	}
	defer f.count()
	if f.mu.merge != nil {
		return f.replayChunk(maxBytes)
	}
	c := &f.mu.chunk
	if err := f.env.Log.ReadChunkInto(c, f.mu.pos, maxBytes); err != nil {
		return replay.Progress{}, err
	}
	n := len(c.Entries)
	if err := f.load(0, c.Next); err != nil {
		return replay.Progress{}, err
	}
	f.passed(c.Next, c.LastSeq)
	return replay.Progress{Bytes: c.RawBytes, Entries: int64(n), Drained: c.AtEnd}, nil
}

// load moves the chunk, which lies before to, to Badger and accounts for it. With a patience above
// 0 it is for a hand-over, and gives up after that: see loadWithin. Needs mu.
func (f *Feed) load(patience time.Duration, to spillfile.Position) error {
	entries, raw := f.mu.chunk.Entries, f.mu.chunk.RawBytes
	if len(entries) == 0 {
		return nil
	}
	// Ahead of Badger, whose log is mapped: a power cut must not leave there what the spill has
	// lost. If this fails, replay is what ends the trouble.
	if at := f.env.Log.State().Synced; at.Segment < to.Segment || at.Segment == to.Segment && at.Offset < to.Offset {
		_ = f.env.Log.Sync()
	}
	var memory int64
	var newest uint64
	for i := range entries {
		e := &entries[i]
		memory += f.opt.Memory(len(e.Key), len(e.Value))
		newest = max(newest, e.Version)
	}
	held := f.env.Guard.Blocked() // a hand-over has looked before it took the commit lock
	if patience == 0 {
		held = f.env.Guard.Replays(memory)
	}
	if held != nil {
		return held
	}
	claim, err := f.env.Room.Claim(memory, raw)
	if err != nil {
		return err
	}
	f.env.Room.InFlight(memory)
	load := func() error {
		defer f.env.Room.Settle(claim)
		if err := f.env.Badger.Load(entries); err != nil {
			f.env.Room.Refused(memory)
			return err
		}
		f.env.Room.Took(memory, newest)
		f.env.Audience.Loaded()
		return nil
	}
	if patience > 0 {
		err = f.loadWithin(load, patience)
	} else {
		err = load()
	}
	if err != nil {
		return err
	}
	f.env.Audience.Replayed(len(entries), raw)
	return nil
}

// errSlowHandOver is the error of a load that has outlasted the patience of a hand-over.
var errSlowHandOver = errors.New("the rest of the spill was not taken in time")

// loadWithin gives up after the patience, with errSlowHandOver. The load goes on then, and nothing
// else may be loaded, nor commits go to Badger directly, before it has ended: see awaitLate. Needs
// mu.
func (f *Feed) loadWithin(load func() error, patience time.Duration) error {
	answered := make(chan struct{})
	var answer error
	f.env.Background.Add(1)
	go func() {
		defer f.env.Background.Done()
		defer close(answered)
		answer = load()
	}()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-answered:
		return answer
	case <-timer.C:
	}
	// The chunk's buffers are Badger's until it answers: leave them to it.
	f.mu.late, f.mu.chunk = answered, spillfile.Chunk{}
	return errSlowHandOver
}

// awaitLate waits for the load of a hand-over that was given up. Whether or not it succeeded, the
// same entries are replayed again, which is harmless; but it must not bring them to Badger after
// newer commits (invariant I1). Needs mu.
func (f *Feed) awaitLate() {
	if f.mu.late != nil {
		<-f.mu.late
		f.mu.late = nil
	}
}
