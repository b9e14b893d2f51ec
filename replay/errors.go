package replay

import "errors"

// ErrStopped ends a Drain when the replayer is stopped before the spill is empty.
var ErrStopped = errors.New("replay: replayer is stopped")
