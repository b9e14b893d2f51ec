package badgerspill

import (
	"encoding/json"
	"expvar"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/wbm"
)

// published returns what the expvar of m shows for a directory.
func published(t *testing.T, name, dir string) (value any, ok bool) {
	t.Helper()
	var all map[string]any
	require.NotNil(t, expvar.Get(name), name)
	require.NoError(t, json.Unmarshal([]byte(expvar.Get(name).String()), &all), name)
	value, ok = all[dir]
	return value, ok
}

// Every metric is an expvar of the open database, and gone after Close.
func TestMetricsArePublished(t *testing.T) {
	dir := t.TempDir()
	db, err := Open(DefaultOptions(dir).WithLogger(nil).WithSpillPolicy(Always))
	require.NoError(t, err)
	require.NoError(t, db.Update(func(txn *Txn) error { return txn.Set([]byte("k"), []byte("v")) }))

	v, ok := published(t, "badgerspill_commits_spilled", dir)
	require.True(t, ok)
	require.EqualValues(t, 1, v)
	v, _ = published(t, "badgerspill_state", dir)
	require.EqualValues(t, 1, v)
	v, _ = published(t, "badgerspill_spill_starts", dir)
	require.Equal(t, map[string]any{"memory": 0.0, "stall": 0.0, "queue": 0.0, "recovery": 0.0, "policy": 1.0, "space": 0.0, "rate": 0.0, "held": 0.0}, v)
	v, _ = published(t, "badgerspill_state_time_seconds", dir)
	require.Positive(t, v.(map[string]any)["spilling"])
	v, _ = published(t, "badgerspill_append_buckets", dir)
	require.Len(t, v, wbm.LatencyBuckets+1)
	require.EqualValues(t, 1, v.(map[string]any)["+Inf"])
	v, _ = published(t, "badgerspill_append_p99_seconds", dir)
	require.InDelta(t, db.SpillStats().Append.P99.Seconds(), v, 1e-9)
	for _, m := range Metrics() {
		v, ok := published(t, m.Name, dir)
		require.True(t, ok, m.Name)
		if len(m.Labels) == 1 {
			require.IsType(t, 0.0, v, m.Name)
		} else {
			require.IsType(t, map[string]any{}, v, m.Name)
		}
	}
	require.NoError(t, db.Close())
	for _, m := range Metrics() {
		_, ok = published(t, m.Name, dir)
		require.False(t, ok, m.Name)
	}
}

func TestMetricsCanBeTurnedOff(t *testing.T) {
	dir := t.TempDir()
	db, err := Open(DefaultOptions(dir).WithLogger(nil).WithMetricsEnabled(false))
	require.NoError(t, err)
	for _, m := range Metrics() {
		if expvar.Get(m.Name) == nil {
			continue // no database of this process has published it
		}
		_, ok := published(t, m.Name, dir)
		require.False(t, ok, m.Name)
	}
	require.NoError(t, db.Close())
}

// numericFields returns the paths of all fields of SpillStats that are numbers, states, or lists of
// them.
func numericFields(t reflect.Type, path string) (all []string) {
	for f := range fieldsOf(t) {
		if !f.IsExported() { // Latency.Exponential returns it
			continue
		}
		if f.Type.Kind() == reflect.Struct {
			all = append(all, numericFields(f.Type, path+f.Name+".")...)
			continue
		}
		all = append(all, path+f.Name)
	}
	return all
}

func fieldsOf(t reflect.Type) func(func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range t.NumField() {
			if !yield(t.Field(i)) {
				return
			}
		}
	}
}

// The table of metrics has each field of SpillStats once, in its order, and the names follow the
// one rule.
func TestMetricsAreTheFieldsOfSpillStats(t *testing.T) {
	var fields, names []string
	for _, m := range Metrics() {
		fields = append(fields, m.Field)
		names = append(names, m.Name)
		require.Regexp(t, `^badgerspill_[a-z0-9]+(_[a-z0-9]+)*$`, m.Name)
		require.Contains(t, []string{MetricCounter, MetricGauge}, m.Type, m.Name)
		require.NotEmpty(t, m.Help, m.Name)
		require.Equal(t, "dir", m.Labels[0], m.Name)
		switch m.Unit {
		case "bytes":
			require.Contains(t, m.Name, "bytes")
		case "seconds":
			require.Regexp(t, "_seconds$", m.Name)
		case "bytes per second":
			require.Regexp(t, "_bytes_per_second$", m.Name)
		default:
			require.NotRegexp(t, "bytes|seconds", m.Name)
		}
	}
	want := numericFields(reflect.TypeFor[SpillStats](), "")
	// text
	want = slices.DeleteFunc(want, func(f string) bool { return f == "ReplayError" || f == "HealthError" || f == "Tree.Why" })
	slices.Sort(want)
	slices.Sort(fields)
	require.Equal(t, want, fields)
	slices.Sort(names)
	require.Equal(t, slices.Compact(slices.Clone(names)), names)
}

// The names for Prometheus follow its rules, and no two are the same.
func TestNamesForPrometheus(t *testing.T) {
	var names, left []string
	for _, m := range Metrics() {
		if m.Prometheus == "" {
			left = append(left, m.Field)
			continue
		}
		names = append(names, m.Prometheus)
		if m.Field != "Append.Max" && strings.HasPrefix(m.Field, "Append.") {
			require.Regexp(t, "^badgerspill_append_seconds_(count|sum|bucket)$", m.Prometheus, m.Field)
			continue
		}
		require.Equal(t, m.Type == MetricCounter, strings.HasSuffix(m.Prometheus, "_total"), m.Prometheus)
		last := strings.TrimSuffix(m.Prometheus, "_total")
		switch m.Unit {
		case "bytes", "seconds":
			require.True(t, strings.HasSuffix(last, "_"+m.Unit), m.Prometheus)
		case "bytes per second":
			require.True(t, strings.HasSuffix(last, "_bytes_per_second"), m.Prometheus)
		}
	}
	require.Equal(t, []string{"Append.Mean", "Append.P50", "Append.P99"}, left)
	for _, name := range []string{"badgerspill_state", "badgerspill_state_seconds_total", "badgerspill_spilled_bytes_total",
		"badgerspill_pending_bytes", "badgerspill_blocked_seconds_total", "badgerspill_no_space_total", "badgerspill_replay_duty_ratio"} {
		require.Contains(t, names, name)
	}
	slices.Sort(names)
	require.Equal(t, slices.Compact(slices.Clone(names)), names)
}

// What Values yields are the numbers of the expvar, in the order of the label's values.
func TestMetricValuesAreYielded(t *testing.T) {
	f := open(t, func(opt *Options) { opt.SpillPolicy = Always })
	f.put("k", "v")
	s := f.SpillStats()
	for _, m := range Metrics() {
		var labels []string
		numbers := map[string]float64{}
		for label, n := range m.Values(&s) {
			labels = append(labels, label)
			numbers[label] = n
		}
		text, err := json.Marshal(m.value(&s))
		require.NoError(t, err)
		if len(m.Labels) == 1 {
			require.Equal(t, []string{""}, labels, m.Name)
			want, err := json.Marshal(numbers[""])
			require.NoError(t, err)
			require.JSONEq(t, string(text), string(want), m.Name)
			continue
		}
		require.Equal(t, m.values, labels, m.Name)
		want, err := json.Marshal(numbers)
		require.NoError(t, err)
		require.JSONEq(t, string(text), string(want), m.Name)
	}
	for range (Metric{}).Values(&s) {
		t.Error("a number of no metric")
	}
	for range Metrics()[0].Values(nil) {
		t.Error("a number of nothing")
	}
	for label := range Metrics()[1].Values(&s) { // who wants no more gets no more
		require.Equal(t, "direct", label)
		break
	}
}

// Each metric shows its own field, in its unit.
func TestMetricValues(t *testing.T) {
	s := SpillStats{State: "spilling", ReplayState: "backoff", SpillStarts: map[string]int64{"stall": 3}}
	want := map[string]any{"State": 1, "ReplayState": 4, "SpillStarts": map[string]any{
		"memory": int64(0), "stall": int64(3), "queue": int64(0), "recovery": int64(0), "policy": int64(0), "space": int64(0), "rate": int64(0), "held": int64(0)}}
	n := 0
	for _, m := range Metrics() {
		v := reflect.ValueOf(&s).Elem().FieldByIndex(m.index)
		n++
		switch p := v.Addr().Interface().(type) {
		case *time.Duration:
			*p = time.Duration(n) * time.Millisecond
			want[m.Field] = float64(n) / 1000
		case *float64:
			*p = float64(n) / 8
			want[m.Field] = float64(n) / 8
		case *bool:
			*p = true
			want[m.Field] = 1
		default:
			switch v.Kind() {
			case reflect.Int, reflect.Int32, reflect.Int64:
				v.SetInt(int64(n))
				want[m.Field] = int64(n)
			case reflect.Array:
				all := map[string]any{}
				for i := range v.Len() {
					n++
					v.Index(i).SetInt(int64(n) * 1e6)
					all[m.values[i]] = int64(n) * 1e6
					if m.Unit == "seconds" {
						all[m.values[i]] = float64(n) / 1000
					}
				}
				want[m.Field] = all
			}
		}
	}
	want["Append.Buckets"].(map[string]any)["+Inf"] = s.Append.Count
	require.Equal(t, map[string]any{"direct": s.StateTime[Direct].Seconds(), "spilling": s.StateTime[Spilling].Seconds()}, want["StateTime"])
	require.Contains(t, want["Append.Buckets"], "0.000003814")
	for _, m := range Metrics() {
		require.Equal(t, want[m.Field], m.value(&s), m.Name)
	}
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		_, err := json.Marshal(metricNumber(reflect.ValueOf(bad)))
		require.NoError(t, err)
	}
}

// All variables of a scrape come from one SpillStats, and the next scrape from the next.
func TestOneSpillStatsAScrape(t *testing.T) {
	f := open(t)
	s := &scrape{db: f.DB, served: make([]bool, len(metrics))}
	commits := slices.IndexFunc(metrics, func(m Metric) bool { return m.Field == "CommitsDirect" })
	taken := map[int64]bool{}
	for range 3 {
		f.put("k", "v")
		for i := range metrics {
			s.value(i)
			taken[s.taken] = true
		}
	}
	require.Len(t, taken, 3)
	require.EqualValues(t, 3, s.value(commits), "it was read before, so this is a new scrape")
	f.put("k", "v")
	require.EqualValues(t, 4, s.value(commits))
	f.put("k", "v")
	s.taken -= 2 * scrapeAge
	require.EqualValues(t, 4, s.stats.CommitsDirect)
	s.served[commits] = false
	require.EqualValues(t, 5, s.value(commits), "what is old is not shown")
}
