package text

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Writer keeps the first error, so that a table can be written without a check a line. It is not
// safe for concurrent use.
type Writer struct {
	w   io.Writer
	err error
}

// NewWriter returns a Writer to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Err returns the first error of w.
func (t *Writer) Err() error { return t.err }

// Printf writes as fmt.Fprintf does, and nothing after an error.
func (t *Writer) Printf(format string, args ...any) {
	if t.err == nil {
		_, t.err = fmt.Fprintf(t.w, format, args...)
	}
}

// Columns writes rows of the same length, at least one. In tables of more than two columns, one is
// aligned right if its last cell is a number or missing.
func (t *Writer) Columns(rows [][]string) {
	last := rows[len(rows)-1]
	widths := make([]int, len(last))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		var b strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			b.WriteString("  ")
			if len(row) > 2 && numeric(last[i]) {
				b.WriteString(pad + cell)
			} else {
				b.WriteString(cell + pad)
			}
		}
		t.Printf("%s\n", strings.TrimRight(b.String(), " "))
	}
}

func numeric(cell string) bool {
	return cell == "-" || cell != "" && unicode.IsDigit(rune(cell[0]))
}
