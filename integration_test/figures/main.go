package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	folder := "docs"
	if len(os.Args) > 1 {
		folder = os.Args[1]
	}
	if err := run(folder); err != nil {
		fmt.Fprintln(os.Stderr, "figures:", err)
		os.Exit(1)
	}
}

// run draws every description in folder/figures.
func run(folder string) error {
	files, err := filepath.Glob(filepath.Join(folder, "figures", "*.txt"))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("no descriptions in %s; name the folder that has a folder figures", filepath.Join(folder, "figures"))
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		svg, err := draw(filepath.Base(file), text)
		if err != nil {
			return fmt.Errorf("%s:%w", file, err)
		}
		out := filepath.Join(folder, strings.TrimSuffix(filepath.Base(file), ".txt")+".svg")
		if err := os.WriteFile(out, svg, 0o644); err != nil {
			return err
		}
		fmt.Println(out, "written")
	}
	return nil
}
