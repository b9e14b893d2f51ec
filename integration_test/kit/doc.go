// Package kit is what the tests of several packages and modules share. It does not import package
// badgerspill, so tests inside of that may use it.
package kit
