// Package bench runs the benchmarks that say what badgerspill costs and gains against plain Badger.
//
// A case is one experiment. It runs in pairs: each engine once, in turns who is first, every stage
// of it in a process of its own, on a copy of the same database where it needs one,
// or of its own with Config.OwnBase. Figures of a
// pair are compared as a ratio, and the median of the ratios is the result: pairs follow each other
// closely, so what else the machine does hits both.
//
// The parent (parent.go) starts the children, shows what they report and draws the table. A child
// (child.go) runs one stage of a case for one engine. The cases are in files of their own.
package bench
