package main

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

//go:embed plain.go.txt
var plainProgram []byte

// plainBadger makes a database with another version of plain Badger, in a module of its own.
func plainBadger(version, work string) error {
	dir, err := os.MkdirTemp("", "plain")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "main.go"), plainProgram, 0o600); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"go", "mod", "init", "plain"},
		{"go", "get", "github.com/dgraph-io/badger/v4@" + version},
		{"go", "mod", "tidy"},
		{"go", "build", "-o", "plain.exe", "."},
		{"./plain.exe", work},
	} {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w: %s", args, err, out)
		}
	}
	return nil
}
