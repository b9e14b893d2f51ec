package host

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
)

func TestDamagedEndsOfTables(t *testing.T) {
	for _, encrypted := range []bool{false, true} {
		opt := badger.DefaultOptions(t.TempDir()).WithLogger(nil)
		if encrypted {
			opt = opt.WithEncryptionKey(slices.Repeat([]byte{7}, 32)).WithIndexCacheSize(1 << 20)
		}
		db, err := badger.Open(opt)
		require.NoError(t, err)
		require.NoError(t, db.Update(func(txn *badger.Txn) error { return txn.Set([]byte("k"), []byte("v")) }))
		require.NoError(t, db.Close())
		tables, err := filepath.Glob(filepath.Join(opt.Dir, "*.sst"))
		require.NoError(t, err)
		require.Len(t, tables, 1)
		path := tables[0]
		whole, err := os.ReadFile(path)
		require.NoError(t, err)
		n := len(whole)
		sum := int(whole[n-1]) // bytes of the checksum
		require.Less(t, sum, maxChecksum)
		other, err := proto.Marshal(&pb.Checksum{Algo: 9, Sum: 1 << 40})
		require.NoError(t, err)

		for _, tt := range []struct {
			name   string
			change func(b []byte) []byte
			want   string // part of the error, "" for none
		}{
			{"as it was", func(b []byte) []byte { return b }, ""},
			{"the last byte is missing", func(b []byte) []byte { return b[:n-1] }, "checksum"},
			{"half of it is missing", func(b []byte) []byte { return b[:n/2] }, "bytes: "},
			{"nothing is left, which Badger notices", func([]byte) []byte { return nil }, ""},
			{"three bytes are left", func(b []byte) []byte { return b[:3] }, "no end"},
			{"all zeros", func([]byte) []byte { return make([]byte, n) }, "index cannot be of 0 bytes"},
			{"its end is zeros", func(b []byte) []byte { clear(b[n-20-sum:]); return b }, "index cannot be of 0 bytes"},
			{"a long checksum", func(b []byte) []byte { b[n-3] = 1; return b }, "checksum"},
			{"a checksum that is none, which Badger notices", func(b []byte) []byte { b[n-4-sum] = 0xff; return b }, ""},
			{"another algorithm", func(b []byte) []byte {
				b = append(b[:n-4-sum], other...)
				return append(b, 0, 0, 0, byte(len(other)))
			}, "no kind that there is, 9"},
			{"a long index", func(b []byte) []byte { b[n-4-sum-4] = 1; return b }, "index cannot be of"},
			{"an index of nothing", func(b []byte) []byte { clear(b[n-4-sum-4 : n-4-sum]); return b }, "index cannot be of 0 bytes"},
			{"a checksum and no more", func(b []byte) []byte { return b[n-4-sum:] }, "no index"},
			{"another index, which Badger notices", func(b []byte) []byte { b[n-4-sum-4-8]++; return b }, ""},
		} {
			t.Run(tt.name, func(t *testing.T) {
				require.NoError(t, os.WriteFile(path, tt.change(slices.Clone(whole)), 0o600))
				err := CheckTables(opt)
				if tt.want == "" {
					require.NoError(t, err)
					return
				}
				require.ErrorContains(t, err, path)
				require.ErrorContains(t, err, tt.want)
				require.ErrorContains(t, err, "1 of 1 tables")
			})
		}
		require.NoError(t, os.Remove(path))
		require.NoError(t, CheckTables(opt), "it is left to Badger")
		require.NoError(t, os.Mkdir(path, 0o700))
		require.ErrorContains(t, CheckTables(opt), path, "it cannot be read")
		require.NoError(t, os.WriteFile(filepath.Join(opt.Dir, badger.ManifestFilename), []byte("no manifest"), 0o600))
		require.NoError(t, CheckTables(opt), "it is left to Badger")
		require.NoError(t, os.Remove(filepath.Join(opt.Dir, badger.ManifestFilename)))
		require.NoError(t, CheckTables(opt), "it is left to Badger")
	}
}
