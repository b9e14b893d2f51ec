package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"
)

// What is no log of a memtable counts as a whole: Open then says that it needs more than it does.
func TestMemLogThatIsNotUnderstood(t *testing.T) {
	path := filepath.Join(t.TempDir(), "00001.mem")
	header := strings.Repeat("x", MemLogHeader)
	for _, row := range []struct {
		name, data string
		want       int64
	}{
		{"not there", "", 100},
		{"shorter than its header", header[1:], 19},
		{"nothing but the header", header, 0},
		{"nothing written", header + strings.Repeat("\x00", 80), 0},
		{"an entry", header + "\x00\x00\x03\x02\x00keyvxcrc-" + strings.Repeat("\x00", 60), 14},
		{"a torn entry", header + "\x00\x00\x30\x02\x00key", 8},
		{"a length too large", header + "\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x02\x00", 14},
		{"no length", header + strings.Repeat("\xff", 80), 80},
		{"a filler", header + "\x00\x00\x0a\x00\x000123456789crc-" + strings.Repeat("\x00", 60), 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			require.NoError(t, os.RemoveAll(path))
			size := int64(100)
			if row.data != "" {
				require.NoError(t, os.WriteFile(path, []byte(row.data), 0o600))
				size = int64(len(row.data))
			}
			require.Equal(t, row.want, MemLogEntries(path, size, 2))
		})
	}
}

// TestFilesKeptOpen: a database that opens is not refused for descriptors that Badger does not
// take.
func TestFilesKeptOpen(t *testing.T) {
	opt := badger.DefaultOptions(t.TempDir())
	require.Equal(t, 3, FilesKeptOpen(opt))
	for _, name := range []string{"00001.mem", "000001.sst", "000002.sst", "000001.vlog", "MANIFEST", "LOCK", "BADGERSPILL"} {
		require.NoError(t, os.WriteFile(filepath.Join(opt.Dir, name), nil, 0o600))
	}
	require.Equal(t, 7, FilesKeptOpen(opt), "once, though both are that directory")
	opt.ValueDir = t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(opt.ValueDir, "000009.vlog"), nil, 0o600))
	require.Equal(t, 8, FilesKeptOpen(opt))
	opt.ValueDir = filepath.Join(opt.ValueDir, "missing")
	require.Equal(t, 7, FilesKeptOpen(opt))
}
