package integration_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// page is a file of the documentation.
type page struct {
	name   string // from the root of the module, with slashes
	blocks []block
	// the page with the lines of its blocks left empty, so that lines keep their numbers
	prose string
}

// block is a fenced block of code.
type block struct {
	page   string
	line   int    // of its first line, from 1
	lang   string // what stands behind the fence
	under  string // the heading above it
	needs  string // what a comment "<!-- go: ... -->" right above it says
	source string
}

var (
	fence      = regexp.MustCompile("^( *)(`{3,}|~{3,})\\s*([\\w-]*)\\s*$")
	needsMark  = regexp.MustCompile(`^ *<!-- go: (.*) -->$`)
	inlineCode = regexp.MustCompile("`+[^`]+`+")
	heading    = regexp.MustCompile(`^#{1,6} +(.+?) *#*$`)
)

// pages returns README.md and all of docs.
func pages(t *testing.T) (all []page) {
	t.Helper()
	files, err := filepath.Glob("../docs/*.md")
	require.NoError(t, err)
	upstream, err := filepath.Glob("../docs/upstream/*.md")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	require.NotEmpty(t, upstream)
	files = append(files, upstream...)
	for _, file := range append(files, "../README.md") {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		all = append(all, readPage(t, strings.TrimPrefix(filepath.ToSlash(file), "../"), string(text)))
	}
	return all
}

func readPage(t *testing.T, name, text string) page {
	t.Helper()
	p := page{name: name}
	var prose []string
	var in *block
	under, indent, end, needs := "", "", "", "" // a block in a list is indented
	for i, line := range strings.Split(text, "\n") {
		m := fence.FindStringSubmatch(line)
		switch {
		case in == nil && m != nil:
			in = &block{page: name, line: i + 2, lang: m[3], under: under, needs: needs}
			indent, end = m[1], m[1]+m[2]
			line = ""
		case in != nil && line == end:
			p.blocks = append(p.blocks, *in)
			in, line = nil, ""
		case in != nil:
			in.source += strings.TrimPrefix(line, indent) + "\n"
			line = ""
		}
		if m := heading.FindStringSubmatch(line); m != nil {
			under = m[1]
		}
		needs = ""
		if m := needsMark.FindStringSubmatch(line); m != nil {
			needs = m[1]
		}
		prose = append(prose, line)
	}
	require.Nil(t, in, "%s: the last block of code has no end", name)
	p.prose = strings.Join(prose, "\n")
	return p
}

// headings returns the headings of a page.
func (p page) headings() (all []string) {
	for _, line := range strings.Split(p.prose, "\n") {
		if m := heading.FindStringSubmatch(line); m != nil {
			all = append(all, m[1])
		}
	}
	return all
}

func pageNamed(t *testing.T, name string) page {
	t.Helper()
	for _, p := range pages(t) {
		if p.name == name {
			return p
		}
	}
	require.Fail(t, "no page "+name)
	return page{}
}
