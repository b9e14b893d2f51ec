package main

import (
	"os"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/badgerspill/internal/cli"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/frame"
)

func main() { os.Exit(frame.Main(cli.New())) }
