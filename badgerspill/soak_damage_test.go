//go:build unix

package badgerspill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/badgerspill/badgerspill/spillfile"
)

// soakDrainPatience is how long a drain of a damaged spill may take until it is done or says what
// is damaged. No spill of the soak is large.
const soakDrainPatience = 30 * time.Second

// soakDamage damages a copy of the database and has a child look at it: what it reads is right, or
// an error; nothing waits without an end.
func soakDamage(plan *soakPlan, acked *[soakWriters]uint64, totals *soakTotals) error {
	if _, err := os.Stat(plan.Dir); errors.Is(err, fs.ErrNotExist) { // killed before it was made
		return nil
	}
	rng := rand.New(rand.NewPCG(plan.Seed, 3))
	copied := *plan
	copied.Dir, copied.Kill, copied.Run = plan.Dir+".damaged", 0, 0
	if err := soakCopy(copied.Dir, plan.Dir); err != nil {
		return err
	}
	what, newest, err := soakHarm(rng, filepath.Join(copied.Dir, "spill"))
	if err != nil || what == "" {
		return errors.Join(err, os.RemoveAll(copied.Dir))
	}
	copied.Damaged, copied.Acked = what, *acked
	// a power cut may take what is not known to be synced, and damage there cannot be told from it
	if plan.Kill > 0 && (newest || !plan.Sync) {
		copied.Acked = [soakWriters]uint64{}
	}
	last := *acked
	if err := soakProcess(&copied, &last, totals); err != nil {
		return fmt.Errorf("%s, in %s: %w", what, copied.Dir, err)
	}
	if err := os.RemoveAll(copied.Dir); err != nil {
		return err
	}
	totals.closes--
	totals.damaged++
	return nil
}

// soakHarm does something to one of the files of a spill and says what. newest says that it may
// have been the segment with the end of the log: there may be a prepared one behind.
func soakHarm(rng *rand.Rand, dir string) (what string, newest bool, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	var files, segments []string
	for _, e := range entries {
		if e.Type().IsRegular() && e.Name() != "LOCK" {
			files = append(files, e.Name())
			if filepath.Ext(e.Name()) == ".seg" {
				segments = append(segments, e.Name())
			}
		}
	}
	if len(files) == 0 {
		return "", false, nil
	}
	name := files[rng.IntN(len(files))]
	newest = slices.Contains(segments[max(0, len(segments)-2):], name)
	path := filepath.Join(dir, name)
	info, err := os.Stat(path)
	if err != nil {
		return "", false, err
	}
	switch size := info.Size(); {
	case rng.IntN(4) == 0 || size == 0:
		return name + " was removed", newest, os.Remove(path)
	case rng.IntN(4) == 0:
		at := rng.Int64N(size)
		return fmt.Sprintf("%s was cut to %d of %d bytes", name, at, size), newest, os.Truncate(path, at)
	default:
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return "", false, err
		}
		at, b := rng.Int64N(size), make([]byte, 1)
		_, err = f.ReadAt(b, at)
		b[0] ^= 1 << rng.IntN(8)
		if err == nil {
			_, err = f.WriteAt(b, at)
		}
		return fmt.Sprintf("a bit of byte %d of %d of %s was flipped", at, size, name), newest, errors.Join(err, f.Close())
	}
}

// soakCopy copies a directory. Holes stay holes: Badger's logs have large ones.
func soakCopy(to, from string) error {
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if e.IsDir() {
			return os.Mkdir(target, 0o700)
		}
		return soakCopyFile(target, path)
	})
}

func soakCopyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	size, zero := int64(0), make([]byte, 64<<10)
	for b := make([]byte, len(zero)); ; {
		n, err := io.ReadFull(in, b)
		if string(b[:n]) != string(zero[:n]) {
			if _, err := out.WriteAt(b[:n], size); err != nil {
				return errors.Join(err, out.Close())
			}
		}
		size += int64(n)
		if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return errors.Join(err, out.Close())
		}
	}
	return errors.Join(out.Truncate(size), out.Close())
}

// damaged is the child that opens the damaged copy.
func (c *soakChild) damaged() error {
	opt := c.plan.options()
	opt.KeepSpillOnClose = false
	tolerable := func(err error) bool {
		for _, known := range []error{ErrCorrupt, ErrMissingSpill, ErrForeignSpill, ErrReplayStopped,
			spillfile.ErrNoManifest, spillfile.ErrFormatVersion, spillfile.ErrWrongKey, spillfile.ErrKeyMissing} {
			if errors.Is(err, known) {
				return true
			}
		}
		return false
	}
	named := func(err error) error {
		if !tolerable(err) || !strings.Contains(err.Error(), opt.Dir) {
			return fmt.Errorf("an error that says nothing of the damage: %w", err)
		}
		return nil
	}
	db, err := Open(opt)
	if err != nil {
		return named(err)
	}
	c.db = db
	look := func(when string) error {
		var check soakCheck
		last, err := check.layer(db)
		c.checks.Add(check.checks)
		switch {
		case errors.Is(err, errSoak):
			return fmt.Errorf("%s: %w", when, err)
		case err != nil:
			return named(err)
		}
		for w := range last {
			if last[w] < c.plan.Acked[w] {
				return fmt.Errorf("%s: %w: writer %d is at commit %d, acknowledged is %d", when, errSoak, w, last[w], c.plan.Acked[w])
			}
		}
		return nil
	}
	if err := look("damaged"); err != nil {
		return errors.Join(err, db.Close())
	}
	ctx, cancel := context.WithTimeout(context.Background(), soakDrainPatience)
	defer cancel()
	began := db.SpillStats()
	drained := db.Drain(ctx)
	if drained != nil {
		if err := named(drained); err != nil {
			return errors.Join(err, db.Close())
		}
		if err := db.Health(); !errors.Is(err, ErrReplayStopped) {
			return errors.Join(fmt.Errorf("drain ended with %w, and health is %v", drained, err), db.Close())
		}
	}
	if err := look("after the drain"); err != nil {
		return errors.Join(err, db.Close())
	}
	// Once, and a run that stops at the damage perhaps once more.
	if got, most := db.SpillStats().BytesReplayed, 3*began.SpillBytes+(64<<20); got > most {
		return errors.Join(fmt.Errorf("%d bytes were replayed of a spill of %d", got, began.SpillBytes), db.Close())
	}
	err = db.Close()
	if (err != nil) != (drained != nil) {
		return fmt.Errorf("drain ended with %v, Close with %w", drained, err)
	}
	c.say()
	return nil
}
