package integration_test

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
)

var (
	inlineLink    = regexp.MustCompile(`\]\(<?([^)\s>]+)>?(?: +"[^"]*")?\)`)
	referenceLink = regexp.MustCompile(`(?m)^\[[^\]]+\]: +<?([^\s>]+)>?`)
	attributeLink = regexp.MustCompile(`(?:href|src|srcset)="([^"]+)"`)
	scheme        = regexp.MustCompile(`^[a-z][a-z0-9+.-]*:`)
	linkText      = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
)

// Every link in the documentation that stays in this repository leads to a file that is there, and
// to a heading that is in it.
func TestDocsLinks(t *testing.T) {
	all := pages(t)
	anchors := map[string]map[string]bool{}
	for _, p := range all {
		anchors[p.name] = p.anchors()
	}
	seen := 0
	for _, p := range all {
		for i, line := range strings.Split(p.prose, "\n") {
			for _, target := range links(line) {
				if scheme.MatchString(target) {
					continue
				}
				seen++
				if reason := broken(p.name, target, anchors); reason != "" {
					t.Errorf("%s:%d: link %s: %s", p.name, i+1, target, reason)
				}
			}
		}
	}
	require.Greater(t, seen, 20, "links found")
}

// broken says what is wrong with a relative link on a page, "" if nothing is.
func broken(from, target string, anchors map[string]map[string]bool) string {
	file, anchor, hasAnchor := strings.Cut(target, "#")
	name := from
	if file != "" {
		name = path.Join(path.Dir(from), file)
		if path.IsAbs(file) || strings.HasPrefix(name, "../") {
			return "it leads out of the repository"
		}
		if _, err := os.Stat(filepath.Join("..", filepath.FromSlash(name))); err != nil {
			return "there is no file " + name
		}
	}
	if hasAnchor && !anchors[name][anchor] {
		return fmt.Sprintf("%s has no heading #%s", name, anchor)
	}
	return ""
}

func links(line string) (targets []string) {
	line = inlineCode.ReplaceAllStringFunc(line, func(s string) string { return strings.Repeat("x", len(s)) })
	for _, form := range []*regexp.Regexp{inlineLink, referenceLink, attributeLink} {
		for _, m := range form.FindAllStringSubmatch(line, -1) {
			targets = append(targets, m[1])
		}
	}
	return targets
}

// anchors returns the names by which the headings of a page can be linked to, as GitHub makes them:
// lower case, without punctuation, blanks as dashes, and numbered where they repeat.
func (p page) anchors() map[string]bool {
	all := map[string]bool{}
	for _, h := range p.headings() {
		h = linkText.ReplaceAllString(h, "$1")
		slug := strings.Map(func(r rune) rune {
			switch {
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			case r == ' ':
				return '-'
			}
			return -1
		}, h)
		name := slug
		for n := 1; all[name]; n++ {
			name = fmt.Sprintf("%s-%d", slug, n)
		}
		all[name] = true
	}
	return all
}

// The check itself.
func TestBrokenLinksAreFound(t *testing.T) {
	p := readPage(t, "docs/x.md", "# Why `Drain`, and when?\n\n## Twice\n## Twice\n\n```\n# no heading, [no](link)\n```\n")
	anchors := map[string]map[string]bool{p.name: p.anchors()}
	require.Equal(t, map[string]bool{"why-drain-and-when": true, "twice": true, "twice-1": true}, anchors[p.name])
	require.Equal(t, []string{"a.md#b"}, links("see [x](a.md#b), not `[y](z)`"))
	require.Equal(t, []string{"e.svg"}, links(`<img alt="" src="e.svg">`))
	require.Equal(t, []string{"f.md"}, links(`[1]: f.md`))
	for target, reason := range map[string]string{
		"design.md":           "",
		"../README.md":        "",
		"#twice-1":            "",
		"x.md#twice":          "there is no file docs/x.md",
		"#thrice":             "docs/x.md has no heading #thrice",
		"nowhere.md":          "there is no file docs/nowhere.md",
		"../../else.md":       "it leads out of the repository",
		"/docs/design.md":     "it leads out of the repository",
		"design.md#no-anchor": "docs/design.md has no heading #no-anchor",
	} {
		require.Equal(t, reason, broken("docs/x.md", target, anchors), target)
	}
}

// docs/README.md leads to every page, and every page of docs/upstream is in the list of that
// folder.
func TestEveryPageIsListed(t *testing.T) {
	all := pages(t)
	for _, list := range []string{"docs/README.md", "docs/upstream/README.md"} {
		require.Empty(t, unlisted(pageNamed(t, list), all), "%s does not lead to them", list)
	}
}

// unlisted returns the pages in the folder of a list to which it has no link.
func unlisted(list page, all []page) (missing []string) {
	listed := map[string]bool{list.name: true}
	for line := range strings.Lines(list.prose) {
		for _, target := range links(line) {
			file, _, _ := strings.Cut(target, "#")
			listed[path.Join(path.Dir(list.name), file)] = true
		}
	}
	for _, p := range all {
		if path.Dir(p.name) == path.Dir(list.name) && !listed[p.name] {
			missing = append(missing, p.name)
		}
	}
	return missing
}

// The check itself.
func TestUnlistedPagesAreFound(t *testing.T) {
	list := readPage(t, "docs/README.md", "[a](a.md#x), not `[c](c.md)`\n\n```\n[d](d.md)\n```\n")
	all := []page{list, {name: "docs/a.md"}, {name: "docs/c.md"}, {name: "docs/d.md"}, {name: "docs/below/e.md"}, {name: "README.md"}}
	require.Equal(t, []string{"docs/c.md", "docs/d.md"}, unlisted(list, all))
}
