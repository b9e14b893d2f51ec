package integration_test

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/spillfile"
)

// Directories that an earlier layer has left, made by the command formats. Its doc says what is in
// an archive. Their commits are of November 2026: with a clock that is before that they are due,
// and replay begins by itself.

const (
	formatsDir = "testdata/formats"
	formatsKey = "0123456789abcdef0123456789abcdef" // of those that are encrypted
)

// format is what is known of one of them.
type format struct {
	killed  bool // Badger's logs are as a kill leaves them
	drained bool // nothing is in the spill, or will be once an announced drop is finished
	drop    bool // a drop is announced
}

var formats = map[string]format{
	"plain":                   {},
	"encrypted":               {},
	"hedged":                  {killed: true},
	"half-replayed":           {killed: true},
	"drop-prefix-interrupted": {killed: true, drop: true, drained: true},
	"drop-all-interrupted":    {killed: true, drop: true, drained: true},
	"drop-done":               {},
	"badger-4.0.1":            {},
	"badger-4.2.0":            {},
	"badger-4.5.0":            {},
	"badger-4.8.0":            {},
}

// unpackFormat returns options for a fresh copy of a directory, and the hashes of its values by
// key, "" for a key that must be gone.
func unpackFormat(t *testing.T, name string) (o badgerspill.Options, keys map[string]string) {
	t.Helper()
	above, keys := t.TempDir(), map[string]string{}
	f, err := os.Open(filepath.Join(formatsDir, name+".tar.gz"))
	require.NoError(t, err)
	defer f.Close()
	zip, err := gzip.NewReader(f)
	require.NoError(t, err)
	for archive := tar.NewReader(zip); ; {
		h, err := archive.Next()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		path := filepath.Join(above, h.Name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		b, err := io.ReadAll(archive)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, b, 0o600))
	}
	list, err := os.Open(filepath.Join(above, "keys.txt"))
	require.NoError(t, err)
	defer list.Close()
	for lines := bufio.NewScanner(list); lines.Scan(); {
		f := strings.Fields(lines.Text() + " ")
		if f[0] == "-" {
			keys[f[1]] = ""
		} else {
			keys[f[1]] = f[2]
		}
	}
	require.Greater(t, len(keys), 100)
	o = layer(filepath.Join(above, "db")).WithQuiet(1, time.Hour).WithMaxSpillAge(100 * 365 * 24 * time.Hour).
		WithSegmentSize(4 << 10) // so that what is there is a chunk of replay
	if name == "encrypted" {
		o = o.WithEncryptionKey([]byte(formatsKey)).WithIndexCacheSize(1 << 20)
	}
	return o, keys
}

// requireFormatIn compares what a database holds with what it must hold.
func requireFormatIn(t *testing.T, db side, keys map[string]string) {
	t.Helper()
	require.NoError(t, db.View(func(txn sideTxn) error {
		want := 0
		for k, hash := range keys {
			it, err := txn.Read([]byte(k))
			if hash == "" {
				require.ErrorIs(t, err, badger.ErrKeyNotFound, k)
				continue
			}
			want++
			require.NoError(t, err, k)
			value, err := it.ValueCopy(nil)
			require.NoError(t, err, k)
			sum := sha256.Sum256(value)
			require.Equal(t, hash, fmt.Sprintf("%x", sum[:8]), k)
		}
		got := 0
		it := txn.Iter(badger.IteratorOptions{})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			got++
			k := string(it.Head().KeyCopy(nil))
			require.NotEmpty(t, keys[k], k)
		}
		require.Equal(t, want, got)
		return nil
	}))
}

func requireFormatOf(t *testing.T, db *badgerspill.DB, keys map[string]string) {
	t.Helper()
	requireFormatIn(t, spillSideOf(db), keys)
}

// requireFormatPlain opens it with plain Badger.
func requireFormatPlain(t *testing.T, o badgerspill.Options, keys map[string]string) {
	t.Helper()
	p, err := badger.Open(o.Badger())
	require.NoError(t, err)
	requireFormatIn(t, plainSideOf(p), keys)
	require.NoError(t, p.Close())
}

// What an earlier layer has left opens today, in every way, with all that it held.
func TestFormatsOfAnEarlierLayer(t *testing.T) {
	archives, err := filepath.Glob(filepath.Join(formatsDir, "*.tar.gz"))
	require.NoError(t, err)
	require.Len(t, archives, len(formats))
	for name, f := range formats {
		t.Run(name, func(t *testing.T) {
			t.Run("replayed", func(t *testing.T) {
				o, keys := unpackFormat(t, name)
				db := openSpill(t, o.WithQuiet(1e12, time.Millisecond))
				requireFormatOf(t, db, keys)
				require.NoError(t, db.Drain(context.Background()))
				requireFormatOf(t, db, keys)
				require.NoError(t, db.Close())
				requireFormatPlain(t, o, keys)
			})
			t.Run("kept", func(t *testing.T) {
				o, keys := unpackFormat(t, name)
				kept := o.WithKeepSpillOnClose(true)
				for range 2 {
					db := openSpill(t, kept)
					requireFormatOf(t, db, keys)
					require.Equal(t, f.drained, db.SpillStats().SpillPending == 0)
					require.NoError(t, db.Close())
					require.NoFileExists(t, filepath.Join(o.Dir, "BADGERSPILL-DROP"))
					if !f.drained {
						plainRefused(t, o.Badger())
					}
				}
				db := openSpill(t, spilled(kept)) // and goes on
				set(t, db, "today", "written")
				sum := sha256.Sum256([]byte("written"))
				keys["today"] = fmt.Sprintf("%x", sum[:8])
				require.NoError(t, db.Close())
				db = openSpill(t, o)
				requireFormatOf(t, db, keys)
				require.NoError(t, db.Close())
				requireFormatPlain(t, o, keys)
			})
			t.Run("read-only", func(t *testing.T) {
				o, keys := unpackFormat(t, name)
				kept := o.WithKeepSpillOnClose(true)
				if f.killed { // as with plain Badger, the logs are to be cut first
					before := hashes(t, filepath.Join(o.Dir, "spill"))
					_, err := badgerspill.Open(o.WithReadOnly(true))
					require.Error(t, err)
					require.Equal(t, before, hashes(t, filepath.Join(o.Dir, "spill")))
					require.NoError(t, openSpill(t, kept).Close())
				}
				before := hashes(t, o.Dir)
				db := openSpill(t, o.WithReadOnly(true))
				requireFormatOf(t, db, keys)
				require.NoError(t, db.Close())
				require.Equal(t, before, hashes(t, o.Dir))
			})
			t.Run("without a spill", func(t *testing.T) {
				o, keys := unpackFormat(t, name)
				db := openSpill(t, o.WithSpillPolicy(badgerspill.Never))
				requireFormatOf(t, db, keys)
				require.NoError(t, db.Close())
				requireFormatPlain(t, o, keys)
			})
		})
	}
}

// The command, on one of them.
func TestCommandOnAnEarlierFormat(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "badgerspill.exe")
	out, err := goCommand(t, "..", "build", "-o", bin, "./badgerspill/cmd/badgerspill")
	require.NoError(t, err, "%s", out)
	o, keys := unpackFormat(t, "plain")
	for _, verb := range []string{"info", "verify", "drain"} {
		out, err := exec.CommandContext(t.Context(), bin, verb, o.Dir).CombinedOutput()
		require.NoError(t, err, "%s: %s", verb, out)
	}
	requireFormatPlain(t, o, keys)
}

// A place of replay in a format that is not known costs time and nothing else: it is as if there
// were none, and it goes with what is replayed.
func TestPlaceOfANewerFormat(t *testing.T) {
	o, keys := unpackFormat(t, "half-replayed")
	o = o.WithNumVersionsToKeep(1).WithKeepSpillOnClose(true)
	place := filepath.Join(o.Dir, "spill", "REPLAY")
	db := openSpill(t, o.WithQuiet(1e12, time.Millisecond).WithReplayMaxRate(1<<20))
	require.Eventually(t, func() bool { return db.SpillStats().BytesReplayed > 1<<20 }, time.Minute, time.Millisecond)
	require.NoError(t, db.Close())
	b, err := os.ReadFile(place)
	require.NoError(t, err)
	binary.LittleEndian.PutUint32(b[8:], binary.LittleEndian.Uint32(b[8:])+1)
	require.NoError(t, os.WriteFile(place, b, 0o600))

	db = openSpill(t, o)
	requireFormatOf(t, db, keys)
	require.Positive(t, db.SpillStats().SpillPending)
	require.NoError(t, db.Drain(context.Background()))
	require.NoFileExists(t, place)
	requireFormatOf(t, db, keys)
	require.NoError(t, db.Close())
	requireFormatPlain(t, o, keys)
}

// NEWEST in a format that is not known may say of a segment that it must be there. So it is
// refused, whichever slot it is in.
func TestNewestOfANewerFormat(t *testing.T) {
	o, keys := unpackFormat(t, "plain")
	o = o.WithKeepSpillOnClose(true)
	newest := filepath.Join(o.Dir, "spill", "NEWEST")
	for range 2 { // a note in each slot
		db := openSpill(t, spilled(o))
		set(t, db, "today", "written")
		require.NoError(t, db.Close())
	}
	sum := sha256.Sum256([]byte("written"))
	keys["today"] = fmt.Sprintf("%x", sum[:8])
	intact, err := os.ReadFile(newest)
	require.NoError(t, err)
	for _, slot := range []int{0, 512} {
		b := append([]byte(nil), intact...)
		binary.LittleEndian.PutUint32(b[slot+8:], 2)
		require.NoError(t, os.WriteFile(newest, b, 0o600))
		for _, readOnly := range []bool{false, true} {
			before := hashes(t, o.Dir)
			_, err := badgerspill.Open(o.WithReadOnly(readOnly))
			var version *spillfile.VersionError
			require.ErrorAs(t, err, &version)
			require.Equal(t, newest, version.File)
			require.EqualValues(t, 2, version.Found)
			require.NotErrorIs(t, err, badgerspill.ErrCorrupt)
			require.Equal(t, before, hashes(t, o.Dir))
		}
	}
	require.NoError(t, os.WriteFile(newest, intact, 0o600))
	requireFormatOf(t, openSpill(t, o), keys)
}
