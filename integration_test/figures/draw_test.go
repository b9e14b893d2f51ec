package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const docs = "../../docs"

// The figures of the docs are what their descriptions draw. .ci/figures makes them anew.
func TestFiguresOfTheDocs(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(docs, "figures", "*.txt"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		want, err := draw(filepath.Base(file), text)
		require.NoError(t, err)
		name := strings.TrimSuffix(filepath.Base(file), ".txt") + ".svg"
		got, err := os.ReadFile(filepath.Join(docs, name))
		require.NoError(t, err)
		require.Equal(t, string(want), string(got), "docs/%s is not what its description draws: run .ci/figures", name)
		requireXML(t, got)
	}
}

func requireXML(t *testing.T, svg []byte) {
	t.Helper()
	for dec := xml.NewDecoder(strings.NewReader(string(svg))); ; {
		_, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		require.NoError(t, err)
	}
}

func TestEveryKindOfLine(t *testing.T) {
	svg, err := draw("a.txt", []byte("# a comment\n\ntitle A < B\ndesc two\nview 0 0 10 20\n"+
		"rect card 0 0 1 2\nrect box 0 0 1 2 3\npath line M0 0L1 1\nhead head 20 20 right\nhead head 20 20 left\n"+
		"head head 20 20 up\nhead head 20 20 down\ntext small,mid 1 2 *A & B* goes on\ntext plain 3 4 plain\n"))
	require.NoError(t, err)
	requireXML(t, svg)
	for _, want := range []string{
		`viewBox="0 0 10 20" width="10" height="20"`,
		"<title id=\"title\">A &lt; B</title>",
		"<metadata>drawn from a.txt, sha256 ",
		`<rect class="card" x="0" y="0" width="1" height="2"/>`,
		`<rect class="box" x="0" y="0" width="1" height="2" rx="3"/>`,
		`<path class="line" d="M0 0L1 1"/>`,
		"M20 20L9 15V25Z", "M20 20L31 15V25Z", "M20 20L15 31H25Z", "M20 20L15 9H25Z",
		`<text class="small mid" x="1" y="2"><tspan class="name small">A &amp; B</tspan>  goes on</text>`,
		`<text x="3" y="4">plain</text>`,
		".card { fill: #161b22",
	} {
		require.Contains(t, string(svg), want)
	}
	require.NotContains(t, string(svg), ".hedge", "classes that are not used")
	other, err := draw("a.txt", []byte("title A\nview 0 0 10 21\n"))
	require.NoError(t, err)
	require.NotContains(t, string(svg), sumOf(t, other))
}

// sumOf returns the hash that a figure carries.
func sumOf(t *testing.T, svg []byte) string {
	t.Helper()
	_, rest, ok := strings.Cut(string(svg), ", sha256 ")
	require.True(t, ok)
	sum, _, _ := strings.Cut(rest, "<")
	require.Len(t, sum, 64)
	return sum
}

func TestLinesThatCannotBeDrawn(t *testing.T) {
	for line, want := range map[string]string{
		"circle line 1 2 3":       `3: "circle": a line begins with`,
		"rect":                    "3: a class is missing",
		"rect gold 1 2 3 4":       `3: there is no class "gold"`,
		"rect box 1 2 3":          "3: 3 numbers, want 4 to 5",
		"rect box 1 2 3 wide":     `3: "wide" is not a number`,
		"path line <script>":      `3: "<script>" is not the data of a path`,
		"path line":               "3: ",
		"head head 1 2":           "3: a head has a class, a place and a direction",
		"head head 1 2 sideways":  `3: direction "sideways"`,
		"head head here 2 up":     `3: "here" is not a number`,
		"text small 1 2":          "3: a text has a class, a place and words",
		"text small 1 high words": `3: "high" is not a number`,
		"view 1 2 3":              "3: 3 numbers, want 4 to 4",
	} {
		_, err := draw("a.txt", []byte("title A\nview 0 0 1 1\n"+line+"\n"))
		require.ErrorContains(t, err, want, line)
	}
	_, err := draw("a.txt", []byte("title A\n"))
	require.ErrorContains(t, err, "needs a title and a view")
	require.ErrorContains(t, run(t.TempDir()), "no descriptions")
}
