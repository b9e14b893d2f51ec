package mend

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// released returns a function that reads files of the Badger that this module is built on.
func released(t *testing.T) func(path string) ([]byte, error) {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/dgraph-io/badger/v4").Output()
	require.NoError(t, err)
	dir := strings.TrimSpace(string(out))
	if _, err := os.Stat(filepath.Join(dir, marker)); err == nil {
		t.Skip("this Badger is mended already")
	}
	return func(path string) ([]byte, error) { return os.ReadFile(filepath.Join(dir, path)) }
}

// Any two mends go together, and none needs another.
func TestMendsStandAlone(t *testing.T) {
	read := released(t)
	for _, a := range All() {
		for _, b := range All() {
			_, err := Apply([]Mend{a, b}, read)
			if a.Name == b.Name {
				require.ErrorContains(t, err, "two mends change the same place")
				continue
			}
			require.NoError(t, err, "%s and %s", a.Name, b.Name)
		}
		files, err := Apply([]Mend{a}, read)
		require.NoError(t, err)
		for path, text := range files {
			require.Contains(t, string(text), "by badgerpatch", path)
			require.Contains(t, string(text), a.Name, path)
		}
	}
}

// What a mend holds of Badger are the lines at which it is put in, and no more.
func TestAnchorsAreSmall(t *testing.T) {
	for _, m := range All() {
		lines := 0
		for _, e := range m.edits {
			lines += strings.Count(e.anchor, "\n")
			require.LessOrEqual(t, strings.Count(e.anchor, "\n"), 5, "%s: %q", m.Name, e.anchor)
		}
		require.LessOrEqual(t, lines, 25, m.Name)
	}
}

func TestEveryMendHasATestAndAPage(t *testing.T) {
	for _, m := range All() {
		require.FileExists(t, filepath.Join("testdata", "mend_"+m.Name+"_test.go"))
		require.FileExists(t, filepath.Join("..", "..", "..", "..", "..", "docs", "upstream", m.Name+".md"))
	}
}

func TestSelect(t *testing.T) {
	for _, test := range []struct{ only, without, want string }{
		{"", "", strings.Join(Names(All()), " ")},
		{"gc tables", "", "tables gc"},
		{"gc tables", "gc", "tables"},
	} {
		mends, err := Select(strings.Fields(test.only), strings.Fields(test.without))
		require.NoError(t, err)
		require.Equal(t, test.want, strings.Join(Names(mends), " "))
	}
	_, err := Select([]string{"tabels"}, nil)
	require.ErrorContains(t, err, `no mend is called "tabels": there are tables, `)
	_, err = Select([]string{"gc"}, []string{"gc"})
	require.ErrorContains(t, err, "no mend is left")
}

func TestApplyRefusesWhatItDoesNotKnow(t *testing.T) {
	for text, want := range map[string]string{
		"package badger\n": "must be once",
		"not Go":           "must be once",
	} {
		_, err := Apply([]Mend{dropall}, func(string) ([]byte, error) { return []byte(text), nil })
		require.ErrorContains(t, err, want)
	}
	_, err := Apply([]Mend{tables}, func(string) ([]byte, error) { return []byte("package table\n"), nil })
	require.EqualError(t, err, "table/table.go: there is no func CreateTable")
	_, err = Apply([]Mend{tables}, func(string) ([]byte, error) { return nil, fmt.Errorf("unreadable") })
	require.EqualError(t, err, "unreadable")
}
