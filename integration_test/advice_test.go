package integration_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	// precious is what may hold commits.
	precious = `\b(it|that|this|them|these|files?|folders?|director(y|ies)|spill|segments?|index(es)?|interlock|manifest|newest|badgerspill|unreplayed)\b`
	// within is what may stand between two words of a sentence: a point there is one of a name.
	within = `([^.;!?|]|\.\w)*`
)

// advice is a verb that takes something away, with what is precious behind it in the same sentence.
// Or before it: it can be removed, it is safe to remove, it may go.
var advice = regexp.MustCompile(`(?i)\b(remov(e|ing)|delet(e|ing)|mov(e|ing)|unlink|rm|mv|throw(ing)?|wipe|clear(ing)?|rename)\b[^.;!?|]*` + precious +
	`|` + precious + within + `\b(can|may|could|might|should|must|needs?( only)? to|ha(s|ve) to|ought to|(is|are) to)( \w+ly| then| now| just| all| both| even)* ` +
	`(be( \w+ly)? (removed|deleted|moved|unlinked|thrown|wiped|cleared|renamed|erased|purged|cleaned)|go away|go after|go then)\b` +
	`|` + precious + within + `\b(safe|free|fine|enough|easy) to (remove|delete|move|unlink|throw|wipe|clear|rename|erase|purge)\b`)

// harmless are phrases that match and advise nothing that loses a commit. Each is the whole of what
// is allowed.
var harmless = []string{
	"Do not remove it", "Do not remove the file", "Never remove it by hand", // the opposite
	// what the layer does: the name of a step in an error
	"could not remove the interlock", "remove the interlock",
	// discard's way back
	"To undo this before anything is written:", " move %s back to %s", "moving back what is in the folder",
	"move UNREPLAYED-SPILL--open-with-badgerspill.mem back to", "move back what is in the folder",
	// BADGERSPILL-DROP, which announces a drop and holds no commit
	"remove the file to forget",
	// a line feed behind a key
	"remove that, the key is every byte of the file",
	// a symbolic link
	"remove it, or put the file back in its place",
	// what salvage did
	"An earlier salvage of %s was interrupted while it moved files", "while it moved files", "moving files",
	"set or delete", "delete has no value", "may be moving, and it says so", "1 delete, 4 discard", "move to it, and back", "deleting keys", "a write, a sync, a rename, any operation",
	// Badger's own tables
	"that a table may be deleted",
	"removing a file that is open", "lets raft delete the log below it", "remove the node and", "To move it, `Drain` first",
}

// No error, log line or help, and no page, advises to remove or to move what holds commits. Who
// gives a spill up has badgerspill discard.
func TestNoTextAdvisesToRemove(t *testing.T) {
	root := ".."
	found := 0
	check := func(where, text string) {
		for _, h := range harmless {
			text = strings.ReplaceAll(text, h, "")
		}
		if m := advice.FindString(text); m != "" {
			found++
			t.Errorf("%s: %q", where, m)
		}
	}
	files := 0
	require.NoError(t, filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			if err == nil && (strings.HasPrefix(e.Name(), ".") && e.Name() != ".." || e.Name() == "integration_test" || e.Name() == "spillbench") {
				return fs.SkipDir
			}
			return err
		}
		switch {
		case strings.HasSuffix(path, "_test.go"):
		case strings.HasSuffix(path, ".go"):
			files++
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				// Texts that are put together with + are read as one.
				text, ok := literal(n)
				if ok {
					check(fmt.Sprint(set.Position(n.Pos())), text)
				}
				return !ok
			})
		case advised(path):
			files++
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for i, paragraph := range strings.Split(string(b), "\n\n") {
				check(fmt.Sprintf("%s, paragraph %d", path, i+1), strings.Join(strings.Fields(paragraph), " "))
			}
		}
		return nil
	}))
	require.Greater(t, files, 100)
	// The test sees what it is there for.
	for _, bad := range []string{"restore the file from a copy, or move the spill directory away to give up the commits in it",
		"to give them up, remove that file", "or move the segments away to give up their commits",
		"move its directory away and remove %s", "rm -r /var/lib/app/spill",
		"`BADGERSPILL` and `spill` can be removed after that, or left", "UNREPLAYED-SPILL--open-with-badgerspill.mem may safely be deleted",
		"the segments are then safe to remove", "Once it is drained, the folder can go away"} {
		require.Regexp(t, advice, bad)
	}
}

// advised: the pages for users. What recovery itself removes is in format.md and design.md, what is
// new in the changelog.
func advised(path string) bool {
	switch filepath.Base(path) {
	case "format.md", "design.md", "CHANGELOG.md":
		return false
	}
	return strings.HasSuffix(path, ".md")
}

func literal(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.BasicLit:
		if n.Kind == token.STRING {
			text, err := strconv.Unquote(n.Value)
			return text, err == nil
		}
	case *ast.BinaryExpr:
		if n.Op == token.ADD {
			x, okX := literal(n.X)
			y, okY := literal(n.Y)
			return x + y, okX && okY
		}
	}
	return "", false
}
