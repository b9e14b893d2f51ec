package badgerspill

import (
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/wbm"
)

// badgersOwn are the fields of badger.Options that are not exported: what managed and managedMark
// stand for, what Badger derives when it opens, and what only its own tests set.
var badgersOwn = []string{"managedTxns", "maxBatchCount", "maxBatchSize", "maxValueThreshold", "testOnlyOptions"}

// A new release of Badger that has another field fails here: Options, OptionsFrom and
// Options.Badger have to know it.
func TestOptionsHaveBadgersFields(t *testing.T) {
	theirs, ours := reflect.TypeFor[badger.Options](), reflect.TypeFor[Options]()
	for f := range structFields(theirs) {
		if !f.IsExported() {
			require.Contains(t, badgersOwn, f.Name, "Badger has a new field")
			continue
		}
		own, ok := ours.FieldByName(f.Name)
		require.True(t, ok, f.Name)
		require.Len(t, own.Index, 1, "%s: Options is flat", f.Name)
		require.Equal(t, f.Type, own.Type, f.Name)
	}
	for f := range structFields(reflect.TypeFor[Tuning]()) {
		_, both := ours.FieldByName(f.Name)
		require.False(t, both, "%s: a flag could not tell which is meant", f.Name)
	}
}

func structFields(t reflect.Type) func(func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range t.NumField() {
			if !yield(t.Field(i)) {
				return
			}
		}
	}
}

// filled returns Badger's options with something other than 0 in every field, and another in each.
func filled(t *testing.T) badger.Options {
	t.Helper()
	var o badger.Options
	v := reflect.ValueOf(&o).Elem()
	for f := range structFields(v.Type()) {
		if !f.IsExported() {
			continue
		}
		n := int64(f.Index[0] + 1)
		switch field := v.FieldByIndex(f.Index); field.Kind() {
		case reflect.String:
			field.SetString(f.Name)
		case reflect.Bool:
			field.SetBool(true)
		case reflect.Int, reflect.Int64:
			field.SetInt(n)
		case reflect.Uint16, reflect.Uint32:
			field.SetUint(uint64(n))
		case reflect.Float64:
			field.SetFloat(float64(n))
		case reflect.Slice:
			field.SetBytes([]byte(f.Name))
		case reflect.Interface:
			field.Set(reflect.ValueOf(badger.DefaultOptions("").Logger))
		default:
			require.Fail(t, "a field of another kind", f.Name)
		}
		require.False(t, v.FieldByIndex(f.Index).IsZero(), f.Name)
	}
	return o
}

func TestOptionsThereAndBack(t *testing.T) {
	for _, managed := range []bool{false, true} {
		o := filled(t)
		if managed {
			managedMark(&o).set()
		}
		require.Equal(t, managed, managedMark(&o).isSet())
		ours := OptionsFrom(o)
		require.Equal(t, managed, ours.managed)
		require.Equal(t, o, ours.Badger())
		for f := range structFields(reflect.TypeOf(o)) {
			if f.IsExported() {
				require.Equal(t, reflect.ValueOf(o).FieldByName(f.Name).Interface(), reflect.ValueOf(ours).FieldByName(f.Name).Interface(), f.Name)
			}
		}
	}
}

// The mark is what Badger itself sets.
func TestManagedMarkIsBadgers(t *testing.T) {
	o := DefaultOptions("").WithInMemory(true).WithLogger(nil).Badger()
	plain, err := badger.OpenManaged(o)
	require.NoError(t, err)
	shown := plain.Opts()
	require.NoError(t, plain.Close())
	require.True(t, managedMark(&shown).isSet())

	managedMark(&o).set()
	plain, err = badger.Open(o)
	require.NoError(t, err)
	defer plain.Close()
	require.Panics(t, func() { plain.NewTransaction(true) }, "it is managed")
}

// TestThreeWaysToTheSameDatabase: a literal, DefaultOptions and OptionsFrom run with the same
// options.
func TestThreeWaysToTheSameDatabase(t *testing.T) {
	dir := t.TempDir()
	theirs := badger.DefaultOptions(dir).WithLogger(nil)
	for _, change := range []struct {
		name string
		set  func(*Options)
	}{
		{"defaults", func(*Options) {}},
		{"synced", func(o *Options) { o.SyncWrites = true }},
		{"less memory", func(o *Options) { o.MemoryLimit = 64 << 20 }},
		{"tuned", func(o *Options) { o.Tuning.SpillRate, o.Tuning.SegmentSize, o.StallThreshold = Off, 1<<20, time.Second }},
	} {
		t.Run(change.name, func(t *testing.T) {
			literal := Options{
				Dir: dir, ValueDir: dir, MemTableSize: 64 << 20, BaseTableSize: 2 << 20, BaseLevelSize: 10 << 20, TableSizeMultiplier: 2,
				LevelSizeMultiplier: 10, MaxLevels: 7, NumGoroutines: 8, MetricsEnabled: true, NumCompactors: 4, NumLevelZeroTables: 5,
				NumLevelZeroTablesStall: 15, NumMemtables: 5, BloomFalsePositive: 0.01, BlockSize: 4 << 10, NumVersionsToKeep: 1,
				Compression: options.Snappy, BlockCacheSize: 256 << 20, ZSTDCompressionLevel: 1, ValueLogFileSize: 1<<30 - 1,
				ValueLogMaxEntries: 1000000, ValueThreshold: 1 << 20, EncryptionKey: []byte{}, EncryptionKeyRotationDuration: 10 * 24 * time.Hour,
				DetectConflicts: true, NamespaceOffset: -1,
			}
			var effective []Options
			for _, o := range []Options{literal, DefaultOptions(dir).WithLogger(nil), OptionsFrom(theirs)} {
				change.set(&o)
				o, err := o.checked()
				require.NoError(t, err)
				effective = append(effective, o)
			}
			require.Equal(t, effective[0], effective[1])
			require.Equal(t, effective[0], effective[2])
		})
	}
}

// TestZeroIsTheDefault: what is 0 runs with the default that is documented.
func TestZeroIsTheDefault(t *testing.T) {
	dir := t.TempDir()
	opt, err := DefaultOptions(dir).checked()
	require.NoError(t, err)
	memory := int64(6 * 64 << 20)
	want := DefaultOptions(dir)
	want.Logger, opt.Logger = nil, nil
	want.SpillDir, want.SpillCapacity, want.MemoryLimit = filepath.Join(dir, "spill"), 8<<30, memory
	want.StallThreshold = 5 * time.Millisecond
	want.Tuning = Tuning{SoftLimitRatio: 0.8, SpillLimitRatio: 0.9, SegmentSize: 64 << 20, SpillCacheSize: memory / 32, SpillOpenFiles: 64, SpillRate: 1000,
		QuietWindow: time.Second, MaxSpillAge: 30 * time.Second, ReplayHighWater: 0.5}
	require.Equal(t, want, opt)

	opt, err = DefaultOptions(dir).WithSyncWrites(true).checked()
	require.NoError(t, err)
	require.Equal(t, 50*time.Millisecond, opt.StallThreshold)
	require.EqualValues(t, 20, opt.Tuning.SpillRate)
}

// TestOff: it switches off what it is said to switch off, and is refused by all others that are
// numbers.
func TestOff(t *testing.T) {
	off := []string{"StallThreshold", "BlockTimeout", "MinFreeSpace", "Tuning.SpillCacheSize", "Tuning.SpillRate", "Tuning.SpillVerifyRate"}
	numbers := 0
	try := func(name string, field func(*Options) reflect.Value) {
		opt := DefaultOptions(t.TempDir())
		switch v := field(&opt); v.Kind() {
		case reflect.Int, reflect.Int64:
			v.SetInt(Off)
		case reflect.Float64:
			v.SetFloat(Off)
		default:
			return
		}
		numbers++
		_, err := opt.checked()
		if slices.Contains(off, name) {
			require.NoError(t, err, name)
			return
		}
		var bad *OptionError
		require.ErrorAs(t, err, &bad, name)
		require.Equal(t, name, bad.Field)
	}
	for f := range structFields(reflect.TypeFor[Options]()) {
		if _, badgers := reflect.TypeFor[badger.Options]().FieldByName(f.Name); f.IsExported() && !badgers {
			try(f.Name, func(o *Options) reflect.Value { return reflect.ValueOf(o).Elem().FieldByName(f.Name) })
		}
	}
	for f := range structFields(reflect.TypeFor[Tuning]()) {
		try("Tuning."+f.Name, func(o *Options) reflect.Value { return reflect.ValueOf(&o.Tuning).Elem().FieldByName(f.Name) })
	}
	require.Equal(t, 19, numbers)
}

// TestWithMethods: each With method of the layer's options sets its field and no other.
func TestWithMethods(t *testing.T) {
	m, err := wbm.New(wbm.Options{Limit: 1 << 20})
	require.NoError(t, err)
	l := &EventListener{}
	rows := map[string]struct {
		with Options
		set  func(*Options)
	}{
		"WithMemoryLimit":        {Options{}.WithMemoryLimit(3), func(o *Options) { o.MemoryLimit = 3 }},
		"WithSpillDir":           {Options{}.WithSpillDir("d"), func(o *Options) { o.SpillDir = "d" }},
		"WithSpillCapacity":      {Options{}.WithSpillCapacity(3), func(o *Options) { o.SpillCapacity = 3 }},
		"WithSpillPolicy":        {Options{}.WithSpillPolicy(Always), func(o *Options) { o.SpillPolicy = Always }},
		"WithStallThreshold":     {Options{}.WithStallThreshold(3), func(o *Options) { o.StallThreshold = 3 }},
		"WithBlockTimeout":       {Options{}.WithBlockTimeout(Off), func(o *Options) { o.BlockTimeout = -1 }},
		"WithKeepSpillOnClose":   {Options{}.WithKeepSpillOnClose(true), func(o *Options) { o.KeepSpillOnClose = true }},
		"WithDrainOnClose":       {Options{}.WithDrainOnClose(false), func(o *Options) { o.KeepSpillOnClose = true }},
		"WithMinFreeSpace":       {Options{}.WithMinFreeSpace(3), func(o *Options) { o.MinFreeSpace = 3 }},
		"WithWriteBufferManager": {Options{}.WithWriteBufferManager(m), func(o *Options) { o.WriteBufferManager = m }},
		"WithEventListener":      {Options{}.WithEventListener(l), func(o *Options) { o.EventListener = l }},
		"WithTuning":             {Options{}.WithTuning(Tuning{SegmentSize: 3}), func(o *Options) { o.Tuning.SegmentSize = 3 }},
		"WithLimitRatios": {Options{}.WithLimitRatios(0.1, 0.2), func(o *Options) {
			o.Tuning.SoftLimitRatio, o.Tuning.SpillLimitRatio = 0.1, 0.2
		}},
		"WithSegmentSize":     {Options{}.WithSegmentSize(3), func(o *Options) { o.Tuning.SegmentSize = 3 }},
		"WithSpillOpenFiles":  {Options{}.WithSpillOpenFiles(17), func(o *Options) { o.Tuning.SpillOpenFiles = 17 }},
		"WithSpillCacheSize":  {Options{}.WithSpillCacheSize(3), func(o *Options) { o.Tuning.SpillCacheSize = 3 }},
		"WithSpillRate":       {Options{}.WithSpillRate(3), func(o *Options) { o.Tuning.SpillRate = 3 }},
		"WithQuiet":           {Options{}.WithQuiet(3, 4), func(o *Options) { o.Tuning.QuietRate, o.Tuning.QuietWindow = 3, 4 }},
		"WithMaxSpillAge":     {Options{}.WithMaxSpillAge(3), func(o *Options) { o.Tuning.MaxSpillAge = 3 }},
		"WithReplayHighWater": {Options{}.WithReplayHighWater(0.3), func(o *Options) { o.Tuning.ReplayHighWater = 0.3 }},
		"WithSpillVerifyRate": {Options{}.WithSpillVerifyRate(3), func(o *Options) { o.Tuning.SpillVerifyRate = 3 }},
		"WithTreeShape":       {Options{}.WithTreeShape(ShapeAsGiven), func(o *Options) { o.Tuning.TreeShape = ShapeAsGiven }},
		"WithReplayMaxRate":   {Options{}.WithReplayMaxRate(3), func(o *Options) { o.Tuning.ReplayMaxRate = 3 }},
	}
	for name, row := range rows {
		var want Options
		row.set(&want)
		require.Equal(t, want, row.with, name)
	}
	require.False(t, Options{KeepSpillOnClose: true}.WithDrainOnClose(true).KeepSpillOnClose)

	theirs := reflect.TypeFor[badger.Options]()
	for i := range reflect.TypeFor[Options]().NumMethod() {
		name := reflect.TypeFor[Options]().Method(i).Name
		if _, badgers := theirs.MethodByName(name); !badgers && strings.HasPrefix(name, "With") {
			require.Contains(t, rows, name)
		}
	}
}

// TestBadgersWithMethods: each With method that Badger has sets here what it sets there.
func TestBadgersWithMethods(t *testing.T) {
	theirs, ours := reflect.ValueOf(badger.Options{}), reflect.ValueOf(Options{})
	compared := 0
	for i := range theirs.NumMethod() {
		name := theirs.Type().Method(i).Name
		// whose argument is of an unexported type
		if !strings.HasPrefix(name, "With") || name == "WithLoggingLevel" {
			continue
		}
		there, here := theirs.Method(i), ours.MethodByName(name)
		require.True(t, here.IsValid(), name)
		arg := reflect.ValueOf(filled(t)).FieldByName(strings.Replace(strings.TrimPrefix(name, "With"), "ExternalMagic", "ExternalMagicVersion", 1))
		require.True(t, arg.IsValid(), name)
		got := here.Call([]reflect.Value{arg})[0].Interface().(Options)
		require.Equal(t, there.Call([]reflect.Value{arg})[0].Interface(), got.Badger(), name)
		compared++
	}
	require.Greater(t, compared, 35)
	level := func(l badger.Logger) int64 { return reflect.ValueOf(l).Elem().FieldByName("level").Int() }
	require.Equal(t, level(badger.Options{}.WithLoggingLevel(badger.DEBUG).Logger), level(Options{}.WithLoggingLevel(DEBUG).Logger))
	require.Equal(t, level(badger.Options{}.WithLoggingLevel(badger.INFO).Logger), level(Options{}.WithLoggingLevel(INFO).Logger))
	require.Equal(t, level(badger.Options{}.WithLoggingLevel(badger.WARNING).Logger), level(Options{}.WithLoggingLevel(WARNING).Logger))
	require.Equal(t, level(badger.Options{}.WithLoggingLevel(badger.ERROR).Logger), level(Options{}.WithLoggingLevel(ERROR).Logger))
}

// TestOptsAsBadgersOpts: of Badger's options Opts shows what Badger's own Opts shows after Open
// with the same ones.
func TestOptsAsBadgersOpts(t *testing.T) {
	inMemory := func(o *Options) { o.InMemory, o.Dir, o.ValueDir = true, "", "" }
	rows := []struct {
		name    string
		managed bool
		set     func(*Options)
	}{
		{"defaults", false, func(*Options) {}},
		{"managed", true, func(*Options) {}},
		{"synced", false, func(o *Options) { o.SyncWrites = true }},
		{"in memory, synced", false, func(o *Options) { inMemory(o); o.SyncWrites = true }},
		{"in memory, managed", true, inMemory},
		{"read-only, compacting at Close", false, func(o *Options) { o.ReadOnly, o.CompactL0OnClose = true, true }},
		{"less memory than Badger would take", false, func(o *Options) { o.MemoryLimit = 44 << 20 }},
		{"no conflicts, other values", false, func(o *Options) {
			o.DetectConflicts, o.ValueThreshold, o.NumVersionsToKeep, o.VLogPercentile = false, 1<<10, 0, 0.5
		}},
		{"without compaction and caches", false, func(o *Options) {
			o.NumCompactors, o.Compression, o.BlockCacheSize, o.BlockSize = 0, options.None, 0, 0
		}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			bounded(t)
			dir := t.TempDir()
			opt := testOptions(dir)
			opt.MinFreeSpace = 0
			if row.set(&opt); opt.ReadOnly {
				made, err := badger.Open(testOptions(dir).Badger())
				require.NoError(t, err)
				require.NoError(t, made.Close())
			}
			openPlain, openHere := badger.Open, Open
			if row.managed {
				openPlain, openHere = badger.OpenManaged, OpenManaged
			}
			plain, err := openPlain(opt.Badger())
			require.NoError(t, err)
			want := plain.Opts()
			require.NoError(t, plain.Close())
			db, err := openHere(opt)
			require.NoError(t, err)
			defer db.Close()
			got := db.Opts().Badger()
			for f := range structFields(reflect.TypeOf(want)) {
				if f.IsExported() || f.Name == "managedTxns" {
					require.Equal(t, fmt.Sprint(reflect.ValueOf(want).FieldByName(f.Name)), fmt.Sprint(reflect.ValueOf(got).FieldByName(f.Name)), f.Name)
				}
			}
			// Of the layer's own what was asked, and the defaults that are fixed.
			asked := opt.withDefaults()
			shown := db.Opts()
			require.Equal(t, asked.Tuning, shown.Tuning)
			require.Equal(t, []any{asked.SpillDir, asked.SpillCapacity, asked.MemoryLimit, asked.SpillPolicy, asked.StallThreshold, asked.MinFreeSpace},
				[]any{shown.SpillDir, shown.SpillCapacity, shown.MemoryLimit, shown.SpillPolicy, shown.StallThreshold, shown.MinFreeSpace})
		})
	}
}

// TestEffectiveOpts: what follows from the directory, the machine and other options is there.
func TestEffectiveOpts(t *testing.T) {
	f := open(t, func(opt *Options) {
		opt.StallThreshold, opt.Tuning, opt.MinFreeSpace, opt.MemoryLimit = 0, Tuning{}, 0, 60<<20
		opt.NumMemtables, opt.ValueThreshold = 9, 1<<10
	})
	shown, runs := f.Opts(), f.EffectiveOpts()
	require.Empty(t, shown.SpillDir)
	require.Equal(t, filepath.Join(f.opt.Dir, "spill"), runs.SpillDir)
	require.EqualValues(t, 8<<20, shown.MemTableSize)
	require.EqualValues(t, 6<<20, runs.MemTableSize)
	require.Zero(t, shown.StallThreshold)
	require.Equal(t, DefaultStallThreshold, runs.StallThreshold)
	require.Zero(t, shown.Tuning.SpillRate)
	require.EqualValues(t, DefaultSpillRate, runs.Tuning.SpillRate)
	require.Zero(t, shown.Tuning.QuietRate)
	require.Positive(t, runs.Tuning.QuietRate)
	require.Zero(t, shown.Tuning.SpillCacheSize)
	require.EqualValues(t, 60<<20/32, runs.Tuning.SpillCacheSize)
	require.Zero(t, shown.MinFreeSpace)
	require.Positive(t, runs.MinFreeSpace)
}

// TestOptsOpensAnother: as programs do for a copy, or to swap one directory for another.
func TestOptsOpensAnother(t *testing.T) {
	for _, managed := range []bool{false, true} {
		t.Run(fmt.Sprintf("managed %v", managed), func(t *testing.T) {
			f := open(t, func(opt *Options) { opt.managed, opt.MemoryLimit, opt.SpillPolicy = managed, 48<<20, Always })
			other := f.Opts()
			other.Dir, other.ValueDir = t.TempDir(), t.TempDir()
			var opened []*DB
			for _, o := range []Options{other, f.Opts().WithDir(t.TempDir()).WithValueDir(t.TempDir()), OptionsFrom(f.Opts().WithDir(t.TempDir()).WithValueDir(t.TempDir()).Badger())} {
				db, err := Open(o)
				require.NoError(t, err)
				defer db.Close()
				opened = append(opened, db)
			}
			require.Equal(t, filepath.Join(other.Dir, "spill"), opened[0].EffectiveOpts().SpillDir)
			for _, db := range opened {
				require.Equal(t, managed, db.Opts().managed)
				if managed {
					require.Panics(t, func() { db.NewTransaction(true) })
				} else {
					require.NoError(t, put(db, "k", "v"))
				}
			}
			again := f.Opts()
			require.NoError(t, f.Close())
			moved, err := Open(again.WithDir(t.TempDir())) // the values stay where they are
			require.NoError(t, err)
			require.NoError(t, moved.Close())
		})
	}
}

func TestFlagsAsBadgers(t *testing.T) {
	values := map[reflect.Kind][]string{
		reflect.Bool:    {"true", "false", "1", "F", "True", "", " true "},
		reflect.Int:     {"7", "-3", "0x10", "0b11", "1_000", "0", ""},
		reflect.Int64:   {"7", "-3", "0x10", "1_000", "9223372036854775807", ""},
		reflect.Uint32:  {"7", "0x10", "4294967295", ""},
		reflect.Float64: {"0.5", "1e-3", "7", "-0.25", ""},
		reflect.String:  {"a/b", "with space", "a=b", ""},
	}
	var flags []string
	kinds := map[reflect.Kind]bool{}
	for f := range structFields(reflect.TypeFor[badger.Options]()) {
		for _, v := range values[f.Type.Kind()] {
			if !f.IsExported() || f.Name == "Compression" {
				continue
			}
			kinds[f.Type.Kind()] = true
			flags = append(flags, strings.ToLower(f.Name)+"="+v, " "+f.Name+" = "+v+" ; ;", strings.ToUpper(f.Name)+"="+v)
		}
	}
	require.Len(t, kinds, len(values))
	flags = append(flags, "", ";", " ; ")
	for _, c := range []string{"none", "snappy", "zstd", "zstd:1", "zstd:9", "snappy:5", "none:2", "0", "1", "2", "0x1", ""} {
		flags = append(flags, "compression="+c, "zstdcompressionlevel=7; compression="+c, "compression="+c+"; zstdcompressionlevel=7", "Compression= "+c)
	}
	flags = append(flags, "numcompactors=2; numcompactors=5", "numcompactors=many; numcompactors=5", "dir=x; valuedir=y; syncwrites=true; numgoroutines=3")
	for _, base := range []badger.Options{badger.DefaultOptions("p"), {}} {
		base.Logger = nil
		for _, flag := range flags {
			got := OptionsFrom(base).FromSuperFlag(flag)
			require.NoError(t, got.flagErr, flag)
			require.Equal(t, base.FromSuperFlag(flag), got.Badger(), flag)
		}
	}
	o := DefaultOptions("p")
	require.Equal(t, o, o.FromSuperFlag(""))
}

// TestFlagsOfTheLayer: every option that can be written as a value has a key, with and without
// dashes and underscores.
func TestFlagsOfTheLayer(t *testing.T) {
	rows := []struct {
		flag string
		set  func(*Options)
	}{
		{"spilldir=a/b", func(o *Options) { o.SpillDir = "a/b" }},
		{"spill-capacity=1073741824", func(o *Options) { o.SpillCapacity = 1 << 30 }},
		{"memory_limit=0x100000", func(o *Options) { o.MemoryLimit = 1 << 20 }},
		{"spillpolicy=always", func(o *Options) { o.SpillPolicy = Always }},
		{"SPILL_POLICY=Never", func(o *Options) { o.SpillPolicy = Never }},
		{"stallthreshold=5ms", func(o *Options) { o.StallThreshold = 5 * time.Millisecond }},
		{"stall-threshold=5000000", func(o *Options) { o.StallThreshold = 5 * time.Millisecond }},
		{"stallthreshold=off", func(o *Options) { o.StallThreshold = Off }},
		{"block-timeout=OFF", func(o *Options) { o.BlockTimeout = Off }},
		{"blocktimeout=1h30m", func(o *Options) { o.BlockTimeout = 90 * time.Minute }},
		{"keep-spill-on-close=true", func(o *Options) { o.KeepSpillOnClose = true }},
		{"min_free_space=off", func(o *Options) { o.MinFreeSpace = Off }},
		{"softlimitratio=0.5", func(o *Options) { o.Tuning.SoftLimitRatio = 0.5 }},
		{"spill-limit-ratio=0.6", func(o *Options) { o.Tuning.SpillLimitRatio = 0.6 }},
		{"segmentsize=65536", func(o *Options) { o.Tuning.SegmentSize = 65536 }},
		{"spill-open-files=99", func(o *Options) { o.Tuning.SpillOpenFiles = 99 }},
		{"spillcachesize=-1", func(o *Options) { o.Tuning.SpillCacheSize = Off }},
		{"spillrate=off", func(o *Options) { o.Tuning.SpillRate = Off }},
		{"quietrate=1e6", func(o *Options) { o.Tuning.QuietRate = 1e6 }},
		{"quietwindow=2s", func(o *Options) { o.Tuning.QuietWindow = 2 * time.Second }},
		{"max-spill-age=1m", func(o *Options) { o.Tuning.MaxSpillAge = time.Minute }},
		{"replayhighwater=0.7", func(o *Options) { o.Tuning.ReplayHighWater = 0.7 }},
		{"spill-verify-rate=2_000", func(o *Options) { o.Tuning.SpillVerifyRate = 2000 }},
		{"tree-shape=asgiven", func(o *Options) { o.Tuning.TreeShape = ShapeAsGiven }},
		{"replay-max-rate=1_000", func(o *Options) { o.Tuning.ReplayMaxRate = 1000 }},
		{"spillcapacity=", func(o *Options) { o.SpillCapacity = 0 }},
		{"externalmagicversion=7", func(o *Options) { o.ExternalMagicVersion = 7 }},
		{"encryption-key-rotation-duration=24h", func(o *Options) { o.EncryptionKeyRotationDuration = 24 * time.Hour }},
		{"num-compactors=3; spill-rate=20; level_size_multiplier=4", func(o *Options) {
			o.NumCompactors, o.Tuning.SpillRate, o.LevelSizeMultiplier = 3, 20, 4
		}},
	}
	set := map[string]bool{}
	for _, row := range rows {
		o := DefaultOptions("p").WithSpillCapacity(1)
		got := o.FromSuperFlag(row.flag)
		row.set(&o)
		require.Equal(t, o, got, row.flag)
		key, _, _ := strings.Cut(row.flag, "=")
		set[flagKey(key)] = true
	}
	for key, f := range flagFields() {
		if f.own {
			require.True(t, set[key], key)
		}
	}
}

// TestFlagsThatAreWrong: Open names the key and the value, as they were written. Badger ends the
// process.
func TestFlagsThatAreWrong(t *testing.T) {
	for _, row := range []struct{ flag, key, value string }{
		{"numcompactor=3", "numcompactor", "3"},
		{"Num-Compactors=many", "Num-Compactors", "many"},
		{"numcompactors=99999999999999999999", "numcompactors", "99999999999999999999"},
		{"numcompactors=off", "numcompactors", "off"},
		{"syncwrites", "syncwrites", ""},
		{"syncwrites=yes", "syncwrites", "yes"},
		{"valuelogmaxentries=4294967296", "valuelogmaxentries", "4294967296"},
		{"valuelogmaxentries=-1", "valuelogmaxentries", "-1"},
		{"vlogpercentile=half", "vlogpercentile", "half"},
		{"compression=lz4", "compression", "lz4"},
		{"compression=zstd:0", "compression", "zstd:0"},
		{"compression=zstd:high", "compression", "zstd:high"},
		{"compression=zstd:1:2", "compression", "zstd:1:2"},
		{"compression=3", "compression", "3"},
		{"encryptionkey=0123456789abcdef", "encryptionkey", "0123456789abcdef"},
		{"logger=none", "logger", "none"},
		{"tuning=1", "tuning", "1"},
		{"managed=true", "managed", "true"},
		{"spillpolicy=1", "spillpolicy", "1"},
		{"stallthreshold=5 ms", "stallthreshold", "5 ms"},
		{"spillcapacity=8GiB", "spillcapacity", "8GiB"},
		{"=3", "", "3"},
	} {
		t.Run(row.flag, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "db")
			o := DefaultOptions(dir).WithLogger(nil)
			flagged := o.FromSuperFlag(row.flag)
			_, err := Open(flagged)
			require.ErrorIs(t, err, ErrBadOption)
			var bad *OptionError
			require.ErrorAs(t, err, &bad)
			require.Equal(t, []any{row.key, row.value}, []any{bad.Field, bad.Value})
			require.ErrorContains(t, err, row.key+" = "+row.value)
			require.NoDirExists(t, dir)
			flagged.flagErr = nil
			require.Equal(t, o, flagged, "nothing else is changed")
		})
	}
	_, err := Open(DefaultOptions(t.TempDir()).FromSuperFlag("a=1; numcompactors=2; b=2").FromSuperFlag("c=3"))
	for _, text := range []string{"a = 1", "b = 2", "c = 3"} {
		require.ErrorContains(t, err, text)
	}
}

type logged []string

func (l *logged) add(level, format string, args []any) {
	*l = append(*l, level+fmt.Sprintf(format, args...))
}
func (l *logged) Errorf(f string, args ...any)   { l.add("E ", f, args) }
func (l *logged) Warningf(f string, args ...any) { l.add("W ", f, args) }
func (l *logged) Infof(f string, args ...any)    { l.add("I ", f, args) }
func (l *logged) Debugf(f string, args ...any)   { l.add("D ", f, args) }

func TestOptionsLog(t *testing.T) {
	var lines logged
	var opt Options
	for range 2 {
		opt.Errorf("%d", 1)
		opt.Warningf("%d", 2)
		opt.Infof("%d", 3)
		opt.Debugf("%d", 4)
		opt.Logger = &lines
	}
	require.Equal(t, logged{"E 1", "W 2", "I 3", "D 4"}, lines)
}

// A memory limit that leaves memtables of no size is refused before Badger sees it.
func TestMemoryLimitWithoutAValueThreshold(t *testing.T) {
	opt := testOptions(t.TempDir())
	opt.ValueThreshold, opt.MemoryLimit = 0, 6
	_, err := opt.checked()
	var bad *OptionError
	require.ErrorAs(t, err, &bad)
	require.Equal(t, "MemoryLimit", bad.Field)
	opt.MemoryLimit = math.MaxInt64
	_, err = opt.checked()
	require.NoError(t, err)
}

// TestLeastMemoryLimit: what the error says is the least is taken, and one byte less is not. 40 MiB
// do for Badger's defaults.
func TestLeastMemoryLimit(t *testing.T) {
	bounded(t)
	opt := DefaultOptions(t.TempDir()).WithLogger(nil).WithMemoryLimit(40 << 20)
	db, err := Open(opt)
	require.NoError(t, err)
	require.NoError(t, db.Close())
	for _, row := range []func(Options) Options{
		func(o Options) Options { return o },
		func(o Options) Options { return o.WithValueThreshold(1 << 10) },
		func(o Options) Options { return o.WithNumMemtables(1) },
	} {
		_, err := Open(row(opt).WithMemoryLimit(1))
		var bad *OptionError
		require.ErrorAs(t, err, &bad)
		var least int64
		_, err = fmt.Sscanf(bad.Bound, "at least %d bytes", &least)
		require.NoError(t, err, bad.Bound)
		db, err := Open(row(opt).WithMemoryLimit(least))
		require.NoError(t, err)
		require.NoError(t, db.Close())
		_, err = Open(row(opt).WithMemoryLimit(least - 1))
		require.ErrorAs(t, err, &bad)
	}
}
