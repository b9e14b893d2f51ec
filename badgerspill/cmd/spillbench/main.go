package main

import (
	"fmt"
	"os"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/frame"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/cli"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/workdir"
)

func main() {
	if err := workdir.Restore(); err != nil {
		fmt.Fprintln(os.Stderr, "spillbench:", err)
		os.Exit(frame.Failed)
	}
	os.Exit(frame.Main(cli.New()))
}
