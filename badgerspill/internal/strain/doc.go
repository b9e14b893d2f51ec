// Package strain measures how much the users of a database suffer while its spill is replayed: by
// how much the 99th percentile of what they do is above what is acceptable.
//
// Who records a sample pays an atomic addition, and never waits. What is acceptable is a constant,
// or twice what the same machine does without replay, if that is more: a slow machine is no reason
// to crawl.
package strain
