// Package prometheus is the place of what needs the Prometheus client, a module of its own, so that
// nobody else depends on that. Today it shows how a program exports the metrics of its databases:
// see the example.
package prometheus
