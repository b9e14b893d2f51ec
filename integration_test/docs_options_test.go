package integration_test

import (
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
)

// ownOptions returns the fields of Options that are the layer's own, and those of Tuning.
func ownOptions() (top, tuning []string) {
	theirs := reflect.TypeFor[badger.Options]()
	t := reflect.TypeFor[badgerspill.Options]()
	for i := range t.NumField() {
		f := t.Field(i)
		if _, shared := theirs.FieldByName(f.Name); f.IsExported() && !shared && f.Name != "Tuning" {
			top = append(top, f.Name)
		}
	}
	t = reflect.TypeFor[badgerspill.Tuning]()
	for i := range t.NumField() {
		tuning = append(tuning, t.Field(i).Name)
	}
	return top, tuning
}

var quoted = regexp.MustCompile("`(\\w+)`")

// docs/tuning.md has a section for each option of the layer, and for nothing else, and each says
// the default.
func TestTuningCoversTheOptions(t *testing.T) {
	text := pageNamed(t, "docs/tuning.md").prose
	_, text, ok := strings.Cut(text, "\n## Every option\n")
	require.True(t, ok)
	text, _, _ = strings.Cut(text, "\n## ")

	var names []string
	for _, section := range strings.Split(text, "\n### ")[1:] {
		title, body, _ := strings.Cut(section, "\n")
		require.Regexp(t, "^`\\w+`$", title, "a section is one option")
		name := strings.Trim(title, "`")
		names = append(names, name)
		require.True(t, strings.HasPrefix(strings.TrimSpace(body), "Default "), "%s: the section must begin with the default", name)
		require.Greater(t, len(strings.Split(strings.TrimSpace(body), "\n\n")), 1, "%s: the section must say what it trades", name)
	}
	top, tuning := ownOptions()
	require.Equal(t, append(top, tuning...), names, "in the order of the structs")
}

// The table of options in README.md has those that are not in Tuning.
func TestReadmeCoversTheOptions(t *testing.T) {
	_, text, ok := strings.Cut(pageNamed(t, "README.md").prose, "\n## Options\n")
	require.True(t, ok)
	text, _, _ = strings.Cut(text, "\n## ")
	var names []string
	for _, line := range strings.Split(text, "\n") {
		if cells := strings.Split(line, "|"); len(cells) > 2 {
			for _, m := range quoted.FindAllStringSubmatch(cells[1], -1) {
				names = append(names, m[1])
			}
		}
	}
	top, _ := ownOptions()
	require.Equal(t, top, names)
}
