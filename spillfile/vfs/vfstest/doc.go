// Package vfstest has file systems for tests: Disk, which knows what a power cut would leave,
// Faults, which fails or delays operations of another one, and Descriptors, which opens only so
// many files.
package vfstest
