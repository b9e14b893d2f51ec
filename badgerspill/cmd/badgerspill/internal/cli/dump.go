package cli

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/badgerspill/internal/place"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/frame"
	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/spillfile/check"
)

const dumpHelp = `Dump prints the entries of a spill that are not replayed, in commit order, one
JSON object a line, here broken in two:

  {"segment":3,"offset":4096,"seq":17,"ts":41,"version":41,"op":"set",
   "key":"user/7","value":"...","meta":0,"user_meta":0}

  segment, offset   where the commit begins; seq is its place in the log
  ts                commit timestamp; the entries of one commit follow one
                    another
  version           of the entry: ts, unless the program gave it another
  op                set or delete
  key, value        text, if it is valid UTF-8; otherwise the fields are key_hex
                    and value_hex, in hexadecimal. Either way every byte is
                    there. A delete has no value
  meta              Badger's bits: 1 delete, 4 discard earlier versions, 8 merge
                    operand
  user_meta         the byte that the program set
  expires_at        unix seconds; left out if it never expires. What has expired
                    is shown

It writes nothing. If a program has the database open, what it shows
may be moving, and it says so. Damage is named on standard error, the entries
behind it are shown, and the exit code is 1.`

func newDump() *cobra.Command {
	var flags place.Flags
	f := filter{to: math.MaxUint64}
	var prefixHex string
	cmd := &cobra.Command{
		Use:   "dump DIR",
		Short: "Print the entries of a spill as JSON lines",
		Long:  dumpHelp,
		Example: `  badgerspill dump /var/lib/app
  badgerspill dump --prefix user/ --from 1000 --to 2000 /var/lib/app
  badgerspill dump --prefix-hex 00ff --no-values /var/lib/app | jq -r .key_hex`,
		Args: oneDirectory,
		RunE: func(cmd *cobra.Command, args []string) error {
			if prefixHex != "" && f.prefix != "" {
				return &frame.UsageError{Err: errors.New("--prefix and --prefix-hex: give one of them")}
			}
			if prefixHex != "" {
				var err error
				if f.prefixBytes, err = hex.DecodeString(prefixHex); err != nil {
					return &frame.UsageError{Err: fmt.Errorf("--prefix-hex %s: must be hexadecimal digits, two for each byte", prefixHex)}
				}
			} else {
				f.prefixBytes = []byte(f.prefix)
			}
			if f.from > f.to {
				return &frame.UsageError{Err: fmt.Errorf("--from %d: must be at most --to %d", f.from, f.to)}
			}
			db, err := flags.Find(args[0])
			if err != nil {
				return err
			}
			return dump(cmd, db, &f)
		},
	}
	flags.Register(cmd)
	fl := cmd.Flags()
	fl.StringVar(&f.prefix, "prefix", "", "only keys that begin with this `text`")
	fl.StringVar(&prefixHex, "prefix-hex", "", "only keys that begin with these bytes, in `hexadecimal`")
	fl.Uint64Var(&f.from, "from", 0, "only versions from this `timestamp` on")
	fl.Uint64Var(&f.to, "to", math.MaxUint64, "only versions up to this `timestamp`, itself included")
	fl.BoolVar(&f.noValues, "no-values", false, "leave out the values")
	fl.Lookup("to").DefValue = "the last"
	return cmd
}

type filter struct {
	prefix      string
	prefixBytes []byte
	from, to    uint64
	noValues    bool
}

func (f *filter) takes(e *spillfile.Entry) bool {
	return e.Version >= f.from && e.Version <= f.to && bytes.HasPrefix(e.Key, f.prefixBytes)
}

// line is an entry as it is printed. Of key and its hexadecimal form one is there, and so with
// value, but for deletes.
type line struct {
	Segment   uint64  `json:"segment"`
	Offset    int64   `json:"offset"`
	Seq       uint64  `json:"seq"`
	Ts        uint64  `json:"ts"`
	Version   uint64  `json:"version"`
	Op        string  `json:"op"`
	Key       *string `json:"key,omitempty"`
	KeyHex    *string `json:"key_hex,omitempty"`
	Value     *string `json:"value,omitempty"`
	ValueHex  *string `json:"value_hex,omitempty"`
	Meta      byte    `json:"meta"`
	UserMeta  byte    `json:"user_meta"`
	ExpiresAt uint64  `json:"expires_at,omitempty"`
}

// represent returns b as text if no byte is lost by that, otherwise in hexadecimal.
func represent(b []byte) (asText, inHex *string) {
	var s string
	if utf8.Valid(b) {
		s = string(b)
		return &s, nil
	}
	s = hex.EncodeToString(b)
	return nil, &s
}

func dump(cmd *cobra.Command, db *place.Database, f *filter) error {
	lock, err := db.Source().Lock()
	live := errors.Is(err, spillfile.ErrLocked)
	switch {
	case live:
		fmt.Fprintf(cmd.ErrOrStderr(), "badgerspill: %s: %v: what is shown may be moving\n", db.Dir, db.Holders())
	case err != nil:
		return db.Explain(err)
	default:
		defer lock.Close()
	}
	in, err := check.Inspect(db.Source())
	if err != nil {
		return db.Explain(err)
	}
	if err := db.Judge(in); errors.Is(err, badgerspill.ErrMissingSpill) {
		return db.Explain(err)
	}
	out := bufio.NewWriterSize(cmd.OutOrStdout(), 64<<10)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	n, err := check.Walk(cmd.Context(), db.Source(), func(c *check.Commit) error {
		if c.Replayed {
			return nil
		}
		for i := range c.Entries {
			e := &c.Entries[i]
			if !f.takes(e) {
				continue
			}
			l := line{Segment: c.Segment, Offset: c.Offset, Seq: c.Seq, Ts: c.Ts, Version: e.Version, Op: "set",
				Meta: e.Meta, UserMeta: e.UserMeta, ExpiresAt: e.ExpiresAt}
			l.Key, l.KeyHex = represent(e.Key)
			if e.Meta&spillfile.MetaDelete != 0 {
				l.Op = "delete"
			} else if !f.noValues {
				l.Value, l.ValueHex = represent(e.Value)
			}
			if err := enc.Encode(l); err != nil {
				return err
			}
		}
		return nil
	})
	err = errors.Join(err, out.Flush())
	switch {
	case err != nil && live && errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: a segment was replayed and removed while it was read; try again: %w", db.Dir, err)
	case err != nil && cmd.Context().Err() != nil:
		return cmd.Context().Err()
	case err != nil:
		return db.Explain(err)
	case !n.Damaged():
		return nil
	case live:
		return fmt.Errorf("%s: not all of it could be read while it is being written to; try again, or stop the other process", db.Dir)
	}
	v := newVerdict(db, n)
	if err := v.printFaults(cmd.ErrOrStderr()); err != nil {
		return err
	}
	return fmt.Errorf("%s: %s, what is behind them was shown; \"badgerspill salvage %s\" gets out what is intact", db.SpillDir, plural(v.faults(), "fault"), db.Dir)
}
