package prometheus

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	client "github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/wbm"
)

// Names of what the collector does not take from badgerspill.Metrics one by one.
const (
	upName      = "badgerspill_up"
	appendsName = "badgerspill_append_seconds"
)

// Option changes what NewCollector makes.
type Option func(*collector)

// WithConstLabels adds labels to all metrics of the collector. A label "dir" replaces the one that
// there is without this option. Two databases of one registry must differ in a label, which two in
// memory do not by themselves, since they have no directory. The registry refuses names that are
// not valid, and those that a metric has already: state, tier, cause, le.
func WithConstLabels(labels client.Labels) Option {
	return func(c *collector) { maps.Copy(c.labels, labels) }
}

// NewCollector returns a collector of a database, for a registry of Prometheus. All metrics have
// the label dir, which is Options.Dir. Several databases of one program have a collector each.
//
// A scrape takes one snapshot, DB.SpillStats, so its numbers belong together. It reads no file and
// holds no commit up. Close may be called while a collector is registered: from then on it collects
// badgerspill_up alone, which is 0. A database that is opened again has a new collector; unregister
// the old one before.
//
// A nil db is refused by the registry, with an error. The collector is safe for concurrent use.
func NewCollector(db *badgerspill.DB, options ...Option) client.Collector {
	c := &collector{db: db, labels: client.Labels{}}
	if db != nil {
		c.labels["dir"] = db.Opts().Dir
	}
	for _, option := range options {
		option(c)
	}
	c.up = client.NewDesc(upName, "1 while the database is open, 0 once Close was called. The other metrics are there only while it is 1.", nil, c.labels)
	c.appends = client.NewDesc(appendsName, "Time that appends to the spill took, from the end of encoding to the acknowledgement.", nil, c.labels)
	if db == nil {
		c.up = client.NewInvalidDesc(errors.New("badgerspill: NewCollector: the database is nil"))
		return c
	}
	for _, m := range badgerspill.Metrics() {
		if m.Prometheus == "" || isOfAppends(m.Prometheus) {
			continue
		}
		kind := client.GaugeValue
		if m.Type == badgerspill.MetricCounter {
			kind = client.CounterValue
		}
		desc := client.NewDesc(m.Prometheus, m.Help, m.Labels[1:], c.labels)
		c.metrics = append(c.metrics, metric{m, desc, kind})
	}
	stats := db.SpillStats()
	c.opened = time.Now().Add(-stats.StateTime[badgerspill.Direct] - stats.StateTime[badgerspill.Spilling])
	return c
}

// isOfAppends tells what Prometheus makes of the histogram.
func isOfAppends(name string) bool {
	series, ok := strings.CutPrefix(name, appendsName)
	return ok && slices.Contains([]string{"_count", "_sum", "_bucket"}, series)
}

type collector struct {
	db      *badgerspill.DB
	labels  client.Labels
	up      *client.Desc
	metrics []metric
	appends *client.Desc
	opened  time.Time
}

type metric struct {
	badgerspill.Metric

	desc *client.Desc
	kind client.ValueType
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(descs chan<- *client.Desc) {
	descs <- c.up
	descs <- c.appends
	for _, m := range c.metrics {
		descs <- m.desc
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(metrics chan<- client.Metric) {
	if c.db == nil || c.db.IsClosed() {
		metrics <- client.MustNewConstMetric(c.up, client.GaugeValue, 0)
		return
	}
	stats := c.db.SpillStats()
	metrics <- client.MustNewConstMetric(c.up, client.GaugeValue, 1)
	for _, m := range c.metrics {
		for value, number := range m.Values(&stats) {
			var values []string
			if value != "" {
				values = []string{value}
			}
			metrics <- constMetric(m.desc, func() (client.Metric, error) {
				return client.NewConstMetric(m.desc, m.kind, number, values...)
			})
		}
	}
	metrics <- constMetric(c.appends, func() (client.Metric, error) {
		return newHistogram(c.appends, stats.Append, c.opened)
	})
}

// constMetric returns a metric that a scrape shows, or one that fails the scrape with the error.
func constMetric(desc *client.Desc, create func() (client.Metric, error)) client.Metric {
	m, err := create()
	if err != nil {
		return client.NewInvalidMetric(desc, err)
	}
	return m
}

// histogram is a native histogram that has the buckets of a classic one, too.
type histogram struct{ native, classic client.Metric }

func newHistogram(desc *client.Desc, l wbm.Latency, created time.Time) (client.Metric, error) {
	classic := make(map[float64]uint64, len(l.Buckets))
	for i, n := range l.Buckets {
		classic[wbm.LatencyBound(i).Seconds()] = uint64(n)
	}
	zero, buckets := l.Exponential()
	var h histogram
	var err, errNative error
	h.classic, err = client.NewConstHistogram(desc, uint64(l.Count), l.Sum.Seconds(), classic)
	h.native, errNative = client.NewConstNativeHistogram(desc, uint64(l.Count), l.Sum.Seconds(), buckets, nil, uint64(zero),
		wbm.LatencySchema, client.DefNativeHistogramZeroThreshold, created)
	return h, errors.Join(err, errNative)
}

// Desc implements prometheus.Metric.
func (h histogram) Desc() *client.Desc { return h.native.Desc() }

// Write implements prometheus.Metric.
func (h histogram) Write(out *dto.Metric) error {
	var classic dto.Metric
	if err := errors.Join(h.native.Write(out), h.classic.Write(&classic)); err != nil {
		return err
	}
	out.Histogram.Bucket = classic.Histogram.Bucket
	return nil
}
