package feed

import "context"

// Checkpoint implements replay.Log. Files go only after Badger has synced what was in them.
func (f *Feed) Checkpoint(context.Context) (err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer func() { f.failed(err) }()
	if err := f.notePassage(); err != nil {
		return err
	}
	if f.mu.seq == f.mu.noted {
		return f.env.Interlock.Drop() // an earlier try may have failed
	}
	if err := f.syncBadger(); err != nil {
		return err
	}
	if err := f.env.Guard.Lost(); err != nil { // the spill's copy may be the only one
		return err
	}
	if err := f.env.Log.MarkReplayed(f.mu.seq); err != nil {
		return err
	}
	f.mu.noted = f.mu.seq
	return f.released()
}

// released is called after a checkpoint or a hand-over, when less may be live. Needs mu.
func (f *Feed) released() error {
	f.count()
	f.env.Spill.Refresh()
	f.env.Pipeline.Replayed(f.mu.noted)
	return f.env.Interlock.Drop()
}

// syncBadger makes durable what Badger has of the spill, unless it is. Needs mu.
func (f *Feed) syncBadger() error {
	if f.mu.synced == f.mu.seq {
		return nil
	}
	if err := f.env.Badger.Sync(); err != nil {
		return err
	}
	f.mu.synced = f.mu.seq
	return nil
}
