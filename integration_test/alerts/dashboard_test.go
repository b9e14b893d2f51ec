package alerts

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
	spillprom "github.com/badgerspill/badgerspill/badgerspill/prometheus"
)

const (
	dashboardFile = "../../docs/grafana-dashboard.json"
	// scrapeEvery is the interval that docs/operations.md proposes, and scrapes is how many there
	// are.
	scrapeEvery = 15 * time.Second
	scrapes     = 30
)

// What Prometheus asks a target for: without native histograms, and with them.
var formats = map[string]struct {
	accept string
	absent string // the series that this format has not
}{
	"classic histograms": {"text/plain;version=0.0.4", "badgerspill_append_seconds"},
	"native histograms": {
		"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
		"badgerspill_append_seconds_bucket badgerspill_append_seconds_sum badgerspill_append_seconds_count",
	},
}

// scrapeDatabase scrapes a database at work as Prometheus would, only faster.
func scrapeDatabase(t *testing.T, accept string) recording {
	t.Helper()
	db, err := badgerspill.Open(badgerspill.DefaultOptions(t.TempDir()).WithLogger(nil).WithSpillPolicy(badgerspill.Always))
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	registry := prometheus.NewRegistry()
	require.NoError(t, registry.Register(spillprom.NewCollector(db)))
	handler := promhttp.HandlerFor(registry, promhttp.HandlerOpts{})

	var r recording
	samples, order := map[string][]chunks.Sample{}, []labels.Labels(nil)
	for i := range scrapes {
		for n := range 10 {
			require.NoError(t, db.Update(func(txn *badgerspill.Txn) error { return txn.Set(fmt.Appendf(nil, "%d/%d", i, n), []byte("v")) }))
		}
		if i == scrapes/2 {
			require.NoError(t, db.Drain(t.Context()))
		}
		r.last = time.Duration(i) * scrapeEvery
		request := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		request.Header.Set("Accept", accept)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, request)
		require.Equal(t, http.StatusOK, w.Code, w.Body.String())
		parse(t, w.Body.Bytes(), w.Header().Get("Content-Type"), r.last, func(l labels.Labels, s chunks.Sample) {
			if samples[l.String()] == nil {
				order = append(order, l)
			}
			samples[l.String()] = append(samples[l.String()], s)
		})
	}
	for _, l := range order {
		r.series = append(r.series, storage.NewListSeries(l, samples[l.String()]))
	}
	return r
}

// parse reads a scrape as Prometheus does, and adds the labels of a target.
func parse(t *testing.T, body []byte, contentType string, at time.Duration, add func(labels.Labels, chunks.Sample)) {
	t.Helper()
	p, err := textparse.New(body, contentType, "", false, false, false, labels.NewSymbolTable())
	require.NoError(t, err)
	for {
		entry, err := p.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		require.NoError(t, err)
		if entry != textparse.EntrySeries && entry != textparse.EntryHistogram {
			continue
		}
		var l labels.Labels
		p.Labels(&l)
		l = labels.NewBuilder(l).Set("job", "app").Set("instance", "localhost:8080").Labels()
		if entry == textparse.EntrySeries {
			_, _, value := p.Series()
			add(l, sample{at.Milliseconds(), value})
			continue
		}
		_, _, h, _ := p.Histogram()
		require.NotNil(t, h, "a histogram of integers")
		require.NoError(t, h.Validate())
		add(l, histogramSample{at.Milliseconds(), h.ToFloat(nil)})
	}
}

// histogramSample is a native histogram at a time.
type histogramSample struct {
	at int64 // in milliseconds
	h  *histogram.FloatHistogram
}

func (s histogramSample) T() int64                      { return s.at }
func (s histogramSample) F() float64                    { return 0 }
func (s histogramSample) H() *histogram.Histogram       { return nil }
func (s histogramSample) FH() *histogram.FloatHistogram { return s.h }
func (s histogramSample) Type() chunkenc.ValueType      { return chunkenc.ValFloatHistogram }
func (s histogramSample) Copy() chunks.Sample           { return histogramSample{s.at, s.h.Copy()} }

// Each query of the dashboard has an answer from what Prometheus scrapes of a database, and each of
// its variables has a value.
func TestDashboardQueries(t *testing.T) {
	text, err := os.ReadFile(dashboardFile)
	require.NoError(t, err)
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ RefID, Expr, LegendFormat string }
		}
		Templating struct {
			List []struct{ Name, Type, Query string }
		}
	}
	require.NoError(t, json.Unmarshal(text, &dashboard))
	labelValues := regexp.MustCompile(`^label_values\((.*), (\w+)\)$`)

	for name, format := range formats {
		t.Run(name, func(t *testing.T) {
			r := scrapeDatabase(t, format.accept)
			r.absent = map[string]bool{}
			for _, metric := range strings.Fields(format.absent) {
				r.absent[metric] = true
			}
			variables := []string{"$__rate_interval", "1m"}
			for _, v := range dashboard.Templating.List {
				if v.Type != "query" {
					continue
				}
				m := labelValues.FindStringSubmatch(v.Query)
				require.NotNil(t, m, v.Query)
				require.Equal(t, v.Name, m[2])
				found := r.query(t, "$"+v.Name, strings.NewReplacer(variables...).Replace(m[1]), r.last)
				require.Len(t, found, 1, "$"+v.Name)
				require.NotEmpty(t, found[0].Metric.Get(v.Name), "$"+v.Name)
				variables = append(variables, "$"+v.Name, found[0].Metric.Get(v.Name))
			}
			require.Len(t, variables, 8, "job, instance, dir")
			asked := 0
			for _, panel := range dashboard.Panels {
				for _, target := range panel.Targets {
					asked++
					where := fmt.Sprintf("panel %q, %s", panel.Title, target.RefID)
					found := r.query(t, where, strings.NewReplacer(variables...).Replace(target.Expr), r.last)
					require.NotEmpty(t, found, "%s: no data", where)
					for _, s := range found {
						require.Nil(t, s.H, "%s: a histogram, not a number", where)
						require.False(t, math.IsNaN(s.F) || math.IsInf(s.F, 0), "%s: %v", where, s.F)
						for _, label := range regexp.MustCompile(`{{(\w+)}}`).FindAllStringSubmatch(target.LegendFormat, -1) {
							require.NotEmpty(t, s.Metric.Get(label[1]), "%s: the legend", where)
						}
					}
				}
			}
			require.Greater(t, asked, 40)
		})
	}
}

// A quantile of the appends is the same of classic and of native buckets, but for their width.
func TestQuantileOfAppends(t *testing.T) {
	classic, native := scrapeDatabase(t, formats["classic histograms"].accept), scrapeDatabase(t, formats["native histograms"].accept)
	for _, row := range []struct {
		r          recording
		p50, count string
	}{
		{classic, `histogram_quantile(0.5, sum by (le) (badgerspill_append_seconds_bucket))`, `sum(badgerspill_append_seconds_count)`},
		{native, `histogram_quantile(0.5, sum(badgerspill_append_seconds))`, `histogram_count(sum(badgerspill_append_seconds))`},
	} {
		require.EqualValues(t, 10*scrapes, row.r.query(t, row.count, row.count, row.r.last)[0].F)
		p50 := row.r.query(t, row.p50, row.p50, row.r.last)[0].F
		require.Greater(t, p50, 1e-7)
		require.Less(t, p50, 4.0)
	}
}

// The rules of the alerts ask for metrics that the collector has, and a database at ease makes none
// of them fire.
func TestRulesOnScrapes(t *testing.T) {
	for name, format := range formats {
		t.Run(name, func(t *testing.T) {
			require.Empty(t, scrapeDatabase(t, format.accept).fire(t, readRules(t)))
		})
	}
}
