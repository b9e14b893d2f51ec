// Package spilltest makes spills for the tests of who looks at one or repairs it: it writes them by
// a Log, and reads them back without one. Tests of package spillfile cannot use it, since it uses
// that package.
package spilltest
