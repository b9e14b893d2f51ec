package chart

import (
	"bytes"
	"fmt"
	"html"
	"io"
	"path/filepath"
	"strings"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Format is a kind of file.
type Format int

// The formats.
const (
	SVG Format = iota
	PNG
)

// FormatOf returns the format that the suffix of a file name stands for, in letters of either case;
// false if none does.
func FormatOf(file string) (Format, bool) {
	switch strings.ToLower(filepath.Ext(file)) {
	case ".svg":
		return SVG, true
	case ".png":
		return PNG, true
	default:
		return 0, false
	}
}

// Write draws the figure in the light scheme.
func (f *Figure) Write(w io.Writer, format Format) error {
	if format == PNG {
		return f.png(w)
	}
	svg, err := f.SVG(Light)
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, svg)
	return err
}

// typefaces are those that the text was measured with and, where they are not there, others of the
// same widths.
const typefaces = "font-family:'Liberation Sans',Arimo,Arial,Helvetica,sans-serif"

// SVG returns the figure as an svg element, which may stand in a page or be a file. It refers to
// nothing outside of itself.
func (f *Figure) SVG(scheme Scheme) (string, error) {
	canvas := vgsvg.New(width, vg.Length(f.height()))
	widths := f.draw(canvas, scheme)
	var raw bytes.Buffer
	if _, err := canvas.WriteTo(&raw); err != nil {
		return "", err
	}
	// The element's own begin instead of the canvas's: that one is a prologue, which a page cannot
	// have, and a size in points.
	_, body, found := strings.Cut(raw.String(), "<svg")
	if !found {
		return "", fmt.Errorf("draw the figure: no svg element")
	}
	_, body, _ = strings.Cut(body, ">")
	body = strings.ReplaceAll(body, "font-family:Liberation Sans", typefaces)
	// A viewer that has none of the typefaces takes one that may be wider: it is told how much room
	// there is.
	const text = "<text "
	for at, i := 0, 0; i < len(widths); i++ {
		next := strings.Index(body[at:], text)
		if next < 0 {
			return "", fmt.Errorf("draw the figure: %d texts of %d", i, len(widths))
		}
		at += next + len(text)
		body = body[:at] + fmt.Sprintf(`textLength="%.5g" lengthAdjust="spacingAndGlyphs" `, widths[i]) + body[at:]
	}
	begin := fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%g" height="%g" viewBox="0 0 %g %g" role="img" stroke-linejoin="round">`,
		width, f.height(), width, f.height())
	if f.Title != "" {
		begin += "\n<title>" + html.EscapeString(f.Title) + "</title>"
	}
	if f.Source != "" {
		begin += "\n<metadata>" + html.EscapeString(f.Source) + "</metadata>"
	}
	return begin + body, nil
}

// dotsPerInch makes an image of 1,600 pixels a line, sharp on a dense screen and on paper.
const dotsPerInch = 160

func (f *Figure) png(w io.Writer) error {
	canvas := vgimg.NewWith(vgimg.UseWH(width, vg.Length(f.height())), vgimg.UseDPI(dotsPerInch), vgimg.UseBackgroundColor(Light.paper))
	f.draw(canvas, Light)
	_, err := vgimg.PngCanvas{Canvas: canvas}.WriteTo(w)
	return err
}
