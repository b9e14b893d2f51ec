package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/engine"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/openloop"
)

const (
	viewFor = 40 * time.Second
	// viewSlice is how long one kind of read is measured at a time: kinds take turns, so that what
	// else the machine does hits all.
	viewSlice = 50 * time.Millisecond
	// zipfExponent is the least that the generator takes, about that of the usual benchmarks: the
	// hottest of a million keys gets 7 % of the reads.
	zipfExponent = 1.01
)

// viewKind is one kind of reads.
type viewKind struct {
	figure    string
	name      string
	readers   int
	hit, zipf bool
}

func viewKinds() []viewKind {
	var kinds []viewKind
	for _, readers := range []int{1, 2} {
		for _, hit := range []bool{true, false} {
			for _, zipf := range []bool{false, true} {
				figure, name := "miss", "misses, "
				if hit {
					figure, name = "hit", "hits, "
				}
				if zipf {
					figure, name = figure+"_zipf", name+"zipf, "
				} else {
					figure, name = figure+"_uniform", name+"uniform, "
				}
				name += []string{"", "1 reader", "2 readers"}[readers]
				kinds = append(kinds, viewKind{fmt.Sprintf("%s_%d", figure, readers), name, readers, hit, zipf})
			}
		}
	}
	return kinds
}

// viewCase is what reads cost while there is nothing in the spill.
func viewCase() *Case {
	c := &Case{
		Name:    "view",
		Short:   "View with one Get over a settled database of 1,000,000 entries, the spill empty, 40 s of slices in turns",
		prepare: baseStage,
		base:    true,
		stages:  func(string) []stage { return []stage{onBase("view", (*runner).views)} },
		entries: Config.preloaded,
	}
	for _, k := range viewKinds() {
		c.figures = append(c.figures, Figure{k.figure, k.name, PerSecond, ratioAtLeast(1)})
	}
	return c
}

func (r *runner) views(ctx context.Context, db engine.Engine) error {
	kinds := viewKinds()
	viewers := []*viewer{r.viewer(db, 0), r.viewer(db, 1)}
	rates := make([][]*float64, len(kinds))
	rounds := max(int(r.cfg.scaledTime(viewFor)/viewSlice)/len(kinds), 2)
	for round := range rounds {
		for i, kind := range kinds {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			rate, err := viewSome(viewers[:kind.readers], kind)
			if err != nil {
				return err
			}
			if round > 0 { // the first one warms the caches
				rates[i] = append(rates[i], &rate)
			}
		}
	}
	for i, kind := range kinds {
		r.set(kind.figure, *median(rates[i]))
	}
	return nil
}

// viewSome returns how many reads a second the viewers make in a slice.
func viewSome(viewers []*viewer, kind viewKind) (rate float64, err error) {
	begin := time.Now()
	counts, errs := make([]int, len(viewers)), make([]error, len(viewers))
	var all sync.WaitGroup
	for i, v := range viewers {
		all.Go(func() { counts[i], errs[i] = v.read(kind, begin.Add(viewSlice)) })
	}
	all.Wait()
	took, reads := time.Since(begin).Seconds(), 0
	for _, n := range counts {
		reads += n
	}
	return float64(reads) / took, errors.Join(errs...)
}

// viewer reads for one goroutine.
type viewer struct {
	db         engine.Engine
	load       *openloop.Workload
	n          int64 // the first so many slots are there
	random     *rand.Rand
	zipf       *rand.Zipf
	key, value []byte
}

func (r *runner) viewer(db engine.Engine, number uint64) *viewer {
	random, n := rand.New(rand.NewPCG(r.cfg.Seed, number)), r.cfg.preloaded()
	return &viewer{db: db, load: r.load, n: n, random: random, zipf: rand.NewZipf(random, zipfExponent, 1, uint64(n-1))}
}

// read reads until a time and returns how often.
func (v *viewer) read(kind viewKind, until time.Time) (n int, err error) {
	const between = 16 // looks at the clock
	want := error(nil)
	if !kind.hit {
		want = openloop.ErrNotFound
	}
	for ; n%between != 0 || time.Now().Before(until); n++ {
		slot := int64(0)
		if kind.zipf {
			slot = int64(v.zipf.Uint64())
		} else {
			slot = v.random.Int64N(v.n)
		}
		if !kind.hit {
			slot += v.n
		}
		v.key = v.load.AppendKey(v.key[:0], slot)
		v.value, err = v.db.Get(v.key, v.value[:0])
		if !errors.Is(err, want) {
			return n, fmt.Errorf("key %s: error %v, wanted %v", v.key, err, want)
		}
	}
	return n, nil
}
