package check

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/recovery"
)

// ErrMissingSpill means that a database says that commits of it are in a spill, and that this is
// not there.
var ErrMissingSpill = errors.New("the spill with unreplayed commits is not in SpillDir")

// discardHint names what there is for who gives commits up: nothing is removed by it, and it can be
// undone.
const discardHint = "\"badgerspill discard\" sets it aside for who gives it up"

// Claims are what a database says of its spill.
type Claims struct {
	ID     [16]byte // identity of the database
	IDFile string   // path of the file that has it
	IDErr  error    // why ID is not known; nil: it is. fs.ErrNotExist: the file is missing
	// path of the file that says that there are commits in a spill; "": there is none
	Interlock string
	Names     string // directory of the spill that it names; "": it names none
}

// Judge says whether a database that claims c would be opened with the spill that in has found:
// nil, or why not. The error names the file that is missing, damaged or of another database, what
// is still there, and the way out. It matches ErrMissingSpill, spillfile.ErrForeignSpill or what
// spillfile.Open returns. Open, and every command, judge by it.
func Judge(in *Inspection, c Claims) error {
	switch {
	case c.Interlock != "" && !in.Exists:
		where := c.Names
		if where == "" {
			where = "a directory that it does not name"
		}
		return fmt.Errorf("%w: %s has no spill, and %s says that there are commits in %s; give the directory in which they are; "+
			"if they are lost, \"badgerspill discard\" sets the interlock aside for who gives them up", ErrMissingSpill, in.Dir, c.Interlock, where)
	case len(in.Segments) == 0, in.OpenError != nil && !errors.Is(in.OpenError, recovery.ErrForeignSpill) && !errors.Is(in.OpenError, block.ErrKeyMissing) &&
		!errors.Is(in.OpenError, block.ErrWrongKey), c.IDErr == nil && in.DatabaseID == c.ID:
		return in.OpenError
	case c.IDErr == nil:
		return in.explain(recovery.Foreign(in.Dir, in.DatabaseID, c.ID))
	}
	why := c.IDErr.Error()
	bad := new(block.CorruptError)
	switch {
	case errors.Is(c.IDErr, fs.ErrNotExist):
		why = "the file is missing"
	case errors.As(c.IDErr, &bad):
		why = bad.Reason
	}
	return &judgedError{fmt.Sprintf("%v: %s: %s, so it is not known whether the commits in %s are of this database. In it: %s. "+
		"If they are its own, write the line %x into that file; if not, give the directory of its own spill; %s",
		recovery.ErrForeignSpill, c.IDFile, why, in.Dir, in.Left(), in.DatabaseID, discardHint), []error{recovery.ErrForeignSpill, c.IDErr}}
}

// judgedError says in its own words what errs are about.
type judgedError struct {
	text string
	errs []error
}

func (e *judgedError) Error() string   { return e.text }
func (e *judgedError) Unwrap() []error { return e.errs }

// Left tells in words what can still be read: how many commits, and of when.
func (in *Inspection) Left() string {
	if len(in.Segments) == 0 {
		return "no segment"
	}
	n := len(in.Segments)
	text := fmt.Sprintf("%s in %s", count(in.Commits, "commit"), count(int64(n), "segment"))
	if in.Commits > 0 {
		text += fmt.Sprintf(", timestamps %d to %d", in.FirstTs, in.LastTs)
	}
	if !in.Oldest.IsZero() {
		text += ", since " + in.Oldest.Format(time.DateTime)
	}
	if newest := in.Segments[n-1].Created; !newest.IsZero() && !newest.Equal(in.Oldest) {
		text += ", the last segment of " + newest.Format(time.DateTime)
	}
	if in.ManifestLost {
		text += "; without a MANIFEST it is not known which of them Badger has"
	}
	return text
}

func count(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// explain adds to an error of Open what is still there, and the way out.
func (in *Inspection) explain(err error) error {
	switch {
	case errors.Is(err, block.ErrCorrupt), errors.Is(err, recovery.ErrNoManifest):
		return fmt.Errorf("%w. Still there: %s; %s", err, in.Left(), discardHint)
	case errors.Is(err, recovery.ErrForeignSpill):
		return fmt.Errorf("%w. In it: %s. Open it with the database that it belongs to, or give this one another SpillDir; %s", err, in.Left(), discardHint)
	}
	return err
}

// Explain adds to an error of spillfile.Open what is still there, and the way out, if it is about
// what the spill holds. It looks at the spill for that; where it cannot, and for any other error,
// it returns err as it is. Open calls it.
func Explain(src Source, err error) error {
	if !errors.Is(err, block.ErrCorrupt) && !errors.Is(err, recovery.ErrNoManifest) && !errors.Is(err, recovery.ErrForeignSpill) {
		return err
	}
	in, ierr := inspectOnce(Source{Dir: src.Dir, FS: src.FS, EncryptionKey: src.EncryptionKey})
	if ierr != nil {
		return err
	}
	return in.explain(err)
}
