// Package notify brings what happens in a database to those who want to know, without anybody
// waiting for them: a queue with a bound in front of a listener, and a limit on the lines of a log.
package notify
