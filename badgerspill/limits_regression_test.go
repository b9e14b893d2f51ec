package badgerspill

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestInterruptedDropWithoutASpill: a database whose spill is not made yet must open again after a DropAll that was interrupted,
// wherever that was.
func TestInterruptedDropWithoutASpill(t *testing.T) {
	for _, at := range []struct{ op, name string }{
		{"rename", dropName}, // before it is announced
		{"remove", dropName}, // before that is withdrawn
	} {
		t.Run(at.op, func(t *testing.T) {
			f := open(t, noSpill)
			f.put("k", "v")
			var dir string
			f.hooks.set(func(op, path string) error {
				if dir == "" && op == at.op && filepath.Base(path) == at.name {
					dir = crash(t, f.opt.Dir)
				}
				return nil
			})
			require.NoError(t, f.DropAll())
			f.hooks.clear()
			require.NotEmpty(t, dir)
			again, err := tryOpen(t, dir, noSpill)
			require.NoError(t, err)
			want := absent
			if at.op == "rename" {
				want = "v"
			}
			require.Equal(t, want, again.get("k"))
		})
	}
}
