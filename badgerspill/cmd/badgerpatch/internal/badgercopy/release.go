package badgercopy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const (
	// Module and Version are what is mended, and nothing else is.
	Module  = "github.com/dgraph-io/badger/v4"
	Version = "v4.9.6"

	// sum is what go.sum says of it.
	sum = "h1:IQqMPVGLNCQr1b4Mu8lHkYm/xyqFRsyKaFEtyLi9CCQ="
)

// released has the SHA-256 of each file that a mend changes.
var released = map[string]string{
	"backup.go":      "3f1e94e43f49a8757f402db51e34e5bcd249d5f1ebcee55f614f622af6cc4836",
	"db.go":          "823fe02d0797e1e95bab29523a26fb4fda0bee8f7635397d41acad6e05359f7a",
	"levels.go":      "14b18b6371bdf778e03f25bb88d6100f096cce6f5828f3c71a40f8572e43e557",
	"memtable.go":    "6bb2c6aced2934ca6363f31da71c306695fa3b996a04c9e953d9bc086e21886c",
	"value.go":       "a814fde8eab950d064d37db676189878e2959adfafe2d96d4aa2c5dfb2a36692",
	"table/table.go": "eadaeb76de9e82f21d9fe77e52ae2ee164256c656e3c9a2f8ad2ba76c6808677",
	"y/y.go":         "207464f3e304485ac923767945fb051ad9838a4df3388cae4c6ca3776d08999a",
}

// Release is Badger in the module cache.
type Release struct{ dir string }

// Find returns the release in the module cache, where it is downloaded to if it is not there.
func Find(ctx context.Context) (Release, error) {
	out, err := Go(ctx, os.TempDir(), "mod", "download", "-json", Module+"@"+Version)
	var found struct{ Dir, Sum, Error string }
	if json.Unmarshal(out, &found) == nil && found.Error != "" {
		err = fmt.Errorf("%s", found.Error)
	}
	switch {
	case err != nil:
		return Release{}, fmt.Errorf("module cache: Badger %s is not there, and cannot be fetched: %w", Version, err)
	case found.Sum != sum:
		return Release{}, fmt.Errorf("module cache: Badger %s has the sum %s, must be %s: run go clean -modcache", Version, found.Sum, sum)
	}
	return Release{found.Dir}, nil
}

// Read returns a file that a mend is going to change, and an error if it is not as released.
func (r Release) Read(path string) ([]byte, error) {
	src, err := os.ReadFile(filepath.Join(r.dir, filepath.FromSlash(path)))
	if err != nil {
		return nil, err
	}
	if got := sha256.Sum256(src); hex.EncodeToString(got[:]) != released[path] {
		return nil, fmt.Errorf("%s is not that of Badger %s: run go clean -modcache, and try again", filepath.Join(r.dir, path), Version)
	}
	return src, nil
}

// Go runs the go command in dir, where no workspace and no -mod apply, and returns its output. The
// error has what it said.
func Go(ctx context.Context, dir string, args ...string) ([]byte, error) {
	return run(ctx, dir, append(os.Environ(), "GOFLAGS=", "GOWORK=off"), args...)
}

// Env returns what the go command takes for a variable in dir.
func Env(ctx context.Context, dir, name string) (string, error) {
	out, err := run(ctx, dir, os.Environ(), "env", name)
	return strings.TrimSpace(string(out)), err
}

func run(ctx context.Context, dir string, env []string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = env
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		lines := slices.DeleteFunc(strings.Split(stderr.String(), "\n"), func(s string) bool { return s == "" })
		if len(lines) > 0 {
			err = fmt.Errorf("go %s: %s", strings.Join(args, " "), strings.Join(lines, "; "))
		} else {
			err = fmt.Errorf("go %s: %w", strings.Join(args, " "), err)
		}
	}
	return out, err
}
