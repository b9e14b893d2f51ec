package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/engine"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/openloop"
)

const (
	rssMemoryLimit = 64 << 20
	// sampled is how many keys are read after the kill, before scaling.
	sampled = 20_000
)

// rssCase is what a spill far larger than memory takes of it, and how long it is to open after a
// kill. Plain Badger, with its default options, holds the same entries.
func rssCase() *Case {
	limit := engine.Options{HoldSpill: true, MemoryLimit: rssMemoryLimit}
	return &Case{
		Name:  "rss",
		Short: "memory of the process with 4 GiB spilled and a MemoryLimit of 64 MiB; time of Open after SIGKILL",
		figures: []Figure{
			{"memory", "memory beside files and caches", Bytes, atMost(400 << 20)},
			{"peak", "peak of that", Bytes, atMost(400 << 20)},
			{"heap", "Go heap in use", Bytes, nil},
			{"live", "Go heap live", Bytes, nil},
			{"cache", "Badger's block cache", Bytes, nil},
			{"mapped", "mapped files", Bytes, nil},
			{"spill", "spill on disk", Bytes, nil},
			{"pending", "commits in the spill", Count, nil},
			{"open", "Open after SIGKILL", Seconds, atMost(2)},
		},
		stages: func(string) []stage {
			return []stage{
				{name: "write", killed: true, run: func(ctx context.Context, r *runner) error { return r.growSpill(ctx, limit) }},
				{name: "open", run: func(ctx context.Context, r *runner) error { return r.openAfterKill(ctx, limit) }},
			}
		},
		entries: rssEntries,
	}
}

func rssEntries(cfg Config) int64 { return cfg.ofBytes(4 << 30) }

func (r *runner) growSpill(ctx context.Context, opt engine.Options) error {
	db, err := r.open(opt)
	if err != nil {
		return err
	}
	memory := watchMemory(db)
	err = r.write(ctx, db, 0, rssEntries(r.cfg))
	last, peak, memoryErr := memory.stop()
	if err := errors.Join(err, memoryErr); err != nil {
		return err
	}
	r.set("memory", float64(last.beside))
	r.set("peak", float64(peak))
	r.set("cache", float64(last.cache))
	r.set("mapped", float64(last.mapped))
	if l := db.Layer(); l != nil {
		r.set("spill", float64(l.SpillBytes))
		r.set("pending", float64(l.SpillPending))
	}
	var heap runtime.MemStats
	runtime.ReadMemStats(&heap)
	r.set("heap", float64(heap.HeapInuse))
	runtime.GC()
	runtime.ReadMemStats(&heap)
	r.set("live", float64(heap.HeapAlloc))
	return r.layerStats(db)
}

func (r *runner) openAfterKill(ctx context.Context, opt engine.Options) error {
	begin := time.Now()
	db, err := r.open(opt)
	if err != nil {
		return err
	}
	r.setDuration("open", time.Since(begin))
	if err := r.verify(func() (openloop.Verification, error) { return r.sample(ctx, db, rssEntries(r.cfg)) }); err != nil {
		return err
	}
	return r.close(db)
}

// sample reads some of the slots 0 to n-1 and compares their values.
func (r *runner) sample(ctx context.Context, db engine.Engine, n int64) (v openloop.Verification, err error) {
	random := rand.New(rand.NewPCG(r.cfg.Seed, 1))
	var key, got, want []byte
	for range r.cfg.scaled(sampled) {
		if ctx.Err() != nil {
			return v, ctx.Err()
		}
		slot := random.Int64N(n)
		key = r.load.AppendKey(key[:0], slot)
		want = r.load.AppendValue(want[:0], slot)
		v.Checked++
		v.PointReads++
		switch got, err = db.Get(key, got[:0]); {
		case errors.Is(err, openloop.ErrNotFound):
			v.Missing++
		case err != nil:
			v.Unreadable++
			v.Examples = append(v.Examples, fmt.Sprintf("key %s cannot be read: %v", key, err))
		case !bytes.Equal(got, want):
			v.Wrong++
		}
	}
	return v, nil
}
