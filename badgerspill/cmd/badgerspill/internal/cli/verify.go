package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/badgerspill/internal/place"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/badgerspill/internal/progress"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/badgerspill/internal/terminal"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/frame"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/text"
	"github.com/badgerspill/badgerspill/spillfile/check"
)

const verifyHelp = `Verify reads the manifest of a spill, every block of every segment that is not
wholly replayed, and every block of its index files; checks them, and holds each
index against its segment. It writes nothing and changes nothing, and goes on
after a fault to name all of them, one a line:

  FILE:OFFSET: kind: what is wrong

  damage         bytes that were durable are wrong or gone: Open fails, or a
                 read will. "badgerspill salvage" gets out what is intact
  torn tail      what a kill or a power cut left of a commit: the next Open cuts
                 it off
  damaged index  it is made again from its segment; nothing is lost

Badger's own files are not checked; DB.VerifyChecksum does that.

While a program has the database open its files are read beside it, at 64 MiB a
second at most, and without a lock; a fault counts if it is found twice. The end
of the newest segment, which is being written, is not checked then, nor whether
Open would take the spill. DB.VerifySpill does the same inside of the program.

With --json the result is one object: sound, faults with file, offset, kind and
reason, and the numbers; progress still goes to standard error.

Exit code 0: sound, a torn tail included. 1: there are faults. 2: it could not
be checked.`

const exitUnchecked = 2

func newVerify() *cobra.Command {
	var flags place.Flags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify DIR",
		Short: "Read and check every block, index and the manifest of a spill; name file and offset of each fault",
		Long:  verifyHelp,
		Example: `  badgerspill verify /var/lib/app
  badgerspill verify --json /var/lib/app | jq .faults
  badgerspill verify --encryption-key-file key /var/lib/app && echo sound`,
		Args: oneDirectory,
		RunE: func(cmd *cobra.Command, args []string) error {
			db, err := flags.Find(args[0])
			var v *verdict
			if err == nil {
				v, err = verify(cmd, db)
			}
			switch {
			case err == nil:
			case cmd.Context().Err() != nil:
				return err
			default:
				return &frame.ExitError{Code: exitUnchecked, Err: fmt.Errorf("could not check: %w", err)}
			}
			if asJSON {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				err = enc.Encode(v)
			} else {
				err = v.print(cmd.OutOrStdout())
			}
			return errors.Join(err, v.exit())
		},
	}
	flags.Register(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the result as JSON")
	return cmd
}

// verdict is what verify found. Sizes are bytes.
type verdict struct {
	Dir      string  `json:"dir"`
	SpillDir string  `json:"spill_dir"`
	Exists   bool    `json:"exists"` // there is a spill
	Sound    bool    `json:"sound"`  // no faults, but for torn tails
	InUse    bool    `json:"in_use"` // by another: the newest segment's end was not checked
	Faults   []fault `json:"faults"` // torn tails, too
	Segments int     `json:"segments"`
	Bytes    int64   `json:"bytes"` // of segments
	Blocks   int64   `json:"blocks"`
	Commits  int64   `json:"pending_commits"` // 0 if it is in use, as the entries
	Entries  int64   `json:"pending_entries"`
	Indexes  int     `json:"indexes"`
	// commits that the next Open drops, after a torn one that was never synced
	Dropped int64 `json:"dropped_by_open,omitempty"`
	// Refused is why Open would not take the spill, for another reason than faults.
	Refused string `json:"refused,omitempty"`
	// Salvage: there is damage, which "badgerspill salvage" gets around.
	Salvage bool `json:"salvage,omitempty"`
}

type fault struct {
	File   string `json:"file"`
	Offset int64  `json:"offset"`
	Kind   string `json:"kind"`
	Reason string `json:"reason"`
	// Note says more, to people who read the lines.
	note string
	torn bool
}

func newVerdict(db *place.Database, n *check.Findings) *verdict {
	v := &verdict{Dir: db.Dir, SpillDir: db.SpillDir, Exists: true, Faults: []fault{},
		Segments: n.Segments, Bytes: n.Bytes, Blocks: n.Blocks, Indexes: n.Indexes, Salvage: n.Damaged()}
	for _, f := range n.Faults {
		v.Faults = append(v.Faults, fault{File: f.File, Offset: f.Offset, Kind: fmt.Sprint(f.Kind), Reason: f.Reason, torn: f.Kind == check.Torn})
	}
	v.Sound = v.faults() == 0
	return v
}

// faults counts those that are none of a kill.
func (v *verdict) faults() (n int) {
	for _, f := range v.Faults {
		if !f.torn {
			n++
		}
	}
	return n
}

// add adds a fault in the file of the identity.
func (v *verdict) add(db *place.Database, err error, note string) {
	v.Sound = false
	v.Faults = append(v.Faults, fault{File: db.IdentityPath(), Kind: fmt.Sprint(check.Damage), Reason: err.Error(), note: note})
}

// verify checks. An error is why it could not.
func verify(cmd *cobra.Command, db *place.Database) (*verdict, error) {
	lock, err := db.Source().Lock()
	if errors.Is(err, badgerspill.ErrLocked) {
		return verifyInUse(cmd, db)
	}
	if err != nil {
		return nil, db.Explain(err)
	}
	defer lock.Close()
	in, err := check.Inspect(db.Source())
	if err != nil {
		return nil, db.Explain(err)
	}
	judged := db.Judge(in)
	// whose the spill is; it is checked nevertheless
	unknown := errors.Is(judged, badgerspill.ErrForeignSpill) && !db.Known
	if errors.Is(judged, badgerspill.ErrMissingSpill) || errors.Is(judged, badgerspill.ErrForeignSpill) && !unknown {
		return nil, db.Explain(judged)
	}
	show, done := checking(cmd)
	n, err := check.Verify(cmd.Context(), db.Source(), show)
	done()
	if err != nil {
		return nil, db.Explain(err)
	}
	v := newVerdict(db, n)
	v.Exists, v.Commits, v.Entries = in.Exists, n.Commits, n.Entries
	switch {
	case unknown:
		v.add(db, judged, "")
	case db.BadID != nil:
		v.add(db, db.BadID, "; no commits are pending: the next Open writes it anew")
	}
	if judged != nil && !unknown && in.Exists {
		v.Refused = judged.Error()
	}
	v.Dropped = dropped(n)
	return v, nil
}

// dropped is how many intact commits behind a torn place the next Open drops: after a power cut it
// keeps a prefix of the log.
func dropped(n *check.Findings) int64 {
	if n.Damaged() {
		return 0
	}
	return n.AfterLoss
}

// droppedByOpen is a line about them, "" if there are none.
func droppedByOpen(dropped int64, dir string) string {
	if dropped == 0 {
		return ""
	}
	return fmt.Sprintf("Dropped by the next Open: %s after a torn one that was never synced; "+
		"\"badgerspill salvage --copy-only --out FILE %s\" copies what is intact\n", plural(int(dropped), "commit"), dir)
}

// checking returns what shows how far a check is, and what ends that.
func checking(cmd *cobra.Command) (show func(done, total int64), done func()) {
	errs := cmd.ErrOrStderr()
	var bar *progress.Bar
	var last int64
	clear := func() {
		if bar != nil {
			bar.Clear()
		}
	}
	show = func(done, total int64) {
		if bar == nil || done < last { // all is read once more
			clear()
			bar = progress.New(errs, terminal.Is(errs), "checking", total, time.Now)
		}
		last = done
		bar.Update(done, done)
	}
	return show, clear
}

// inUseRate is how fast the spill of a running program is read, in bytes a second: the program has
// the disk first.
const inUseRate = badgerspill.DefaultSpillVerifyRate

// verifyInUse reads the files of a program that has the database open. It changes nothing, and
// takes no lock.
func verifyInUse(cmd *cobra.Command, db *place.Database) (*verdict, error) {
	src := db.Source()
	src.Rate = inUseRate
	show, done := checking(cmd)
	n, err := check.VerifyInUse(cmd.Context(), src, show)
	done()
	if err != nil {
		return nil, db.Explain(err)
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "badgerspill: %s: %v: the end of the newest segment is not checked, and the numbers are those of a moment\n", db.Dir, db.Holders())
	v := newVerdict(db, n)
	v.InUse = true
	return v, nil
}

// printFaults prints one line for each.
func (v *verdict) printFaults(out io.Writer) error {
	t := text.NewWriter(out)
	for _, f := range v.Faults {
		t.Printf("%s:%d: %s: %s%s\n", f.File, f.Offset, f.Kind, f.Reason, f.note)
	}
	return t.Err()
}

func (v *verdict) print(out io.Writer) error {
	if err := v.printFaults(out); err != nil {
		return err
	}
	t := text.NewWriter(out)
	read := fmt.Sprintf("%s: %s, %s, %s", v.SpillDir, plural(v.Segments, "segment"), text.Bytes(v.Bytes), plural(int(v.Blocks), "block"))
	switch {
	case !v.Exists:
		t.Printf("%s: there is no spill: nothing to check\n", v.SpillDir)
	case v.InUse:
		t.Printf("%s, %s\n", read, indexes(v.Indexes))
	default:
		t.Printf("%s, %s and %s pending, %s\n", read, plural(int(v.Commits), "commit"), entries(v.Entries), indexes(v.Indexes))
	}
	t.Printf("%s", droppedByOpen(v.Dropped, v.Dir))
	if v.Refused != "" {
		t.Printf("Open refuses it: %s\n", v.Refused)
	}
	switch {
	case !v.Sound:
	case v.InUse:
		t.Printf("sound, as far as it was read\n")
	default:
		t.Printf("sound\n")
	}
	return t.Err()
}

// exit is the error of a spill that is not sound, nil if it is.
func (v *verdict) exit() error {
	if v.Sound {
		return nil
	}
	then := ""
	switch {
	case v.InUse:
		then = fmt.Sprintf("; stop the program before \"badgerspill salvage %s\"", v.Dir)
	case v.Salvage:
		then = fmt.Sprintf("; \"badgerspill salvage %s\" gets out what is intact", v.Dir)
	}
	return &frame.ExitError{Code: frame.Failed, Err: fmt.Errorf("%s: %s%s", v.SpillDir, plural(v.faults(), "fault"), then)}
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return text.Count(int64(n)) + " " + what + "s"
}

func entries(n int64) string { return several(n, "entry", "entries") }

func indexes(n int) string { return several(int64(n), "index", "indexes") }

func several(n int64, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return text.Count(n) + " " + more
}
