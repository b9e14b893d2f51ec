package badgerspill

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDiskSpace: a volume is told once, with the floor that holds on it, and one that the spill has
// of its own by itself.
func TestDiskSpace(t *testing.T) {
	for _, row := range []struct {
		name     string
		separate bool
		want     func(dir string) []DiskSpace
	}{
		{"one volume", false, func(dir string) []DiskSpace {
			return []DiskSpace{{Dir: dir, Free: 1 << 30, Total: 1 << 40, Floor: testFloor}}
		}},
		{"two volumes", true, func(dir string) []DiskSpace {
			return []DiskSpace{
				{Dir: dir, Free: 1 << 30, Total: 1 << 40, Floor: testFloor},
				{Dir: filepath.Join(dir, "spill"), Free: 1 << 29, Total: 1 << 40, Floor: testFloor},
			}
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := newDisks(1 << 30)
			d.separate = row.separate
			d.spillFree.Store(1 << 29)
			f := open(t, on(d))
			require.Equal(t, row.want(f.opt.Dir), f.DiskSpace())
			require.NoError(t, f.Close())
			require.Nil(t, f.DiskSpace())
		})
	}
}

func TestDiskSpaceWithoutACheckAndInMemory(t *testing.T) {
	d := newDisks(1 << 30)
	f := open(t, on(d), func(opt *Options) { opt.MinFreeSpace = Off })
	require.Equal(t, []DiskSpace{{Dir: f.opt.Dir, Free: 1 << 30, Total: 1 << 40}}, f.DiskSpace())

	db, err := Open(DefaultOptions("").WithInMemory(true).WithLogger(nil))
	require.NoError(t, err)
	defer db.Close()
	require.Nil(t, db.DiskSpace())
}
