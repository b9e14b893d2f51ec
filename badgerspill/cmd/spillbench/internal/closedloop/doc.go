// Package closedloop drives writes as fast as they are accepted: each writer sends its next one
// when the last was acknowledged. It measures how much a store takes, not how long a client waits;
// for that see package openloop.
package closedloop
