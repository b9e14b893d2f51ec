package prometheus_test

import (
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
	spillprom "github.com/badgerspill/badgerspill/badgerspill/prometheus"
	"github.com/badgerspill/badgerspill/wbm"
)

// openSpilling opens a database whose commits go to the spill.
func openSpilling(t *testing.T, dir string) *badgerspill.DB {
	t.Helper()
	db, err := badgerspill.Open(badgerspill.DefaultOptions(dir).WithLogger(nil).WithMetricsEnabled(false).WithSpillPolicy(badgerspill.Always))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func put(t *testing.T, db *badgerspill.DB, key string) {
	t.Helper()
	require.NoError(t, db.Update(func(txn *badgerspill.Txn) error { return txn.Set([]byte(key), []byte("v")) }))
}

func scrape(t *testing.T, dbs ...*badgerspill.DB) string {
	t.Helper()
	handler, err := metricsHandler(dbs...)
	require.NoError(t, err)
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	require.Equal(t, http.StatusOK, w.Code, w.Body.String())
	return w.Body.String()
}

// A scrape has every metric of every database, typed, under its name, with a number for each value
// of its label.
func TestScrape(t *testing.T) {
	one, two := openSpilling(t, t.TempDir()), openSpilling(t, t.TempDir())
	for range 3 {
		put(t, one, "k")
	}
	text := scrape(t, one, two)
	named := 0
	for _, m := range badgerspill.Metrics() {
		if m.Prometheus == "" {
			continue
		}
		named++
		for _, db := range []*badgerspill.DB{one, two} {
			s := db.SpillStats()
			for value := range m.Values(&s) {
				labels := fmt.Sprintf("dir=%q", db.Opts().Dir)
				switch {
				case value != "" && m.Labels[1] < "dir":
					labels = fmt.Sprintf("%s=%q,%s", m.Labels[1], value, labels)
				case strings.HasSuffix(m.Prometheus, "_bucket"): // numbers, in their shortest form
					labels += `,le="[^"]+"`
				case value != "":
					labels = fmt.Sprintf("%s,%s=%q", labels, m.Labels[1], value)
				}
				if !strings.HasSuffix(m.Prometheus, "_bucket") {
					labels = regexp.QuoteMeta(labels)
				}
				require.Regexp(t, fmt.Sprintf(`(?m)^%s\{%s\} [0-9.e+-]+$`, m.Prometheus, labels), text)
			}
		}
		if family, ok := strings.CutPrefix(m.Prometheus, "badgerspill_append_seconds_"); ok {
			require.Contains(t, []string{"count", "sum", "bucket"}, family)
			continue
		}
		require.Contains(t, text, fmt.Sprintf("# TYPE %s %s\n", m.Prometheus, m.Type))
		require.Contains(t, text, fmt.Sprintf("# HELP %s %s\n", m.Prometheus, m.Help))
	}
	require.Greater(t, named, 50)

	dir := one.Opts().Dir
	require.Contains(t, text, "# TYPE badgerspill_append_seconds histogram\n")
	for _, line := range []string{
		"badgerspill_up{dir=%q} 1\n",
		"badgerspill_state{dir=%q} 1\n",
		"badgerspill_commits_spilled_total{dir=%q} 3\n",
		"badgerspill_append_seconds_count{dir=%q} 3\n",
		"badgerspill_append_seconds_bucket{dir=%q,le=\"+Inf\"} 3\n",
		"badgerspill_spill_starts_total{cause=\"policy\",dir=%q} 1\n",
	} {
		require.Contains(t, text, fmt.Sprintf(line, dir))
	}
	require.Contains(t, text, fmt.Sprintf("badgerspill_commits_spilled_total{dir=%q} 0\n", two.Opts().Dir))
}

// Prometheus' own rules for names, types and help find nothing to say.
func TestLint(t *testing.T) {
	db := openSpilling(t, t.TempDir())
	put(t, db, "k")
	problems, err := testutil.CollectAndLint(spillprom.NewCollector(db))
	require.NoError(t, err)
	require.Empty(t, problems)
}

// gather returns the one metric of a family, without labels that have other values than those
// given.
func gather(t *testing.T, db *badgerspill.DB, name string) *dto.Metric {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, registry.Register(spillprom.NewCollector(db)))
	families, err := registry.Gather()
	require.NoError(t, err)
	i := slices.IndexFunc(families, func(f *dto.MetricFamily) bool { return f.GetName() == name })
	require.GreaterOrEqual(t, i, 0, name)
	require.Len(t, families[i].GetMetric(), 1)
	return families[i].GetMetric()[0]
}

// The histogram has every append once in its classic and once in its native buckets, and its sum.
func TestHistogramOfAppends(t *testing.T) {
	db := openSpilling(t, t.TempDir())
	empty := gather(t, db, "badgerspill_append_seconds").GetHistogram()
	require.Zero(t, empty.GetSampleCount())
	require.Len(t, empty.GetBucket(), wbm.LatencyBuckets)
	for range 100 {
		put(t, db, "k")
	}
	h := gather(t, db, "badgerspill_append_seconds").GetHistogram()
	s := db.SpillStats()
	require.EqualValues(t, 100, h.GetSampleCount())
	require.InDelta(t, s.Append.Sum.Seconds(), h.GetSampleSum(), 1e-9)
	require.EqualValues(t, wbm.LatencySchema, h.GetSchema())

	inNative, n := int64(h.GetZeroCount()), int64(0)
	for _, delta := range h.GetPositiveDelta() {
		n += delta
		inNative += n
	}
	require.EqualValues(t, 100, inNative)
	for i, b := range h.GetBucket() {
		require.Equal(t, wbm.LatencyBound(i).Seconds(), b.GetUpperBound())
		require.EqualValues(t, s.Append.Buckets[i], b.GetCumulativeCount())
	}
	age := time.Since(h.GetCreatedTimestamp().AsTime())
	require.Positive(t, age)
	require.Less(t, age, 10*time.Minute, "it began with Open")
	require.Equal(t, empty.GetCreatedTimestamp().AsTime().Unix()/60, h.GetCreatedTimestamp().AsTime().Unix()/60)
}

// The layer counts a duration in the very bucket in which Prometheus' client counts it.
func TestNativeBucketsAreThoseOfTheClient(t *testing.T) {
	var durations []time.Duration
	for power := -30.0; power < 10; power += 0.25 {
		at := time.Duration(math.Exp2(power) * 1e9)
		durations = append(durations, max(0, at-1), at, at+1)
	}
	for _, d := range durations {
		reference := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "reference", NativeHistogramBucketFactor: 1.2})
		reference.Observe(d.Seconds())
		var want dto.Metric
		require.NoError(t, reference.Write(&want))
		require.EqualValues(t, wbm.LatencySchema, want.GetHistogram().GetSchema())

		account, err := wbm.New(wbm.Options{Limit: 1 << 20})
		require.NoError(t, err)
		m := wbm.NewSpilloverManager(wbm.SpilloverOptions{Account: account.Register(wbm.Holder{}), Capacity: 1})
		m.RecordAppend(d)
		zero, buckets := m.Stats().AppendLatency.Exponential()
		require.Equal(t, want.GetHistogram().GetZeroCount(), uint64(zero), d)
		if zero == 0 {
			require.Len(t, buckets, 1)
			for i, n := range buckets {
				require.EqualValues(t, 1, n)
				require.EqualValues(t, want.GetHistogram().GetPositiveSpan()[0].GetOffset(), i, "%d ns", d)
			}
		}
	}
}

// In the format that has native histograms, which Prometheus asks for if it wants them, there is
// one, and the classic one beside it.
func TestScrapeOfANativeHistogram(t *testing.T) {
	db := openSpilling(t, t.TempDir())
	put(t, db, "k")
	handler, err := metricsHandler(db)
	require.NoError(t, err)
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept", string(expfmt.NewFormat(expfmt.TypeProtoDelim)))
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	require.Equal(t, http.StatusOK, w.Code)
	decoder := expfmt.NewDecoder(w.Body, expfmt.ResponseFormat(w.Result().Header))
	for {
		var family dto.MetricFamily
		require.NoError(t, decoder.Decode(&family), "it comes before the end")
		if family.GetName() == "badgerspill_append_seconds" {
			h := family.GetMetric()[0].GetHistogram()
			require.NotEmpty(t, h.GetPositiveSpan())
			require.NotEmpty(t, h.GetBucket())
			return
		}
	}
}

// After Close a scrape says so, and nothing else.
func TestScrapeAfterClose(t *testing.T) {
	open, closed := openSpilling(t, t.TempDir()), openSpilling(t, t.TempDir())
	dir := closed.Opts().Dir
	handler, err := metricsHandler(open, closed)
	require.NoError(t, err)
	body := func() string {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		require.Equal(t, http.StatusOK, w.Code, w.Body.String())
		return w.Body.String()
	}
	require.Greater(t, strings.Count(body(), fmt.Sprintf("dir=%q", dir)), 60)
	require.NoError(t, closed.Close())
	text := body()
	require.Equal(t, 1, strings.Count(text, fmt.Sprintf("dir=%q", dir)))
	require.Contains(t, text, fmt.Sprintf("badgerspill_up{dir=%q} 0\n", dir))
	require.Contains(t, text, fmt.Sprintf("badgerspill_up{dir=%q} 1\n", open.Opts().Dir))

	// A collector that is made of it only now says the same.
	require.Equal(t, 0.0, gather(t, closed, "badgerspill_up").GetGauge().GetValue())
}

// A database that was opened again has a collector of its own once the old one is unregistered.
func TestCollectorOfAReopenedDatabase(t *testing.T) {
	dir := t.TempDir()
	db := openSpilling(t, dir)
	registry := prometheus.NewRegistry()
	old := spillprom.NewCollector(db)
	require.NoError(t, registry.Register(old))
	require.NoError(t, db.Close())
	db = openSpilling(t, dir)
	require.ErrorAs(t, registry.Register(spillprom.NewCollector(db)), &prometheus.AlreadyRegisteredError{})
	require.True(t, registry.Unregister(old))
	require.NoError(t, registry.Register(spillprom.NewCollector(db)))
	n, err := testutil.GatherAndCount(registry, "badgerspill_up", "badgerspill_state")
	require.NoError(t, err)
	require.Equal(t, 2, n)
}

func TestConstLabels(t *testing.T) {
	db := openSpilling(t, t.TempDir())
	labels := func(options ...spillprom.Option) map[string]string {
		registry := prometheus.NewPedanticRegistry()
		require.NoError(t, registry.Register(spillprom.NewCollector(db, options...)))
		families, err := registry.Gather()
		require.NoError(t, err)
		all := map[string]string{}
		for _, l := range families[0].GetMetric()[0].GetLabel() {
			all[l.GetName()] = l.GetValue()
		}
		return all
	}
	require.Equal(t, map[string]string{"dir": db.Opts().Dir}, labels())
	require.Equal(t, map[string]string{"dir": db.Opts().Dir, "shard": "7"}, labels(spillprom.WithConstLabels(prometheus.Labels{"shard": "7"})))
	require.Equal(t, map[string]string{"dir": filepath.Base(db.Opts().Dir)},
		labels(spillprom.WithConstLabels(prometheus.Labels{"dir": filepath.Base(db.Opts().Dir)})))
}

// What cannot be collected is refused when it is registered, with the reason, and does not panic.
func TestRegistryRefuses(t *testing.T) {
	db := openSpilling(t, t.TempDir())
	for _, row := range []struct {
		name, want string
		c          prometheus.Collector
	}{
		{"no database", "the database is nil", spillprom.NewCollector(nil, spillprom.WithConstLabels(prometheus.Labels{"a": "b"}))},
		{"a label that a metric has", "duplicate label names", spillprom.NewCollector(db, spillprom.WithConstLabels(prometheus.Labels{"cause": "x"}))},
		{"a label of another character set", `not valid UTF-8`, spillprom.NewCollector(db, spillprom.WithConstLabels(prometheus.Labels{"a": "\xff"}))},
	} {
		t.Run(row.name, func(t *testing.T) {
			require.ErrorContains(t, prometheus.NewRegistry().Register(row.c), row.want)
		})
	}
}

// Scrapes, commits and Close go on beside each other, and no scrape fails.
func TestScrapesBesideCommitsAndClose(t *testing.T) {
	db := openSpilling(t, t.TempDir())
	handler, err := metricsHandler(db)
	require.NoError(t, err)
	var scrapers, writers sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		scrapers.Add(1)
		go func() {
			defer scrapers.Done()
			for {
				select {
				case <-stop:
					return
				default:
				}
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
				if w.Code != http.StatusOK {
					t.Error(w.Body.String())
					return
				}
			}
		}()
	}
	for i := range 4 {
		writers.Add(1)
		go func() {
			defer writers.Done()
			for n := range 200 {
				if err := db.Update(func(txn *badgerspill.Txn) error { return txn.Set(fmt.Appendf(nil, "%d/%d", i, n), []byte("v")) }); err != nil {
					t.Error(err)
					return
				}
			}
		}()
	}
	writers.Wait()
	require.NoError(t, db.Close())
	close(stop)
	scrapers.Wait()
	require.Equal(t, 0.0, gather(t, db, "badgerspill_up").GetGauge().GetValue())
}

// How long a scrape takes.
func BenchmarkScrape(b *testing.B) {
	db, err := badgerspill.Open(badgerspill.DefaultOptions(b.TempDir()).WithLogger(nil))
	require.NoError(b, err)
	defer db.Close()
	registry := prometheus.NewRegistry()
	registry.MustRegister(spillprom.NewCollector(db))
	for b.Loop() {
		if _, err := registry.Gather(); err != nil {
			b.Fatal(err)
		}
	}
}
