package burst

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/chart"
)

// Data is the figure of a run as --data keeps it: what was drawn, and what made it. Draw draws it
// again.
type Data struct {
	Command string        `json:"command"`        // that made the run
	Date    string        `json:"date"`           // of the run, UTC, as 2006-01-02
	Build   Build         `json:"build"`          // what ran
	Note    string        `json:"note,omitempty"` // what else must be known of the data
	Figure  *chart.Figure `json:"figure"`
}

// maxData bounds a file of data: an hour of every engine has 3 MB.
const maxData = 16 << 20

func (r *Report) writeData(w io.Writer, now time.Time) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", " ")
	enc.SetEscapeHTML(false)
	return enc.Encode(Data{Command: r.Config.command(), Date: now.UTC().Format(time.DateOnly), Build: r.Build, Figure: r.figure()})
}

// readData reads and checks a file of data, and returns its SHA-256.
func readData(name string) (d *Data, sum [sha256.Size]byte, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, sum, fmt.Errorf("%w; name a file that spillbench burst --data has written", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxData+1))
	if err != nil {
		return nil, sum, err
	}
	if len(text) > maxData {
		return nil, sum, fmt.Errorf("%s: more than %d bytes; name a file that spillbench burst --data has written", name, maxData)
	}
	d = &Data{}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err = dec.Decode(d); err == nil && d.Figure == nil {
		err = errors.New("figure: it is missing")
	}
	if err == nil {
		err = d.Figure.Check()
	}
	if err != nil {
		return nil, sum, fmt.Errorf("%s: %w; name a file that spillbench burst --data has written", name, err)
	}
	return d, sha256.Sum256(text), nil
}

// Draw draws the data in a file: to an SVG for light pages and to one for dark ones, each left out
// if its name is empty. The figures carry the name of the file and its SHA-256.
func Draw(data, light, dark string, progress io.Writer) error {
	d, sum, err := readData(data)
	if err != nil {
		return err
	}
	d.Figure.Source = fmt.Sprintf("drawn from %s, sha256 %x", filepath.Base(data), sum)
	for _, out := range []struct {
		flag, name string
		scheme     chart.Scheme
	}{{"--light", light, chart.Light}, {"--dark", dark, chart.Dark}} {
		if out.name == "" {
			continue
		}
		svg, err := d.Figure.SVG(out.scheme)
		if err != nil {
			return fmt.Errorf("%s: %w", data, err)
		}
		if err := os.WriteFile(out.name, []byte(svg), 0o644); err != nil {
			return fmt.Errorf("%s: %w; name a file that can be written", out.flag, err)
		}
		fmt.Fprintf(progress, "%s written\n", out.name)
	}
	return nil
}
