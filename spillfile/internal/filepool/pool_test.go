package filepool

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile/vfs"
	"github.com/badgerspill/badgerspill/spillfile/vfs/vfstest"
)

// The pool alone, with more users than places, and files that are closed under them.
func TestPooledFilesUnderLoad(t *testing.T) {
	dir := t.TempDir()
	fsys := vfstest.NewDescriptors(vfs.OS)
	p := New(fsys, Min)
	const files = 3 * Min
	var all []*File
	for i := range files {
		path := filepath.Join(dir, fmt.Sprint(i))
		require.NoError(t, os.WriteFile(path, fmt.Appendf(nil, "%04d", i), 0o600))
		all = append(all, p.File(path, os.O_RDONLY))
	}
	var wg sync.WaitGroup
	for g := range 2 * Min {
		wg.Add(1)
		go func() {
			defer wg.Done()
			r := rand.New(rand.NewPCG(uint64(g), 2))
			for n := range 500 {
				i := r.IntN(files)
				if n == 250 && i%4 == 0 {
					if err := all[i].Close(); err != nil {
						t.Error(err)
					}
				}
				b := make([]byte, 4)
				if _, err := all[i].ReadAt(b, 0); err == nil {
					if string(b) != fmt.Sprintf("%04d", i) {
						t.Errorf("%d: %q", i, b)
					}
				} else if !errors.Is(err, ErrClosed) || i%4 != 0 {
					t.Error(err)
				}
			}
		}()
	}
	wg.Wait()
	require.LessOrEqual(t, fsys.Peak(), p.limit)
	for _, f := range all {
		require.NoError(t, f.Close())
	}
	require.Zero(t, fsys.Open())
	require.Zero(t, p.open)
	require.Empty(t, p.ring)
}
