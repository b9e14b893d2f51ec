// Package inmemory tests databases in memory against plain Badger, with nothing that only some
// systems have: it runs wherever either of them does, WebAssembly included (.ci/systems).
package inmemory
