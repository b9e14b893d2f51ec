package spillfile

import "github.com/badgerspill/badgerspill/spillfile/vfs"

// What the spill knows of file systems, for who uses it without package vfs.
type (
	// FS is every way in which this package touches a file system.
	FS = vfs.FS
	// File is an open file of an FS.
	File = vfs.File
	// LockedError names a lock that another process, or another Log of this one, holds. It matches
	// ErrLocked.
	LockedError = vfs.LockedError
)

// OS is the FS of the operating system.
var OS = vfs.OS
