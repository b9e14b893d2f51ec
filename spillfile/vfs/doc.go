// Package vfs is the file system as the spill sees it: an interface that a test can fail in any
// place, and the implementation of the operating system. WriteFile replaces a file so that a crash
// leaves the old one or the new one. Package vfstest has file systems for tests.
package vfs
