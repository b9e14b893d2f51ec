package burst

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// textWriter keeps the first error, so that a table can be written without a check a line.
type textWriter struct {
	w   io.Writer
	err error
}

func (t *textWriter) printf(format string, args ...any) {
	if t.err == nil {
		_, t.err = fmt.Fprintf(t.w, format, args...)
	}
}

// columns writes rows of the same length. A column is aligned right if its last cell is a number or missing.
func (t *textWriter) columns(rows [][]string) {
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
		t.printf("%s\n", strings.TrimRight(b.String(), " "))
	}
}

func numeric(cell string) bool {
	return cell == "-" || unicode.IsDigit(rune(cell[0]))
}
