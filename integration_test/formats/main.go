package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

func main() {
	log.SetFlags(0)
	out := flag.String("out", "", "directory of the archives")
	work := flag.String("work", "/tmp/badgerspill-formats", "directory to make the databases in; it is removed first and afterwards")
	child := flag.String("child", "", "the fixture to make as a child, in -work")
	flag.Parse()
	if *child != "" {
		must(fixtureOf(*child).make(*work, fixtureOf(*child)))
		return
	}
	if *out == "" {
		log.Fatal("-out is missing")
	}
	for _, f := range fixtures {
		must(generate(f, *work, filepath.Join(*out, f.name+".tar.gz")))
	}
	must(os.RemoveAll(*work))
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// tries is how often a state is tried that a kill hits or misses.
const tries = 200

func generate(f *fixture, work, archive string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for range tries {
		if err := errors.Join(os.RemoveAll(work), os.MkdirAll(work, 0o700)); err != nil {
			return err
		}
		if f.badger != "" {
			if err := plainBadger(f.badger, work); err != nil {
				return err
			}
		}
		cmd := exec.Command(self, "-child", f.name, "-work", work)
		cmd.Stderr = os.Stderr
		if err := cmd.Run(); err != nil && !(f.killed && cmd.ProcessState.ExitCode() == -1) {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		if f.shows != nil {
			ok, err := f.shows(work, f)
			if err != nil {
				return fmt.Errorf("%s: %w", f.name, err)
			}
			if !ok {
				continue
			}
		}
		return pack(work, archive)
	}
	return fmt.Errorf("%s: not met in %d tries", f.name, tries)
}

// pack makes the archive. Times and owners are left out.
func pack(work, archive string) error {
	out, err := os.Create(archive)
	if err != nil {
		return err
	}
	zip, err := gzip.NewWriterLevel(out, gzip.BestCompression)
	if err != nil {
		return err
	}
	w := tar.NewWriter(zip)
	add := func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(work, path)
		if err != nil {
			return err
		}
		h := &tar.Header{Name: filepath.ToSlash(name), Mode: 0o600, Size: int64(len(b)), ModTime: time.Unix(0, 0)}
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		_, err = w.Write(b)
		return err
	}
	err = filepath.WalkDir(filepath.Join(work, "db"), add)
	if err == nil {
		keys := filepath.Join(work, keysName)
		info, serr := os.Stat(keys)
		if err = serr; err == nil {
			err = add(keys, fs.FileInfoToDirEntry(info), nil)
		}
	}
	return errors.Join(err, w.Close(), zip.Close(), out.Close())
}
