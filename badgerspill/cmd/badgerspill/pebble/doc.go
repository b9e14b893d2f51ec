// Command pebble is the command badgerspill with one engine more to measure against: Pebble. It is a module of its own, so that who
// uses badgerspill does not depend on Pebble. In this directory:
//
//	go run . burst --engine badger,badgerspill,pebble,log
//
// All else is as in badgerspill: go run . burst --help.
package main
