// Package backup writes commits of a spill as a backup that Badger's Load, or its restore command,
// reads.
package backup
