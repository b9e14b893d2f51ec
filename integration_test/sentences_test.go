package integration_test

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
)

// tooManyWords is where a sentence is too long to be read once. Most have 25 words or fewer.
const tooManyWords = 40

// No sentence of a page or of a comment has tooManyWords. A cell of a table and an item of a list
// are texts of their own. Code counts as one word, whatever its length, and blocks of code do not
// count.
func TestSentences(t *testing.T) {
	for _, p := range pages(t) {
		if p.name == "docs/CHANGELOG.md" {
			continue // its lines are notes, written once
		}
		for _, text := range markdownTexts(p.prose) {
			for _, s := range longSentences(text.words) {
				t.Errorf("%s:%d: %d words, fewer than %d are allowed: %s", p.name, text.line, countWords(s), tooManyWords, s)
			}
		}
	}
	looked := 0
	for _, dir := range packageDirs(t) {
		files, err := filepath.Glob(filepath.Join("..", dir, "*.go"))
		require.NoError(t, err)
		for _, file := range files {
			source, err := os.ReadFile(file)
			require.NoError(t, err)
			looked++
			for _, text := range commentTexts(t, file, source) {
				for _, s := range longSentences(text.words) {
					t.Errorf("%s:%d: %d words, fewer than %d are allowed: %s", strings.TrimPrefix(file, ".."+string(filepath.Separator)),
						text.line, countWords(s), tooManyWords, s)
				}
			}
		}
	}
	require.Greater(t, looked, 100, "files of Go")
}

// passage is a text in which sentences follow each other, with the line at which it begins.
type passage struct {
	line  int
	words string
}

var (
	listItem   = regexp.MustCompile(`^(?:[-*]|\d+\.) +`)
	linkedText = regexp.MustCompile(`!?\[([^\]]*)\](?:\([^)]*\)|\[[^\]]*\])`)
	htmlTag    = regexp.MustCompile(`<[^>]+>`)
	// What may stand behind the last letter of a sentence: closing marks, and the end of emphasis.
	sentenceEnd = regexp.MustCompile("[.!?][\"')*_\\]]*(?:\\s+|$)")
)

// markdownTexts returns the paragraphs, headings, items of lists and cells of tables of a page.
func markdownTexts(prose string) (all []passage) {
	open := false // whether the next line goes on with the last passage
	for i, line := range strings.Split(prose, "\n") {
		text := strings.TrimSpace(line)
		add := func(words string) { all = append(all, passage{i + 1, words}) }
		switch {
		case text == "", linkDefinition.MatchString(text), strings.HasPrefix(text, "<!--"):
			open = false
		case strings.HasPrefix(text, "|"):
			open = false
			for _, cell := range strings.Split(strings.Trim(text, "|"), "|") {
				add(cell)
			}
		case strings.HasPrefix(text, "#"):
			open = false
			add(text)
		case listItem.MatchString(text):
			open = true
			add(listItem.ReplaceAllString(text, ""))
		case open:
			all[len(all)-1].words += " " + text
		default:
			open = true
			add(text)
		}
	}
	for i := range all {
		all[i].words = linkedText.ReplaceAllString(inlineCode.ReplaceAllString(all[i].words, "code"), "$1")
		all[i].words = htmlTag.ReplaceAllString(all[i].words, "")
	}
	return all
}

// commentTexts returns the paragraphs and items of lists in the comments of a file. Indented lines
// of a comment are code.
func commentTexts(t *testing.T, name string, source []byte) (all []passage) {
	t.Helper()
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, source, parser.ParseComments|parser.SkipObjectResolution)
	require.NoError(t, err)
	for _, group := range file.Comments {
		open := false
		for _, comment := range group.List {
			first := fset.Position(comment.Pos()).Line
			for i, line := range strings.Split(comment.Text, "\n") {
				line = strings.TrimPrefix(strings.TrimSuffix(strings.TrimPrefix(line, "/*"), "*/"), "//")
				text := strings.TrimSpace(line)
				item := listItem.MatchString(text)
				switch {
				case text == "", strings.HasPrefix(line, "go:"):
					open = false
				case item:
					open = true
					all = append(all, passage{first + i, listItem.ReplaceAllString(text, "")})
				case strings.HasPrefix(line, "\t"), strings.HasPrefix(line, "  ") && !open:
					open = false // code
				case open:
					all[len(all)-1].words += " " + text
				default:
					open = true
					all = append(all, passage{first + i, text})
				}
			}
		}
	}
	return all
}

// longSentences returns those of a text that have tooManyWords.
func longSentences(text string) (long []string) {
	text = strings.Join(strings.Fields(text), " ")
	for text != "" {
		end := len(text)
		if at := sentenceEnd.FindStringIndex(text); at != nil {
			end = at[1]
		}
		if s := strings.TrimSpace(text[:end]); countWords(s) >= tooManyWords {
			long = append(long, s)
		}
		text = text[end:]
	}
	return long
}

// countWords counts what has a letter or a digit.
func countWords(sentence string) (n int) {
	for _, word := range strings.Fields(sentence) {
		if strings.ContainsFunc(word, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }) {
			n++
		}
	}
	return n
}

// The check itself.
func TestLongSentencesAreFound(t *testing.T) {
	words := func(n int) string { return strings.TrimSpace(strings.Repeat("word ", n)) }
	require.Empty(t, longSentences(words(39)+". "+words(39)+`!" `+words(39)))
	require.Equal(t, []string{words(40) + "."}, longSentences("Short (see 4.9.6 of it). "+words(40)+". Short."))
	require.Empty(t, longSentences(words(39)+" · — ="), "only what has a letter or a digit is a word")

	lines := func(texts []passage) (all []int) {
		for _, p := range texts {
			if len(longSentences(p.words)) > 0 {
				all = append(all, p.line)
			}
		}
		slices.Sort(all)
		return all
	}
	p := readPage(t, "x.md", "# "+words(40)+"\n\n"+words(20)+"\n"+words(20)+"\n\n- "+words(30)+"\n- "+words(30)+"\n  "+words(10)+"\n\n"+
		"| "+words(39)+" | "+words(39)+" |\n| "+words(41)+" |\n\n```\n"+words(50)+"\n```\n\n"+words(39)+" `"+words(5)+"`\n\n"+
		words(38)+" ["+words(1)+"](a.md)\n\n[1]: "+words(50)+"\n<!-- "+words(50)+" -->\n")
	require.Equal(t, []int{1, 3, 7, 11, 17}, lines(markdownTexts(p.prose)))

	source := "// Package p is one. " + words(40) + ".\npackage p\n\n// F " + words(20) + "\n// " + words(20) + ".\n//\n//\t" + words(50) +
		"\n//   - " + words(30) + "\n//   - " + words(39) + "\n//     " + words(1) + "\nfunc F() {\n\t_ = 1 // " + words(40) + "\n\t/* " + words(40) + " */\n}\n\n" +
		"//go:generate " + words(50) + "\n\nconst s = \"// " + words(50) + "\"\n"
	require.Equal(t, []int{1, 4, 9, 12, 13}, lines(commentTexts(t, "p.go", []byte(source))))
}
