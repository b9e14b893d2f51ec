package badgerspill

import (
	"expvar"
	"iter"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/badgerspill/badgerspill/replay"
	"github.com/badgerspill/badgerspill/wbm"
)

// metricPrefix begins the name of every expvar of the layer. Each is a map from directory to value,
// as Badger's are.
const metricPrefix = "badgerspill_"

// The types of a Metric.
const (
	MetricCounter = "counter" // only grows, from 0 at Open
	MetricGauge   = "gauge"   // goes up and down
)

// Metric describes a number of the layer that its users may watch, or a list of numbers. There is
// an expvar of it, whose value is a map from the database's directory (Options.Dir) to a number,
// or, with a second label, to a map from that label's values to numbers. For other systems Values
// has the same numbers.
type Metric struct {
	Name string // of the expvar: the field of SpillStats in snake case, with its unit
	// Prometheus is the name of the series that the collector of the module badgerspill/prometheus
	// makes of it, by the rules there: the unit comes last, then _total, if it is a counter. It is
	// "" where the collector has none, since Prometheus calculates that better.
	Prometheus string
	Field      string // of SpillStats, as "Append.P99"
	Type       string // MetricCounter or MetricGauge
	// of the numbers: "bytes", "seconds", "bytes per second", "commits" and the like; "" if they
	// have none
	Unit   string
	Labels []string // "dir", and for some a second one
	Help   string   // what it means, in a sentence or two

	index []int // of the field
	// that the second label takes, in the order of the field's elements, or that a string is
	// numbered by
	values []string
}

// Metrics returns a description of each metric, in the order of SpillStats. They are the fields of
// SpillStats: durations are in seconds, a state is its number. A database publishes them as expvars
// unless MetricsEnabled is off. It does not block and is safe for concurrent use.
func Metrics() []Metric { return slices.Clone(metrics) }

// Values yields what s has of the metric: each number with the value of the second label that it
// belongs to, or one number with "" if there is no such label. So a program can pass the metrics on
// to a system of its own. A Metric that Metrics has not returned has no numbers. It does not block
// and is safe for concurrent use.
func (m Metric) Values(s *SpillStats) iter.Seq2[string, float64] {
	return func(yield func(string, float64) bool) {
		if s == nil || m.index == nil {
			return
		}
		all, ok := m.value(s).(map[string]any)
		if !ok {
			yield("", floatOf(m.value(s)))
			return
		}
		for _, name := range m.values {
			if !yield(name, floatOf(all[name])) {
				return
			}
		}
	}
}

// floatOf takes what metricNumber returns.
func floatOf(number any) float64 {
	switch x := number.(type) {
	case float64:
		return x
	case int:
		return float64(x)
	}
	return float64(number.(int64))
}

var (
	tierNames        = names[wbm.Tier](4)
	stateNames       = names[RouterState](2)
	replayStateNames = names[replay.State](7)
	causeNames       = names[SpillCause](int(causes))
	latencyBounds    = func() (bounds []string) {
		for i := range wbm.LatencyBuckets {
			bounds = append(bounds, strconv.FormatFloat(wbm.LatencyBound(i).Seconds(), 'f', -1, 64))
		}
		return bounds
	}()
)

// names returns what the first n of an enumeration print.
func names[T interface {
	~int | ~int32
	String() string
}](n int) (all []string) {
	for i := range n {
		all = append(all, T(i).String())
	}
	return all
}

// metrics is the one table from which expvars, descriptions and documentation come. A test holds it
// against SpillStats.
var metrics = func() []Metric {
	var all []Metric
	add := func(field, typ, unit, help string) *Metric {
		index, ok := fieldIndex(field)
		if !ok { // every start of a program, and of a test, would show that
			panic("badgerspill: SpillStats has no field " + field)
		}
		name := metricPrefix + snakeCase(field)
		if u := strings.ReplaceAll(unit, " ", "_"); (strings.Contains(u, "bytes") || u == "seconds") && !strings.Contains(name, u) {
			name += "_" + u
		}
		all = append(all, Metric{Name: name, Prometheus: prometheusName(name, typ), Field: field, Type: typ, Unit: unit,
			Labels: []string{"dir"}, Help: help, index: index})
		return &all[len(all)-1]
	}
	forPrometheus := func(m *Metric, name string) *Metric { m.Prometheus = name; return m }
	numbered := func(m *Metric, values []string) { m.values = values }
	labelled := func(m *Metric, label string, values []string) {
		m.Labels = append(m.Labels, label)
		m.values = values
	}

	numbered(add("State", MetricGauge, "", "Where commits go: 0 direct, to Badger; 1 spilling, to the spill."), stateNames)
	labelled(add("StateTime", MetricCounter, "seconds", "Time that commits have gone to Badger (direct) and to the spill (spilling)."), "state", stateNames)
	add("Tier", MetricGauge, "", "Tier of the memory budget: 0 normal, 1 flush, 2 spill, 3 block.")
	labelled(add("TierEntered", MetricCounter, "times", "How often the memory budget got to each tier."), "tier", tierNames)
	labelled(add("TierTime", MetricCounter, "seconds", "Time that the memory budget has been in each tier."), "tier", tierNames)

	add("MemoryUsage", MetricGauge, "bytes", "Memory budget in use, by all databases that share it.")
	add("MemoryLimit", MetricGauge, "bytes", "The memory budget, MemoryLimit.")
	add("MemoryInFlight", MetricGauge, "bytes", "Part of the budget: commits on their way to Badger.")
	add("MemoryMemtables", MetricGauge, "bytes", "Part of the budget: what is in Badger's memtables and not in an SSTable yet.")
	add("MemorySpillIndex", MetricGauge, "bytes", "Part of the budget: the index of the spill and its cache.")
	add("MemoryPinned", MetricGauge, "bytes", "Beside the budget: memtables that are flushed and held by open iterators.")

	add("CommitsDirect", MetricCounter, "commits", "Commits that Badger has acknowledged.")
	add("CommitsHedged", MetricCounter, "commits", "Commits sent to Badger that the spill has acknowledged, since Badger took too long.")
	add("CommitsSpilled", MetricCounter, "commits", "Commits appended to the spill.")
	add("CommitsBlocked", MetricCounter, "commits", "Waits of commits for room, because memory and the spill were both exhausted.")
	add("CommitsSlowed", MetricCounter, "commits", "Waits of commits for their turn, because the spill was filled beyond ReplayHighWater.")
	add("BlockedNow", MetricGauge, "commits", "Commits that wait for room now.")
	add("SlowedNow", MetricGauge, "commits", "Commits that wait for their turn now.")
	add("BlockedTime", MetricCounter, "seconds", "Waits for room that are over, summed.")
	add("SlowedTime", MetricCounter, "seconds", "Waits for a turn that are over, summed.")
	add("BlocksAvoided", MetricCounter, "commits", "Commits that the spill took when memory was short.")
	add("BlockTimeouts", MetricCounter, "commits", "Commits that failed with ErrWriteBlocked: no room in BlockTimeout.")
	add("NoSpace", MetricCounter, "commits", "Commits that failed with ErrNoSpace: a disk is below MinFreeSpace.")

	add("Stalls", MetricCounter, "times", "How often a commit in flight to Badger passed StallThreshold.")
	add("HandOvers", MetricCounter, "times", "How often the spill was emptied and commits went to Badger again.")
	labelled(add("SpillStarts", MetricCounter, "times", "How often commits turned to the spill, by cause."), "cause", causeNames)

	add("BytesSpilled", MetricCounter, "bytes", "Bytes written to segments of the spill, hedges included, compressed.")
	add("BytesReplayed", MetricCounter, "bytes", "Bytes replayed into Badger, before compression.")
	add("EntriesReplayed", MetricCounter, "entries", "Entries replayed into Badger.")
	add("EntriesCoalesced", MetricCounter, "entries", "Entries left out of the replay, since nobody could see them any more.")

	add("SpillBytes", MetricGauge, "bytes", "The spill on disk, with files that readers still hold.")
	add("SpillHeld", MetricGauge, "bytes", "Part of the spill on disk: replayed, and kept only by open transactions and their iterators.")
	add("OldestHolder", MetricGauge, "seconds", "For how long the oldest of these transactions has kept such files, 0 if there is none. It is at least that old.")
	add("SpillCapacity", MetricGauge, "bytes", "Bound of the spill on disk, SpillCapacity.")
	add("SpillPending", MetricGauge, "commits", "Commits in the spill that are not replayed; 0 is an empty spill.")
	add("BytesPending", MetricGauge, "bytes", "Bytes of the spill's segments that are not replayed; what of a chunk under way is in Badger does not count.")
	add("Segments", MetricGauge, "segments", "Segments of the spill that hold such commits.")
	add("OldestSpilled", MetricGauge, "seconds", "Age of the oldest segment of the spill, 0 if it is empty.")

	// The collector makes one histogram of count, sum and buckets, badgerspill_append_seconds. What
	// is since Open says little where a quantile of any five minutes can be had.
	forPrometheus(add("Append.Count", MetricCounter, "commits", "Appends to the spill, from the end of encoding to the acknowledgement."), "badgerspill_append_seconds_count")
	forPrometheus(add("Append.Sum", MetricCounter, "seconds", "Time that appends to the spill took, summed."), "badgerspill_append_seconds_sum")
	forPrometheus(add("Append.Mean", MetricGauge, "seconds", "Mean time of an append since Open."), "")
	add("Append.Max", MetricGauge, "seconds", "The longest append since Open.")
	forPrometheus(add("Append.P50", MetricGauge, "seconds", "Median of the appends since Open, at most a fifth too high."), "")
	forPrometheus(add("Append.P99", MetricGauge, "seconds", "99th percentile of the appends since Open, at most a fifth too high."), "")
	labelled(forPrometheus(add("Append.Buckets", MetricCounter, "commits", "Appends that took at most le seconds, for histogram_quantile."), "badgerspill_append_seconds_bucket"),
		"le", append(latencyBounds, "+Inf"))

	numbered(add("ReplayState", MetricGauge, "", "What replay does: 0 idle, 1 waiting for a quiet moment, 2 replaying, 3 paused for memory or disk, 4 backoff after an error, 5 stopped, 6 halted by an error that does not pass."), replayStateNames)
	labelled(add("ReplayStateTime", MetricCounter, "seconds", "Time that replay has been in each state."), "state", replayStateNames)
	numbered(add("Health", MetricGauge, "", "Whether replay can go on: 0 good; 1 delayed, it failed and is tried again; 2 stopped: DB.Health says why."), names[HealthState](3))
	add("ReplayErrors", MetricCounter, "errors", "Errors of Badger or of the spill while replaying. Each is tried again, unless Health is stopped.")
	add("ReplayRate", MetricGauge, "bytes per second", "Throughput of the run of replay under way, or the last one, pauses included, before compression.")
	forPrometheus(add("ReplayDuty", MetricGauge, "", "Share of its time that replay works at most, for the foreground's sake; 1 is all of it."), "badgerspill_replay_duty_ratio")
	add("ReplayPausedTime", MetricCounter, "seconds", "Time that runs of replay have paused: for memory, for the foreground, for ReplayMaxRate.")

	add("WriteRate", MetricGauge, "bytes per second", "Write rate of commits, exponentially weighted.")
	add("QuietRate", MetricGauge, "bytes per second", "The write rate below which the database counts as quiet.")
	add("Quiet", MetricGauge, "", "1 if the write rate has been below QuietRate for QuietWindow, and the rate of commits below half of SpillRate; 0 if not.")
	add("CommitRate", MetricGauge, "commits per second", "Rate of commits, exponentially weighted; 0 where SpillRate does not matter.")
	add("Subscribers", MetricGauge, "calls", "Calls of Subscribe that are under way.")
	add("SubscriberBacklog", MetricGauge, "bytes", "Memory of updates that wait for the subscriber that is furthest behind, or that its callback has in hand. From 32 MiB, or 65,536 updates, commits wait.")
	add("SubscriberWaits", MetricCounter, "commits", "Waits of commits for a subscriber that was too far behind.")
	add("Tree.BaseLevelSize", MetricGauge, "bytes", "BaseLevelSize that Badger was opened with; DB.Tree says why.")
	add("Tree.BaseTableSize", MetricGauge, "bytes", "BaseTableSize that Badger was opened with.")
	add("Tree.NumCompactors", MetricGauge, "compactors", "NumCompactors that Badger was opened with.")
	add("EventsDropped", MetricCounter, "events", "Events that were left out because the EventListener was too slow.")
	return all
}()

// fieldIndex finds a field of SpillStats, or of a struct in it, by its path.
func fieldIndex(path string) (index []int, ok bool) {
	t := reflect.TypeFor[SpillStats]()
	for name := range strings.SplitSeq(path, ".") {
		f, ok := t.FieldByName(name)
		if !ok {
			return nil, false
		}
		index, t = append(index, f.Index...), f.Type
	}
	return index, true
}

// prometheusName makes the collector's name of an expvar's: badgerspill_bytes_spilled is
// badgerspill_spilled_bytes_total.
func prometheusName(name, typ string) string {
	name = strings.TrimPrefix(name, metricPrefix)
	name = strings.Replace(name, "_time_seconds", "_seconds", 1)
	if of, ok := strings.CutPrefix(name, "bytes_"); ok {
		name = of + "_bytes"
	}
	if typ == MetricCounter {
		name += "_total"
	}
	return metricPrefix + name
}

func snakeCase(name string) string {
	var b strings.Builder
	lower := false
	for _, r := range name {
		if r == '.' {
			r, lower = '_', false
		}
		if unicode.IsUpper(r) && lower {
			b.WriteByte('_')
		}
		lower = unicode.IsLower(r)
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// value returns what the expvar of m shows of s: a number, or a map of numbers.
func (m *Metric) value(s *SpillStats) any {
	v := reflect.ValueOf(s).Elem().FieldByIndex(m.index)
	switch v.Kind() {
	case reflect.String:
		return slices.Index(m.values, v.String())
	case reflect.Array:
		all := map[string]any{}
		for i, name := range m.values {
			if i < v.Len() {
				all[name] = metricNumber(v.Index(i))
			} else { // the bucket above all others
				all[name] = s.Append.Count
			}
		}
		return all
	case reflect.Map:
		all := map[string]any{}
		for _, name := range m.values {
			all[name] = int64(0)
			if n := v.MapIndex(reflect.ValueOf(name)); n.IsValid() {
				all[name] = metricNumber(n)
			}
		}
		return all
	}
	return metricNumber(v)
}

func metricNumber(v reflect.Value) any {
	switch x := v.Interface().(type) {
	case time.Duration:
		return x.Seconds()
	case float64:
		if math.IsNaN(x) { // JSON has neither, and expvar would show nothing at all
			return 0.0
		}
		return max(-math.MaxFloat64, min(x, math.MaxFloat64))
	case bool:
		if x {
			return 1
		}
		return 0
	}
	return v.Int()
}

var publishing sync.Mutex // expvar.Get and expvar.Publish must not interleave

// publishMetrics makes SpillStats readable through expvar under the database's directory.
func (db *DB) publishMetrics() {
	if !db.opt.MetricsEnabled {
		return
	}
	publishing.Lock()
	defer publishing.Unlock()
	scrape := &scrape{db: db, served: make([]bool, len(metrics))}
	for i := range metrics {
		m := &metrics[i]
		published, ok := expvar.Get(m.Name).(*expvar.Map)
		if !ok {
			published = expvar.NewMap(m.Name)
		}
		published.Set(db.opt.Dir, expvar.Func(func() any { return scrape.value(i) }))
	}
}

// scrape lets all variables that are read one after the other come from one SpillStats. The next
// one is taken when a variable is read again, or when it has become old.
type scrape struct {
	db *DB

	mu     sync.Mutex
	stats  SpillStats
	taken  int64 // in nanoseconds of DB.now
	served []bool
}

// scrapeAge is how old what a variable shows may be, in nanoseconds.
const scrapeAge = int64(time.Second)

func (s *scrape) value(i int) any {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.db.now(); s.taken == 0 || s.served[i] || now-s.taken > scrapeAge {
		s.stats, s.taken = s.db.SpillStats(), now
		clear(s.served)
	}
	s.served[i] = true
	return metrics[i].value(&s.stats)
}

func (db *DB) withdrawMetrics() {
	if !db.opt.MetricsEnabled {
		return
	}
	for i := range metrics {
		if published, ok := expvar.Get(metrics[i].Name).(*expvar.Map); ok {
			published.Delete(db.opt.Dir)
		}
	}
}
