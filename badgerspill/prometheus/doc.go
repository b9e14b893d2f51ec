// Package prometheus gives the metrics of a database to Prometheus. It is a module of its own, so
// that nobody else depends on Prometheus' client.
//
// NewCollector makes a prometheus.Collector of a database. Its metrics are those that
// badgerspill.Metrics lists, under the names that Metric.Prometheus has there: counters end in
// _total, sizes are in bytes, times in seconds. Three things are otherwise:
//
//   - Appends to the spill are one histogram, badgerspill_append_seconds. It has classic buckets
//     and those of a native histogram, so a Prometheus with native histograms and one without find
//     what they need.
//   - Mean and quantiles of the appends since Open are left out: Prometheus calculates those of any
//     time.
//   - badgerspill_up is 1 while the database is open, and 0 once Close was called. There are no
//     other metrics then.
//
// The collector does not need the expvars of Options.MetricsEnabled. Do not have them collected
// beside it in the same registry: some of the names are the same.
package prometheus
