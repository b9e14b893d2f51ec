package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"html"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// class is how a thing looks: on a light page, and what is otherwise on a dark one.
type class struct{ light, dark string }

var classes = map[string]class{
	"card": {"fill: #ffffff; stroke: #d0d7de;", "fill: #161b22; stroke: #3d444d;"},

	// texts
	"plain":     {},
	"name":      {"font-weight: 600; font-size: 15px;", ""},
	"small":     {"font-size: 13px;", ""},
	"dim":       {"fill: #59636e;", "fill: #9aa5b1;"},
	"mid":       {"text-anchor: middle;", ""},
	"end":       {"text-anchor: end;", ""},
	"mark":      {"font-size: 13px; fill: #59636e; text-anchor: end;", "fill: #9aa5b1;"},
	"hedgetext": {"fill: #b03a24;", "fill: #f5a092;"},
	"backtext":  {"fill: #2f67a3;", "fill: #8cc0f5;"},

	// boxes
	"box":       {"fill: #f6f8fa; stroke: #8c959f; stroke-width: 1.2;", "fill: #21262d; stroke: #656c76;"},
	"badger":    {"fill: #a8d5ba; stroke: #4d8f69; stroke-width: 1.2;", "fill: #1f4a33; stroke: #4d9a6e;"},
	"spill":     {"fill: #9dc3ee; stroke: #4a7fb8; stroke-width: 1.2;", "fill: #1d3f66; stroke: #4f8dcb;"},
	"normal":    {"fill: #a8d5ba;", "fill: #2f6f4b;"},
	"flush":     {"fill: #f3d98b;", "fill: #86691b;"},
	"spilltier": {"fill: #9dc3ee;", "fill: #2c5f97;"},
	"block":     {"fill: #eea29a;", "fill: #94413a;"},
	"outline":   {"stroke: #59636e; stroke-width: 1.2; fill: none;", "stroke: #9aa5b1;"},

	// lines and the heads of arrows
	"line":      {"stroke: #424a53; stroke-width: 1.6; fill: none;", "stroke: #b4bdc7;"},
	"head":      {"fill: #424a53;", "fill: #b4bdc7;"},
	"rule":      {"stroke: #424a53; stroke-width: 0.6; fill: none;", "stroke: #b4bdc7;"},
	"dash":      {"stroke: #59636e; stroke-width: 1; stroke-dasharray: 3 4; fill: none;", "stroke: #9aa5b1;"},
	"back":      {"stroke: #4a7fb8; stroke-width: 1.8; fill: none; stroke-dasharray: 6 4;", "stroke: #6aa9e9;"},
	"backhead":  {"fill: #4a7fb8;", "fill: #6aa9e9;"},
	"hedge":     {"stroke: #c4432b; stroke-width: 1.8; fill: none;", "stroke: #f08371;"},
	"hedgehead": {"fill: #c4432b;", "fill: #f08371;"},
}

const typeface = `system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif`

var (
	bold     = regexp.MustCompile(`\*([^*]+)\*`)
	pathData = regexp.MustCompile(`^[MLHVCZ0-9. -]+$`)
)

// draw returns the figure that a description, the text of a file of that name, describes. An error
// begins with the number of the line.
func draw(name string, description []byte) ([]byte, error) {
	f := figure{used: map[string]bool{"name": true}}
	for i, line := range strings.Split(string(description), "\n") {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		if err := f.line(line); err != nil {
			return nil, fmt.Errorf("%d: %w", i+1, err)
		}
	}
	if f.title == "" || f.view == nil {
		return nil, fmt.Errorf("1: a figure needs a title and a view")
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="%s" width="%s" height="%s" role="img" aria-labelledby="title desc">`+"\n",
		strings.Join(f.view, " "), f.view[2], f.view[3])
	fmt.Fprintf(&out, "  <title id=\"title\">%s</title>\n  <desc id=\"desc\">%s</desc>\n", html.EscapeString(f.title), html.EscapeString(f.desc))
	fmt.Fprintf(&out, "  <metadata>drawn from %s, sha256 %x</metadata>\n", html.EscapeString(name), sha256.Sum256(description))
	f.style(&out)
	out.Write(f.body.Bytes())
	out.WriteString("</svg>\n")
	return out.Bytes(), nil
}

type figure struct {
	title, desc string
	view        []string
	used        map[string]bool // classes
	body        bytes.Buffer
}

func (f *figure) line(line string) error {
	verb, rest, _ := strings.Cut(line, " ")
	words := strings.Fields(rest)
	switch verb {
	case "title":
		f.title = rest
		return nil
	case "desc":
		f.desc = rest
		return nil
	case "view":
		f.view = words
		return numbers(words, 4, 4)
	case "rect":
		return f.rect(words)
	case "path":
		return f.path(words)
	case "head":
		return f.head(words)
	case "text":
		return f.text(words)
	}
	return fmt.Errorf("%q: a line begins with title, desc, view, rect, path, head or text", verb)
}

// numbers says what is wrong with words that must be numbers, from low to high of them.
func numbers(words []string, low, high int) error {
	if len(words) < low || len(words) > high {
		return fmt.Errorf("%d numbers, want %d to %d", len(words), low, high)
	}
	for _, w := range words {
		if _, err := strconv.ParseFloat(w, 64); err != nil {
			return fmt.Errorf("%q is not a number", w)
		}
	}
	return nil
}

// class notes that one is used, and returns it as an attribute.
func (f *figure) class(words []string) (string, error) {
	if len(words) == 0 {
		return "", fmt.Errorf("a class is missing")
	}
	names := strings.Split(words[0], ",")
	for _, name := range names {
		if _, ok := classes[name]; !ok {
			return "", fmt.Errorf("there is no class %q", name)
		}
		f.used[name] = true
	}
	if len(names) == 1 && names[0] == "plain" {
		return "", nil
	}
	return fmt.Sprintf(` class="%s"`, strings.Join(names, " ")), nil
}

func (f *figure) rect(words []string) error {
	class, err := f.class(words)
	if err != nil {
		return err
	}
	if err := numbers(words[1:], 4, 5); err != nil {
		return err
	}
	radius := ""
	if len(words) == 6 {
		radius = fmt.Sprintf(` rx="%s"`, words[5])
	}
	fmt.Fprintf(&f.body, `  <rect%s x="%s" y="%s" width="%s" height="%s"%s/>`+"\n", class, words[1], words[2], words[3], words[4], radius)
	return nil
}

func (f *figure) path(words []string) error {
	class, err := f.class(words)
	if err != nil {
		return err
	}
	d := strings.Join(words[1:], " ")
	if !pathData.MatchString(d) {
		return fmt.Errorf("%q is not the data of a path", d)
	}
	fmt.Fprintf(&f.body, `  <path%s d="%s"/>`+"\n", class, d)
	return nil
}

// head draws a triangle of 11 by 10 whose point is at the place that is given.
func (f *figure) head(words []string) error {
	class, err := f.class(words)
	if err != nil {
		return err
	}
	if len(words) != 4 {
		return fmt.Errorf("a head has a class, a place and a direction")
	}
	if err := numbers(words[1:3], 2, 2); err != nil {
		return err
	}
	x, _ := strconv.ParseFloat(words[1], 64)
	y, _ := strconv.ParseFloat(words[2], 64)
	d := fmt.Sprintf("M%g %g", x, y)
	switch words[3] {
	case "right":
		d += fmt.Sprintf("L%g %gV%gZ", x-11, y-5, y+5)
	case "left":
		d += fmt.Sprintf("L%g %gV%gZ", x+11, y-5, y+5)
	case "down":
		d += fmt.Sprintf("L%g %gH%gZ", x-5, y-11, x+5)
	case "up":
		d += fmt.Sprintf("L%g %gH%gZ", x-5, y+11, x+5)
	default:
		return fmt.Errorf("direction %q: must be up, down, left or right", words[3])
	}
	fmt.Fprintf(&f.body, `  <path%s d="%s"/>`+"\n", class, d)
	return nil
}

func (f *figure) text(words []string) error {
	class, err := f.class(words)
	if err != nil {
		return err
	}
	if len(words) < 4 {
		return fmt.Errorf("a text has a class, a place and words")
	}
	if err := numbers(words[1:3], 2, 2); err != nil {
		return err
	}
	text := html.EscapeString(strings.Join(words[3:], " "))
	text = bold.ReplaceAllString(text, `<tspan class="name small">$1</tspan> `)
	if strings.Contains(text, "<tspan") {
		f.used["small"] = true
	}
	fmt.Fprintf(&f.body, `  <text%s x="%s" y="%s">%s</text>`+"\n", class, words[1], words[2], text)
	return nil
}

// style writes the classes that are used.
func (f *figure) style(out *bytes.Buffer) {
	var dark bytes.Buffer
	out.WriteString("  <style>\n")
	fmt.Fprintf(out, "    text { font-family: %s; font-size: 14px; fill: #1f2328; }\n", typeface)
	dark.WriteString("      text { fill: #e6edf3; }\n")
	for _, name := range slices.Sorted(maps.Keys(f.used)) {
		c := classes[name]
		if c.light != "" {
			fmt.Fprintf(out, "    .%s { %s }\n", name, c.light)
		}
		if c.dark != "" {
			fmt.Fprintf(&dark, "      .%s { %s }\n", name, c.dark)
		}
	}
	fmt.Fprintf(out, "    @media (prefers-color-scheme: dark) {\n%s    }\n  </style>\n", &dark)
}
