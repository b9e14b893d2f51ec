package badgerspill

import (
	"expvar"
	"reflect"
	"strings"
	"sync"
	"time"
	"unicode"
)

// metricPrefix begins the name of every expvar of the layer. Each is a map from directory to value, as Badger's are.
const metricPrefix = "badgerspill_"

var publishing sync.Mutex // expvar.Get and expvar.Publish must not interleave

// metricFields are the numeric fields of SpillStats with the names of their metrics: CommitsDirect is
// badgerspill_commits_direct.
var metricFields = func() map[string]int {
	fields := map[string]int{}
	t := reflect.TypeFor[SpillStats]()
	for i := range t.NumField() {
		switch t.Field(i).Type.Kind() {
		case reflect.Int, reflect.Int32, reflect.Int64, reflect.Float64:
			fields[metricPrefix+snakeCase(t.Field(i).Name)] = i
		}
	}
	return fields
}()

func snakeCase(name string) string {
	var b strings.Builder
	for i, r := range name {
		if unicode.IsUpper(r) && i > 0 {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// publishMetrics makes SpillStats readable through expvar under the database's directory. Durations are in seconds,
// the tier is its number.
func (db *DB) publishMetrics() {
	if !db.opt.MetricsEnabled {
		return
	}
	publishing.Lock()
	defer publishing.Unlock()
	for name, i := range metricFields {
		m, ok := expvar.Get(name).(*expvar.Map)
		if !ok {
			m = expvar.NewMap(name)
		}
		m.Set(db.opt.Dir, expvar.Func(func() any {
			v := reflect.ValueOf(db.SpillStats()).Field(i).Interface()
			if d, ok := v.(time.Duration); ok {
				return d.Seconds()
			}
			return v
		}))
	}
}

func (db *DB) withdrawMetrics() {
	if !db.opt.MetricsEnabled {
		return
	}
	for name := range metricFields {
		if m, ok := expvar.Get(name).(*expvar.Map); ok {
			m.Delete(db.opt.Dir)
		}
	}
}
