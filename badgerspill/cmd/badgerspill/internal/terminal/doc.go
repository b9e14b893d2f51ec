// Package terminal tells whether a stream is one that a person reads, or types into.
package terminal
