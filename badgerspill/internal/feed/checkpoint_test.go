//go:build go1.25

package feed

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// A checkpoint that fails lets go of nothing, and the next one does it.
func TestCheckpointThatFails(t *testing.T) {
	for what, c := range map[string]struct {
		change func(w *world, err error)
		steps  []string
	}{
		"Badger cannot be synced": {func(w *world, err error) { w.badger.failSync = err }, []string{"sync Badger"}},
		"tables are lost":         {func(w *world, err error) { w.guard.lost = err }, []string{"sync Badger"}},
		"the manifest": {func(w *world, err error) {
			w.disk.SetFault(func(op, path string) error {
				if op == "rename" {
					return err
				}
				return nil
			})
		}, []string{"sync Badger", "manifest"}},
	} {
		t.Run(what, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.put("a", "1")
				w.replay(1 << 20)
				c.change(w, errFake)
				w.steps()
				require.ErrorIs(t, w.Checkpoint(context.Background()), errFake)
				require.Equal(t, c.steps, w.steps())
				require.Zero(t, w.pipeline.replayed)
				require.EqualValues(t, 1, w.log.State().LiveBatches)
				c.change(w, nil)
				w.checkpoint()
				require.EqualValues(t, 1, w.pipeline.replayed)
				require.Zero(t, w.log.State().LiveBatches)
			})
		})
	}
}

// What a power cut leaves at any moment: Badger has, synced, what the spill does not have any more.
func TestNothingIsLostInAPowerCut(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		keys := w.fill(40)
		cuts := 0
		w.disk.SetFault(func(op, path string) error {
			left := w.disk.OnlySynced()
			w.badger.mu.Lock() // files go in a goroutine of the log's
			defer w.badger.mu.Unlock()
			cuts++
			segments := 0
			for name := range left.Files() {
				if segment(name) {
					segments++
				}
			}
			for i, key := range keys {
				if segments == 0 && w.badger.synced[key] != uint64(i+1) {
					t.Errorf("before %s of %s %s is nowhere", op, path, key)
				}
			}
			return nil
		})
		w.drained()
		synctest.Wait()
		require.Positive(t, cuts)
	})
}
