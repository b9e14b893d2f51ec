package cli

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/frame"
)

// lines parses what dump prints, with keys and values as the bytes that they were.
func lines(t *testing.T, out string) (all []line) {
	t.Helper()
	for text := range strings.Lines(out) {
		var l line
		dec := json.NewDecoder(strings.NewReader(text))
		dec.DisallowUnknownFields()
		require.NoError(t, dec.Decode(&l), text)
		l.Key, l.KeyHex = bytesOf(t, l.Key, l.KeyHex), nil
		if l.Value != nil || l.ValueHex != nil {
			l.Value, l.ValueHex = bytesOf(t, l.Value, l.ValueHex), nil
		}
		all = append(all, l)
	}
	return all
}

func bytesOf(t *testing.T, text, inHex *string) *string {
	t.Helper()
	require.True(t, (text == nil) != (inHex == nil), "one of the two")
	if text != nil {
		return text
	}
	b, err := hex.DecodeString(*inHex)
	require.NoError(t, err)
	s := string(b)
	return &s
}

// state is what the entries amount to.
func state(all []line) map[string]string {
	m := map[string]string{}
	for _, l := range all {
		if l.Op == "delete" {
			delete(m, *l.Key)
		} else {
			m[*l.Key] = *l.Value
		}
	}
	return m
}

func TestDumpShowsEveryEntry(t *testing.T) {
	for name, key := range map[string][]byte{"plaintext": nil, "encrypted": []byte("0123456789abcdef")} {
		t.Run(name, func(t *testing.T) {
			d := spilled(t, 100, key)
			args := []string{"dump", d.dir}
			if key != nil {
				code, _, stderr := built(t, args...)
				require.Equal(t, frame.Failed, code)
				require.Contains(t, stderr, "-encryption-key-file")
				args = append(args, "-encryption-key-file", keyFile(t, string(key)))
			}
			before := tree(t, d.dir)
			all := lines(t, ok(t, args...))
			require.Len(t, all, 100)
			require.Equal(t, d.want, state(all))
			require.Equal(t, before, tree(t, d.dir))
			for i, l := range all {
				require.EqualValues(t, i+1, l.Ts)
				require.EqualValues(t, i+1, l.Version)
				require.EqualValues(t, i+1, l.Seq)
				switch i % 10 {
				case 5:
					require.Equal(t, "delete", l.Op)
					require.EqualValues(t, 1, l.Meta)
					require.Nil(t, l.Value)
				case 7:
					require.EqualValues(t, 9, l.UserMeta)
					require.Positive(t, l.ExpiresAt)
				default:
					require.Equal(t, "set", l.Op)
					require.Zero(t, l.ExpiresAt)
				}
			}
		})
	}
}

func TestDumpFilters(t *testing.T) {
	d := spilled(t, 100, nil)
	versions := func(args ...string) (v []uint64) {
		for _, l := range lines(t, ok(t, append([]string{"dump", d.dir}, args...)...)) {
			v = append(v, l.Version)
		}
		return v
	}
	require.Equal(t, []uint64{40, 41, 42}, versions("-from", "40", "-to", "42"))
	require.Len(t, versions("-from", "40"), 61)
	require.Len(t, versions("-to", "40"), 40)
	require.Empty(t, versions("-from", "1000"))
	require.Equal(t, []uint64{100}, versions("-prefix", "key/0099"))
	require.Equal(t, []uint64{100}, versions("-prefix", "key/009", "-from", "99", "--no-values", "-to", "100")[1:])
	require.Len(t, versions("-prefix-hex", "ff00"), 10)
	require.Equal(t, []uint64{44}, versions("-prefix-hex", "FF00"+hex.EncodeToString([]byte("0043"))))
	for _, l := range lines(t, ok(t, "dump", d.dir, "-no-values")) {
		require.Nil(t, l.Value)
	}
}

// What is no text and what only looks like an escape: every byte comes back.
func TestDumpLosesNoByte(t *testing.T) {
	d := &database{dir: t.TempDir(), want: map[string]string{}}
	db, err := badgerspill.Open(spillOptions(d.dir, nil))
	require.NoError(t, err)
	for i, s := range []string{"\x00", "\xff", "ä", "ä"[:1], "\\u00ff", "<&>\u2028", "\ufffd", "\xed\xa0\x80", "\"\n\t", strings.Repeat("\xfe", 100)} {
		key := fmt.Sprintf("%d%s", i, s)
		d.want[key] = s
		require.NoError(t, db.Update(func(txn *badgerspill.Txn) error { return txn.Set([]byte(key), []byte(s)) }))
	}
	require.NoError(t, db.Close())
	require.Equal(t, d.want, state(lines(t, ok(t, "dump", d.dir))))
}

func TestDumpOfOtherDatabases(t *testing.T) {
	t.Run("plain Badger", func(t *testing.T) {
		require.Empty(t, ok(t, "dump", plainBadger(t).dir))
	})
	t.Run("corrupt", func(t *testing.T) {
		d := spilled(t, 100, nil)
		segment := d.segments(t)[0]
		flip(t, segment, 192+60)
		code, out, stderr := built(t, "dump", d.dir)
		require.Equal(t, frame.Failed, code)
		require.Len(t, lines(t, out), 99)
		require.Contains(t, stderr, segment+":192: damage")
		require.Contains(t, stderr, "salvage")
	})
	t.Run("another process has it open", func(t *testing.T) {
		d := spilled(t, 100, nil)
		db, err := badgerspill.Open(spillOptions(d.dir, nil))
		require.NoError(t, err)
		code, out, stderr := built(t, "dump", d.dir)
		require.NoError(t, db.Close())
		require.Zero(t, code, stderr)
		require.Contains(t, stderr, "may be moving")
		require.Equal(t, d.want, state(lines(t, out)))
	})
	t.Run("the spill is elsewhere", func(t *testing.T) {
		d := spilled(t, 10, nil)
		elsewhere := filepath.Join(t.TempDir(), "spill")
		require.NoError(t, os.Rename(filepath.Join(d.dir, "spill"), elsewhere))
		code, _, stderr := built(t, "dump", d.dir)
		require.Equal(t, frame.Failed, code)
		require.Contains(t, stderr, "-spill-dir")
		require.Len(t, lines(t, ok(t, "dump", "-spill-dir="+elsewhere, d.dir)), 10)
	})
}
