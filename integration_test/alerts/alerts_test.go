package alerts

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"
)

const (
	rulesFile = "../../docs/alerts.yml"
	// evaluateEvery is Prometheus's evaluation_interval: the shortest that is usual.
	evaluateEvery = 15 * time.Second
	// healthyFor is how long every recording is one of a healthy database.
	healthyFor = 3 * time.Minute
)

// scenarios are the alerts that fire in each recording, and no others.
var scenarios = map[string][]string{
	"healthy":    nil,
	"slow":       {"BadgerspillBehind"},
	"overload":   {"BadgerspillCommitsSlowed", "BadgerspillSpillNearlyFull"},
	"overrun":    {"BadgerspillCommitsSlowed", "BadgerspillCommitsWait", "BadgerspillSpillNearlyFull", "BadgerspillBehind"},
	"full":       {"BadgerspillCommitsWait", "BadgerspillSpillNearlyFull", "BadgerspillBehind"},
	"broken":     {"BadgerspillReplayStopped"},
	"failing":    {"BadgerspillReplayFails"},
	"no-space":   {"BadgerspillNoSpace", "BadgerspillReplayStopped"},
	"readers":    {"BadgerspillReadersLeftOpen"},
	"subscriber": {"BadgerspillSubscriberBehind"},
}

// TestAlerts: each recording makes the alerts fire that name what it is, and none else, however
// often Prometheus scrapes.
func TestAlerts(t *testing.T) {
	rules := readRules(t)
	files, err := filepath.Glob("testdata/*.yml")
	require.NoError(t, err)
	require.Len(t, files, len(scenarios))
	for name, want := range scenarios {
		slices.Sort(want)
		for _, scrape := range []time.Duration{5 * time.Second, 15 * time.Second, time.Minute} {
			t.Run(name+"/"+scrape.String(), func(t *testing.T) {
				r := readRecording(t, name, scrape)
				fired := r.fire(t, rules)
				t.Log(fired)
				require.Equal(t, want, slices.Sorted(maps.Keys(fired)))
				for alert, after := range fired {
					require.Greater(t, after, healthyFor, alert)
				}
			})
		}
	}
}

// Every alert fires in a recording: none names what never happens.
func TestEveryAlertFires(t *testing.T) {
	can := map[string]bool{}
	for _, alerts := range scenarios {
		for _, alert := range alerts {
			can[alert] = true
		}
	}
	for _, rule := range readRules(t) {
		require.True(t, can[rule.Alert], rule.Alert)
		delete(can, rule.Alert)
	}
	require.Empty(t, can, "no such alerts")
}

// readRules reads and checks the rules as Prometheus does.
func readRules(t *testing.T) (rules []rulefmt.Rule) {
	t.Helper()
	groups, errs := rulefmt.ParseFile(rulesFile, false)
	require.Empty(t, errs)
	for _, g := range groups.Groups {
		rules = append(rules, g.Rules...)
	}
	require.NotEmpty(t, rules)
	for _, r := range rules {
		require.NotEmpty(t, r.Alert, r.Expr)
		require.Contains(t, []string{"page", "ticket"}, r.Labels["severity"], r.Alert)
		require.NotEmpty(t, r.Annotations["summary"], r.Alert)
		require.Zero(t, r.KeepFiringFor, "fire does not know it")
	}
	return rules
}

// recording is what Prometheus has scraped.
type recording struct {
	series []storage.Series
	last   time.Duration
	absent map[string]bool // metrics that need not be there
}

// readRecording reads a recording, of which only every so many samples are scraped.
func readRecording(t *testing.T, name string, scrape time.Duration) (r recording) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name+".yml"))
	require.NoError(t, err)
	var file struct {
		Interval    model.Duration
		InputSeries []struct{ Series, Values string } `yaml:"input_series"`
	}
	require.NoError(t, yaml.Unmarshal(text, &file))
	interval := time.Duration(file.Interval)
	require.Positive(t, interval)
	require.NotEmpty(t, file.InputSeries)
	for _, in := range file.InputSeries {
		lset, values, err := parser.ParseSeriesDesc(in.Series + " " + in.Values)
		require.NoError(t, err, in.Series)
		var samples []chunks.Sample
		for i, v := range values {
			if at := time.Duration(i) * interval; at%scrape == 0 {
				samples = append(samples, sample{at.Milliseconds(), v.Value})
				r.last = at
			}
		}
		r.series = append(r.series, storage.NewListSeries(lset, samples))
	}
	return r
}

// fire evaluates the rules as Prometheus does, and returns which alerts fire, and after how long
// first.
func (r recording) fire(t *testing.T, rules []rulefmt.Rule) map[string]time.Duration {
	t.Helper()
	fired := map[string]time.Duration{}
	for _, rule := range rules {
		active := map[string]time.Duration{} // since when, by labels
		for now := time.Duration(0); now <= r.last; now += evaluateEvery {
			still := map[string]time.Duration{}
			for _, s := range r.query(t, rule.Alert, rule.Expr, now) {
				require.NotEmpty(t, s.Metric.Get("dir"), "%s: of which database?", rule.Alert)
				key := labels.NewBuilder(s.Metric).Del(labels.MetricName).Labels().String()
				since, ok := active[key]
				if !ok {
					since = now
				}
				still[key] = since
				if _, ok := fired[rule.Alert]; !ok && now-since >= time.Duration(rule.For) {
					fired[rule.Alert] = now
				}
			}
			active = still
		}
	}
	return fired
}

var engine = promql.NewEngine(promql.EngineOpts{MaxSamples: 1_000_000, Timeout: time.Minute})

// query has Prometheus evaluate an expression. A metric that it asks for must be there.
func (r recording) query(t *testing.T, name, expr string, at time.Duration) promql.Vector {
	t.Helper()
	find := func(_ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
		found := slices.DeleteFunc(slices.Clone(r.series), func(s storage.Series) bool {
			return slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(s.Labels().Get(m.Name)) })
		})
		if len(found) == 0 {
			i := slices.IndexFunc(matchers, func(m *labels.Matcher) bool { return m.Name == labels.MetricName })
			require.GreaterOrEqual(t, i, 0, "%s: no metric is named", name)
			require.True(t, r.absent[matchers[i].Value], "%s: not recorded: %v", name, matchers)
		}
		return &seriesSet{SeriesSet: storage.EmptySeriesSet(), all: found}
	}
	db := &storage.MockQueryable{MockQuerier: &storage.MockQuerier{SelectMockFunction: find}}
	query, err := engine.NewInstantQuery(context.Background(), db, nil, expr, time.UnixMilli(at.Milliseconds()))
	require.NoError(t, err, name)
	result := query.Exec(context.Background())
	require.NoError(t, result.Err, name)
	vector, err := result.Vector()
	require.NoError(t, err, name)
	vector = slices.Clone(vector) // Close may use it again
	query.Close()
	return vector
}

type seriesSet struct {
	storage.SeriesSet // of no series
	all               []storage.Series
	next              int
}

func (s *seriesSet) Next() bool         { s.next++; return s.next <= len(s.all) }
func (s *seriesSet) At() storage.Series { return s.all[s.next-1] }

// sample is a number at a time.
type sample struct {
	at    int64 // in milliseconds
	value float64
}

func (s sample) T() int64                      { return s.at }
func (s sample) F() float64                    { return s.value }
func (s sample) H() *histogram.Histogram       { return nil }
func (s sample) FH() *histogram.FloatHistogram { return nil }
func (s sample) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (s sample) Copy() chunks.Sample           { return s }
