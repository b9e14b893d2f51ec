package host

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const root = "../../.."

// TestBadgerIsTheOneInTheTable: the package comment speaks of one version of Badger. Who moves to
// another looks at each of its points, and then at the number there.
func TestBadgerIsTheOneInTheTable(t *testing.T) {
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	require.NoError(t, err)
	found := regexp.MustCompile(`github\.com/dgraph-io/badger/v4 v(\S+)`).FindSubmatch(mod)
	require.NotNil(t, found)
	require.Contains(t, comment(t), "known of Badger "+string(found[1])+" ")
	require.Equal(t, "v"+string(found[1]), Release)
}

// TestTheTestsInTheTableExist, so that it is known what fails without a remedy.
func TestTheTestsInTheTableExist(t *testing.T) {
	var tests strings.Builder
	for _, dir := range []string{"badgerspill", "integration_test", "replay"} {
		require.NoError(t, filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(path, "_test.go") {
				text, rerr := os.ReadFile(path)
				require.NoError(t, rerr)
				tests.Write(text)
			}
			return err
		}))
	}
	names := regexp.MustCompile(`\bTest[A-Z]\w+`).FindAllString(comment(t), -1)
	require.Greater(t, len(names), 10)
	for _, name := range names {
		require.Contains(t, tests.String(), "func "+name+"(", "no such test")
	}
}

// TestTheTableIsWhole: each row says what stands against the fault, which test would fail without
// that, and when it can go.
func TestTheTableIsWhole(t *testing.T) {
	_, table, ok := strings.Cut(comment(t), "looked at again. - ")
	require.True(t, ok)
	rows := strings.Split(table, ". - ")
	require.Greater(t, len(rows), 10)
	for _, row := range rows {
		require.Regexp(t, `^\S+\.go.*\. Here: .*\. Tests?: .*\. It can go when .*`, row)
	}
}

func comment(t *testing.T) string {
	f, err := parser.ParseFile(token.NewFileSet(), "doc.go", nil, parser.ParseComments)
	require.NoError(t, err)
	return strings.Join(strings.Fields(f.Doc.Text()), " ")
}
