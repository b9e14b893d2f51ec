package main

import (
	"os"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/badgerspill/internal/cli"
)

func main() { os.Exit(cli.Main()) }
