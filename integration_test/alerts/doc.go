// Package alerts evaluates the rules of docs/alerts.yml on metrics that were recorded of real
// databases, one file of testdata for each thing that can be the matter, and the queries of
// docs/grafana-dashboard.json on scrapes of one that it opens. It is a module of its own for the
// sake of Prometheus, whose parsers and query engine it takes.
//
// The files are recorded by TestRecordAlerts in package badgerspill. When a rule asks for another
// metric, or the layer behaves differently, record them again; ten runs beside each other take 25
// minutes and about half of two cores.
package alerts
