// Command http is a key-value service over HTTP, whole but for who may use it:
//
//	http DIR ADDRESS
//
// It keeps what it gets with PUT under /keys/KEY, and answers GET and DELETE there. GET /ready is
// for a probe, GET /debug/vars has the metrics. A request gives its context to its commit, so
// nothing is written for a client that has gone while there was no room. What the service cannot
// take now it refuses with 503, and what is wrong with a request it says with 4xx. At SIGTERM it
// answers what has come, closes the database, and ends.
package main
