package burst

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/chart"
)

// outputs are the files for figure and page. They are opened before the run, so that minutes are
// not spent on a result that cannot be written, and what is in them stays until there is something
// to put in its place.
type outputs struct{ files []*output }

type output struct {
	flag    string
	file    *os.File
	created bool
	written bool
	make    func(*Report, io.Writer) error
}

// openOutputs opens the files that cfg, which is valid, names.
func openOutputs(cfg Config) (*outputs, error) {
	o := &outputs{}
	open := func(flag, name string, make func(*Report, io.Writer) error) error {
		if name == "" {
			return nil
		}
		_, err := os.Lstat(name)
		created := errors.Is(err, os.ErrNotExist)
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o644)
		if err != nil {
			return fmt.Errorf("%s: %w; name a file that can be written", flag, err)
		}
		o.files = append(o.files, &output{flag: flag, file: f, created: created, make: make})
		return nil
	}
	format, _ := chart.FormatOf(cfg.Plot)
	err := open("--plot", cfg.Plot, func(r *Report, w io.Writer) error { return r.figure().Write(w, format) })
	if err == nil {
		err = open("--html", cfg.HTML, func(r *Report, w io.Writer) error { return r.writePage(w) })
	}
	if err == nil {
		err = open("--data", cfg.Data, func(r *Report, w io.Writer) error { return r.writeData(w, time.Now()) })
	}
	if err != nil {
		return nil, errors.Join(err, o.close())
	}
	return o, nil
}

// write fills the files and tells of each on progress.
func (o *outputs) write(r *Report, progress io.Writer) error {
	for _, f := range o.files {
		var content bytes.Buffer
		if err := f.make(r, &content); err != nil {
			return fmt.Errorf("%s %s: %w", f.flag, f.file.Name(), err)
		}
		f.written = true
		// A pipe or a device cannot be cut, and needs not be.
		if info, err := f.file.Stat(); err == nil && info.Mode().IsRegular() {
			if err := f.file.Truncate(0); err != nil {
				return fmt.Errorf("%s: %w", f.flag, err)
			}
		}
		if _, err := f.file.Write(content.Bytes()); err != nil {
			return fmt.Errorf("%s: %w", f.flag, err)
		}
		fmt.Fprintf(progress, "%s written\n", f.file.Name())
	}
	return nil
}

// close closes the files, and removes those that were made for nothing.
func (o *outputs) close() error {
	var errs []error
	for _, f := range o.files {
		errs = append(errs, f.file.Close())
		if f.created && !f.written {
			errs = append(errs, os.Remove(f.file.Name()))
		}
	}
	return errors.Join(errs...)
}
