//go:build race

package badger

const mendRace = true
