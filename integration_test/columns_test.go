package integration_test

import (
	"bufio"
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// maxColumns is how wide a comment or a line of prose may be. A tab counts as four.
const maxColumns = 100

func columns(line string) int {
	return utf8.RuneCountInString(line) + 3*strings.Count(line, "\t")
}

// Comments and prose fit beside each other on a screen. Tables, blocks, HTML and definitions of
// links are excepted, and what has no space to be broken at.
func TestColumns(t *testing.T) {
	root, err := filepath.Abs("..")
	require.NoError(t, err)
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); path != root && (name == "testdata" || strings.HasPrefix(name, ".")) {
				return filepath.SkipDir
			}
			return nil
		}
		var lines map[int]string
		switch filepath.Ext(path) {
		case ".go":
			lines = commentLines(t, path)
		case ".md":
			lines = proseLines(t, path)
		}
		rel, err := filepath.Rel(root, path)
		for n, line := range lines {
			if columns(line) > maxColumns && strings.Contains(strings.TrimSpace(line[len(line)/2:]), " ") {
				t.Errorf("%s:%d: %d columns, at most %d", rel, n, columns(line), maxColumns)
			}
		}
		return err
	}))
}

// commentLines returns the lines of a file that have a comment, by number.
func commentLines(t *testing.T, path string) map[int]string {
	t.Helper()
	src, err := os.ReadFile(path)
	require.NoError(t, err)
	all := strings.Split(string(src), "\n")
	lines := map[int]string{}
	fset := token.NewFileSet()
	var s scanner.Scanner
	s.Init(fset.AddFile(path, -1, len(src)), src, nil, scanner.ScanComments)
	for {
		pos, tok, text := s.Scan()
		if tok == token.EOF {
			return lines
		}
		if tok == token.COMMENT && !strings.HasPrefix(text, "//go:") {
			for n := fset.Position(pos).Line; n <= fset.Position(pos).Line+strings.Count(text, "\n"); n++ {
				lines[n] = all[n-1]
			}
		}
	}
}

var linkDefinition = regexp.MustCompile(`^\[[^\]]+\]: `)

// proseLines returns the lines of a page that are neither in a block nor in a table.
func proseLines(t *testing.T, path string) map[int]string {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	lines := map[int]string{}
	inBlock := false
	s := bufio.NewScanner(f)
	for n := 1; s.Scan(); n++ {
		line := strings.TrimSpace(s.Text())
		if fence.MatchString(s.Text()) {
			inBlock = !inBlock
		}
		if inBlock || strings.HasPrefix(line, "|") || strings.HasPrefix(line, "<") || linkDefinition.MatchString(line) {
			continue
		}
		lines[n] = s.Text()
	}
	require.NoError(t, s.Err())
	return lines
}
