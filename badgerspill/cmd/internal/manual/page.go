package manual

import (
	"bytes"
	"fmt"
	"strings"
)

// Page is a page of section 1, in the macros of man(7). Its methods write one part after the other.
// It is not safe for concurrent use.
type Page struct{ b bytes.Buffer }

// New returns the page of a command, with its name and what it is in one line.
func New(name, short string) *Page {
	p := &Page{}
	p.line(`.TH %s 1 "" badgerspill badgerspill`, strings.ToUpper(name))
	p.Section("NAME")
	p.line(`%s \- %s`, escape(name), escape(short))
	return p
}

// Bytes returns the page.
func (p *Page) Bytes() []byte { return p.b.Bytes() }

// Section begins one.
func (p *Page) Section(title string) { p.line(".SH %s", escape(title)) }

// Part begins a part of a section.
func (p *Page) Part(title string) { p.line(".SS %s", escape(title)) }

// Text writes help as it is on a terminal. Lines are filled, but for those that are indented, which
// stay as they are.
func (p *Page) Text(help string) {
	asIs := false
	set := func(want bool) {
		switch {
		case want && !asIs:
			p.line(".PP")
			p.line(".nf")
		case !want && asIs:
			p.line(".fi")
		}
		asIs = want
	}
	begun := false // a paragraph
	for line := range strings.Lines(strings.Trim(help, "\n") + "\n") {
		line = strings.TrimRight(line, " \n")
		switch {
		case line == "" && asIs:
			p.line("") // an empty line in what stays as it is
		case line == "":
			begun = false
		case line[0] == ' ':
			set(true)
			p.line("%s", escape(line))
		default:
			if asIs || !begun {
				set(false)
				p.line(".PP")
			}
			begun = true
			p.line("%s", escape(line))
		}
	}
	set(false)
}

// Block writes lines as they are.
func (p *Page) Block(lines string) {
	p.line(".PP")
	p.line(".nf")
	for line := range strings.Lines(strings.Trim(lines, "\n") + "\n") {
		p.line("%s", escape(strings.TrimRight(line, " \n")))
	}
	p.line(".fi")
}

// Item writes a word, in bold, and what it means.
func (p *Page) Item(word, meaning string) {
	p.line(".TP")
	p.line(`\fB%s\fR`, escape(word))
	for line := range strings.Lines(meaning) {
		p.line("%s", escape(strings.TrimSpace(line)))
	}
}

func (p *Page) line(format string, args ...any) { fmt.Fprintf(&p.b, format+"\n", args...) }

var special = strings.NewReplacer(`\`, `\e`, `-`, `\-`, "`", `\(ga`, `^`, `\(ha`, `~`, `\(ti`, `'`, `\(aq`)

// escape returns a line of text that troff shows as it is.
func escape(line string) string {
	line = special.Replace(line)
	if strings.HasPrefix(line, ".") { // it would be a request
		line = `\&` + line
	}
	return line
}
