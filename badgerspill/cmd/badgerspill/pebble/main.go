package main

import (
	"os"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/badgerspill/internal/cli"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/badgerspill/internal/engine"
)

func main() {
	engine.Register("pebble", open)
	os.Exit(cli.Main())
}
