// Command pebble is the command badgerspill with one engine more to measure against: Pebble. It is a module of its own, so that who
// uses badgerspill does not depend on Pebble. In this directory:
//
//	go run . burst --engine badger,badgerspill,pebble,log
//
// All else is as in badgerspill: go run . burst --help.
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
