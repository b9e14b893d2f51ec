package badgerspill

import (
	"errors"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

// FromSuperFlag sets the options that flag names: "key=value; key=value". A key is the name of a
// field of Options or of Tuning in any case, with dashes and underscores where you like them:
// spillcapacity, spill-capacity. What flag does not name is left alone.
//
// Values are those of Badger's FromSuperFlag: true or false, numbers as in Go, and of compression
// none, snappy, zstd or zstd:LEVEL. Sizes are whole numbers of bytes, durations 5ms or a whole
// number of nanoseconds, a policy is its name. off stands for Off. An empty value is 0.
//
// It never ends the process. A key or a value that it does not understand is an *OptionError of
// Open, which names both; Field is the key as it was written.
func (opt Options) FromSuperFlag(flag string) Options {
	type pair struct{ written, value string }
	given := map[string]pair{} // as in Badger, the last one of a key counts
	var keys []string
	for text := range strings.SplitSeq(flag, ";") {
		if strings.TrimSpace(text) == "" {
			continue
		}
		written, value, ok := strings.Cut(text, "=")
		p := pair{strings.TrimSpace(written), strings.TrimSpace(value)}
		if !ok {
			opt.refuse(p.written, p.value, "followed by = and a value")
			continue
		}
		key := flagKey(p.written)
		if _, again := given[key]; !again {
			keys = append(keys, key)
		}
		given[key] = p
	}
	for _, key := range keys {
		p := given[key]
		at, known := flagFields()[key]
		switch {
		case !known:
			opt.refuse(p.written, p.value, "a field of Options or Tuning that a flag can set")
		case key == compressionKey: // below: it wins over the level that another key sets
		default:
			if bound := at.set(reflect.ValueOf(&opt).Elem(), p.value); bound != "" {
				opt.refuse(p.written, p.value, bound)
			}
		}
	}
	if p, ok := given[compressionKey]; ok {
		opt.compressionFromFlag(p.written, p.value)
	}
	return opt
}

func (opt *Options) refuse(key, value, bound string) {
	opt.flagErr = errors.Join(opt.flagErr, &OptionError{Field: key, Value: value, Bound: bound})
}

func flagKey(name string) string {
	return strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(name))
}

const compressionKey = "compression"

// flagField is a field that a flag can set.
type flagField struct {
	index []int
	own   bool // the layer's, which knows Off
}

// flagFields returns the field of each key.
var flagFields = sync.OnceValue(func() map[string]flagField {
	fields := map[string]flagField{}
	theirs := reflect.TypeFor[badger.Options]()
	var add func(t reflect.Type, above []int)
	add = func(t reflect.Type, above []int) {
		for i := range t.NumField() {
			f, at := t.Field(i), append(above[:len(above):len(above)], i)
			switch {
			case !f.IsExported():
			case f.Type == reflect.TypeFor[Tuning]():
				add(f.Type, at)
			case settable(f.Type.Kind()):
				_, shared := theirs.FieldByName(f.Name)
				fields[flagKey(f.Name)] = flagField{at, !shared}
			}
		}
	}
	add(reflect.TypeFor[Options](), nil)
	return fields
})

func settable(k reflect.Kind) bool {
	switch k {
	case reflect.Bool, reflect.Int, reflect.Int64, reflect.Uint16, reflect.Uint32, reflect.Float64, reflect.String:
		return true
	}
	return false
}

// setNamed sets a field to the value of that name, or returns the names that there are.
func setNamed[T interface {
	~int
	String() string
}](field reflect.Value, name string, values ...T) (bound string) {
	names := make([]string, len(values))
	for i, v := range values {
		if names[i] = v.String(); strings.EqualFold(name, names[i]) {
			field.SetInt(int64(v))
			return ""
		}
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

// set sets the field of opt, or returns what its value must be.
func (at flagField) set(opt reflect.Value, value string) (bound string) {
	field := opt.FieldByIndex(at.index)
	if value == "" {
		field.SetZero()
		return ""
	}
	off := at.own && strings.EqualFold(value, "off")
	switch field.Interface().(type) {
	case SpillPolicy:
		return setNamed(field, value, Auto, Always, Never)
	case TreeShape:
		return setNamed(field, value, ShapeAuto, ShapeAsGiven)
	case time.Duration:
		if d, err := time.ParseDuration(value); err == nil {
			field.SetInt(int64(d))
			return ""
		}
		bound = "a duration such as 5ms, or a whole number of nanoseconds"
	}
	switch kind := field.Kind(); kind {
	case reflect.String:
		field.SetString(value)
	case reflect.Bool:
		b, err := strconv.ParseBool(value)
		if err != nil {
			return "true or false"
		}
		field.SetBool(b)
	case reflect.Float64:
		f, err := strconv.ParseFloat(value, 64)
		if off {
			f, err = Off, nil
		}
		if err != nil {
			return "a number"
		}
		field.SetFloat(f)
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(value, 0, field.Type().Bits())
		if off {
			n, err = Off, nil
		}
		if err != nil {
			if bound == "" {
				bound = "a whole number of " + strconv.Itoa(field.Type().Bits()) + " bits"
			}
			return bound
		}
		field.SetInt(n)
	default:
		n, err := strconv.ParseUint(value, 0, field.Type().Bits())
		if err != nil {
			return "a whole number of " + strconv.Itoa(field.Type().Bits()) + " bits, at least 0"
		}
		field.SetUint(n)
	}
	return ""
}

// defaultZSTDLevel is the level of zstd without one in a flag, as in Badger.
const defaultZSTDLevel = 3

// compressionFromFlag sets Compression and, by a name, ZSTDCompressionLevel. A number is the type
// alone.
func (opt *Options) compressionFromFlag(key, value string) {
	if value == "" {
		return
	}
	const bound = "none, snappy, zstd or zstd:LEVEL with a LEVEL above 0"
	name, text, hasLevel := strings.Cut(value, ":")
	level := defaultZSTDLevel
	if hasLevel {
		var err error
		if level, err = strconv.Atoi(text); err != nil || level <= 0 {
			opt.refuse(key, value, bound)
			return
		}
	}
	switch name {
	case "none":
		opt.Compression, opt.ZSTDCompressionLevel = options.None, 0
	case "snappy":
		opt.Compression, opt.ZSTDCompressionLevel = options.Snappy, 0
	case "zstd":
		opt.Compression, opt.ZSTDCompressionLevel = options.ZSTD, level
	default:
		n, err := strconv.ParseUint(value, 0, 32)
		if err != nil || n > uint64(options.ZSTD) {
			opt.refuse(key, value, bound)
			return
		}
		opt.Compression = options.CompressionType(n)
	}
}
