// Package settle tells when a Badger database has nothing left to do: what was written is in its
// tables, and no level of its tree is due for compaction.
package settle
