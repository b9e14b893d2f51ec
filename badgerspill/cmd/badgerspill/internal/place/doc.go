// Package place finds a database and its spill for commands that look at them: the flags, what is
// refused and why, and who has the database open.
package place
