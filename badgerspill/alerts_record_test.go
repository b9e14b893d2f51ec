package badgerspill

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4/pb"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile"
)

// The series that integration_test/alerts evaluates docs/alerts.yml on are recorded here, one
// scenario a run, in the time that it takes:
//
//	go test -run '^TestRecordAlerts$' -timeout 0 ./badgerspill -args -alerts.record healthy
var (
	recordWhat = flag.String("alerts.record", "", "the scenario that TestRecordAlerts records; empty skips it")
	recordFor  = flag.Duration("alerts.for", 0, "for how long; 0 = as long as the scenario asks for")
	recordDir  = flag.String("alerts.dir", "../integration_test/alerts/testdata", "where it writes SCENARIO.yml")
)

const (
	recordEvery   = 5 * time.Second
	recordBegin   = 3 * time.Minute // until then every scenario is a healthy database
	recordWriters = 8
	recordFails   = 20 * time.Second
)

// recordScenario is a database at a steady 2,000 commits/s, and what happens to it.
type recordScenario struct {
	what   string
	last   time.Duration
	value  int // size of the values in bytes, random
	change func(*Options)
	happen func(r *recording) // after recordBegin; it returns at once
}

var recordScenarios = map[string]recordScenario{
	"healthy": {
		what: "the default options",
		last: 20 * time.Minute, value: 1 << 10,
	},
	"slow": {
		what: "Badger takes a quarter of what is written, the spill has room",
		last: 25 * time.Minute, value: 256,
		happen: func(r *recording) { r.engine.bytesPerSecond.Store(128 << 10) },
	},
	"overload": {
		what: "Badger takes three quarters of what is written, and the spill is small: commits are slowed",
		last: 25 * time.Minute, value: 256,
		change: func(opt *Options) { opt.SpillCapacity, opt.Tuning.SegmentSize = 64<<20, 4<<20 },
		happen: func(r *recording) { r.engine.bytesPerSecond.Store(384 << 10) },
	},
	"overrun": {
		what: "Badger takes a quarter of what is written, the spill is small, and writers wait again and again",
		last: 20 * time.Minute, value: 256,
		change: func(opt *Options) { opt.SpillCapacity, opt.Tuning.SegmentSize = 64<<20, 4<<20 },
		happen: func(r *recording) { r.engine.bytesPerSecond.Store(128 << 10) },
	},
	"full": {
		what: "Badger answers no more, the spill is small and runs full, and writers wait",
		last: 20 * time.Minute, value: 256,
		change: func(opt *Options) { opt.SpillCapacity, opt.Tuning.SegmentSize = 64<<20, 4<<20 },
		happen: func(r *recording) { r.engine.bytesPerSecond.Store(1) },
	},
	"broken": {
		what: "a block of the spill is damaged, and replay stops",
		last: 20 * time.Minute, value: 256,
		change: func(opt *Options) { opt.Tuning.SegmentSize, opt.KeepSpillOnClose = 4<<20, true },
		happen: func(r *recording) {
			paths, err := filepath.Glob(filepath.Join(r.opt.Dir, "spill", "*.seg"))
			require.NoError(r.t, err)
			damaged := 0
			for _, path := range paths {
				info, err := os.Stat(path)
				if err != nil || info.Size() < 2<<20 {
					continue
				}
				seg, err := os.OpenFile(path, os.O_RDWR, 0)
				if err != nil {
					continue
				}
				_, err = seg.WriteAt(make([]byte, 4<<10), 1<<20)
				require.NoError(r.t, errors.Join(err, seg.Close()))
				damaged++
			}
			require.Positive(r.t, damaged)
		},
	},
	"failing": {
		what: "Badger fails now and then, and takes everything in between",
		last: 25 * time.Minute, value: 256,
		happen: func(r *recording) { r.engine.fails.Store(true) },
	},
	"no-space": {
		what: "Badger's volume is below MinFreeSpace",
		last: 12 * time.Minute, value: 256,
		change: func(opt *Options) { opt.SpillCapacity, opt.Tuning.SegmentSize = 64<<20, 4<<20 },
		happen: func(r *recording) { r.disk.full.Store(true) },
	},
	"readers": {
		what: "three times a minute a transaction that has read is left open",
		last: 20 * time.Minute, value: 256,
		change: func(opt *Options) { opt.SpillCapacity = 1 << 30 },
		happen: func(r *recording) {
			r.every(20*time.Second, func() (discard func()) {
				txn := r.db.NewTransaction(false)
				_, err := txn.Get([]byte("k"))
				require.ErrorIs(r.t, err, ErrKeyNotFound)
				return txn.Discard
			})
		},
	},
	"subscriber": {
		what: "the callback of a subscriber hangs",
		last: 12 * time.Minute, value: 256,
		happen: func(r *recording) {
			hang := make(chan struct{})
			ctx, cancel := context.WithCancel(context.Background())
			ended := async(func() error {
				return r.db.Subscribe(ctx, func(*KVList) error { <-hang; return nil }, []pb.Match{{Prefix: []byte("k")}})
			})
			r.atEnd = append(r.atEnd, func() { cancel(); close(hang); <-ended })
		},
	},
}

// recordEngine is Badger at a bounded speed.
type recordEngine struct {
	engine
	bytesPerSecond atomic.Int64 // 0 = as it is
	fails          atomic.Bool  // once in recordFails
	failed         atomic.Int64 // when it did, in Unix nanoseconds
	end            chan struct{}
}

func (e *recordEngine) Load(entries []spillfile.Entry) error {
	if rate := e.bytesPerSecond.Load(); rate > 0 {
		bytes := 0
		for i := range entries {
			bytes += len(entries[i].Key) + len(entries[i].Value)
		}
		select {
		case <-time.After(time.Duration(float64(bytes) / float64(rate) * float64(time.Second))):
		case <-e.end:
		}
	}
	if now := time.Now().UnixNano(); e.fails.Load() && now-e.failed.Load() > int64(recordFails) {
		e.failed.Store(now)
		return fmt.Errorf("recording: %w", syscall.EIO)
	}
	return e.engine.Load(entries)
}

// recordDisk is the file system, whose volume can be full.
type recordDisk struct {
	spillfile.FS
	full atomic.Bool
}

func (d *recordDisk) Free(dir string) (free, total int64, err error) {
	free, total, err = d.FS.Free(dir)
	if d.full.Load() {
		free = 64 << 20
	}
	return free, total, err
}

type recording struct {
	t      *testing.T
	opt    Options
	db     *DB
	engine *recordEngine
	disk   *recordDisk
	ctx    context.Context // of the writers
	wait   sync.WaitGroup
	atEnd  []func()

	onSample func()

	series map[string][]string // samples by metric with its labels
	order  []string
}

func TestRecordAlerts(t *testing.T) {
	if *recordWhat == "" {
		t.Skip("run it with -args -alerts.record SCENARIO")
	}
	s, ok := recordScenarios[*recordWhat]
	require.True(t, ok, "no scenario %q", *recordWhat)
	if *recordFor > 0 {
		s.last = *recordFor
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &recording{t: t, ctx: ctx, opt: DefaultOptions(t.TempDir()).WithKeepSpillOnClose(true).WithMetricsEnabled(false),
		engine: &recordEngine{end: make(chan struct{})}, disk: &recordDisk{FS: spillfile.OS}, series: map[string][]string{}}
	r.opt.seams.fs = r.disk
	r.opt.seams.engine = func(e engine) engine { r.engine.engine = e; return r.engine }
	if s.change != nil {
		s.change(&r.opt)
	}
	var err error
	r.db, err = Open(r.opt)
	require.NoError(t, err)
	begin := time.Now()
	for range recordWriters {
		r.wait.Add(1)
		go r.write(s.value)
	}
	tick := time.NewTicker(recordEvery)
	defer tick.Stop()
	for happened := s.happen == nil; time.Since(begin) < s.last; <-tick.C {
		if !happened && time.Since(begin) >= recordBegin {
			s.happen(r)
			happened = true
		}
		if r.onSample != nil {
			r.onSample()
		}
		r.sample()
	}
	cancel()
	close(r.engine.end)
	r.engine.bytesPerSecond.Store(0)
	for _, f := range r.atEnd {
		f()
	}
	r.save(s) // before Close, which may take long, or fail as the scenario wants it
	t.Log(r.db.Close())
	r.wait.Wait()
}

// write commits at its share of 2,000/s. What it could not write while it waited it does not make
// up for.
func (r *recording) write(size int) {
	defer r.wait.Done()
	const pause = recordWriters * time.Second / 2000
	rng := rand.NewChaCha8([32]byte{})
	value := make([]byte, size)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for due := time.Now(); ; due = due.Add(pause) {
		if late := time.Since(due); late > time.Second {
			due = time.Now()
		}
		timer.Reset(time.Until(due))
		select {
		case <-timer.C:
		case <-r.ctx.Done():
			return
		}
		_, _ = rng.Read(value)
		txn := r.db.NewTransaction(true)
		err := txn.Set(fmt.Appendf(nil, "k%07d", rand.IntN(1_000_000)), slices.Clone(value))
		if err == nil {
			err = txn.CommitContext(r.ctx)
		}
		txn.Discard()
		if r.ctx.Err() == nil && err != nil && !errors.Is(err, ErrNoSpace) && !errors.Is(err, ErrReplayStopped) {
			r.t.Errorf("commit: %v", err)
			return
		}
	}
}

// every leaves what f makes until the end, again and again.
func (r *recording) every(d time.Duration, f func() (undo func())) {
	next := time.Now()
	r.onSample = func() {
		if now := time.Now(); !now.Before(next) {
			r.atEnd = append(r.atEnd, f())
			next = next.Add(d)
		}
	}
}

// sample appends a value to each series, as the collector of badgerspill/prometheus names it.
func (r *recording) sample() {
	s := r.db.SpillStats()
	for _, m := range Metrics() {
		if m.Prometheus == "" {
			continue
		}
		for value, number := range m.Values(&s) {
			labels := fmt.Sprintf("dir=%q", *recordWhat)
			if value != "" {
				labels += fmt.Sprintf(",%s=%q", m.Labels[1], value)
			}
			r.append(m.Prometheus+"{"+labels+"}", number)
		}
	}
}

func (r *recording) append(series string, v float64) {
	if _, ok := r.series[series]; !ok {
		r.order = append(r.order, series)
	}
	text := strconv.FormatFloat(v, 'f', 3, 64) // a millisecond is enough
	text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	r.series[series] = append(r.series[series], text)
}

// save writes the series of the metrics that docs/alerts.yml names, in the syntax of promtool's
// input_series.
func (r *recording) save(s recordScenario) {
	rules, err := os.ReadFile("../docs/alerts.yml")
	require.NoError(r.t, err)
	var b strings.Builder
	fmt.Fprintf(&b, "# 2,000 commits/s, values of %d bytes: %s.\n", s.value, s.what)
	if s.happen != nil {
		fmt.Fprintf(&b, "# It begins after %v.\n", recordBegin)
	}
	fmt.Fprintf(&b, "# Recorded by TestRecordAlerts (badgerspill/alerts_record_test.go).\ninterval: %v\ninput_series:\n", recordEvery)
	for _, name := range r.order {
		metric, _, _ := strings.Cut(name, "{")
		if !slices.Contains(wordsIn(string(rules)), metric) {
			continue
		}
		fmt.Fprintf(&b, "  - series: '%s'\n    values: '%s'\n", name, strings.Join(shortened(r.series[name]), " "))
	}
	require.NoError(r.t, os.MkdirAll(*recordDir, 0o755))
	require.NoError(r.t, os.WriteFile(filepath.Join(*recordDir, *recordWhat+".yml"), []byte(b.String()), 0o644))
}

// wordsIn returns the words of a text, names of metrics among them.
func wordsIn(text string) []string {
	return strings.FieldsFunc(text, func(c rune) bool { return c != '_' && (c < 'a' || c > 'z') && (c < '0' || c > '9') })
}

// shortened writes a value that comes n+1 times in a row as VALUExN.
func shortened(values []string) (short []string) {
	for i := 0; i < len(values); {
		n := i + 1
		for n < len(values) && values[n] == values[i] {
			n++
		}
		if n-i > 1 {
			short = append(short, fmt.Sprintf("%sx%d", values[i], n-i-1))
		} else {
			short = append(short, values[i])
		}
		i = n
	}
	return short
}
