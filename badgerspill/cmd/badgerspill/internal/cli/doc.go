// Package cli is the command: its verbs, flags, help and exit codes. It is a package of its own because a module that adds an engine
// to the measurements has a main of its own.
package cli
