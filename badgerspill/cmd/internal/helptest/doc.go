// Package helptest has what the tests of all commands check of their help and their manual pages.
package helptest
