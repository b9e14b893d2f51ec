package bench

import (
	"context"
	"encoding/json"
	"expvar"
	"fmt"
	"strconv"
	"strings"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/closedloop"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/engine"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/hops"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/openloop"
)

// ledgerCase says which step of a write's way costs what. Each engine fills its own database first,
// so that any two can be compared.
func ledgerCase() *Case {
	figures := []Figure{
		{"cpu", "CPU", Seconds, nil},
		{"written", "bytes written", Bytes, nil},
	}
	for _, hop := range hops.Hops() {
		figures = append(figures, Figure{"cpu_" + string(hop), "CPU, " + string(hop), Seconds, nil})
	}
	figures = append(figures,
		Figure{"bytes_spill", "bytes, spill", Bytes, nil},
		Figure{"bytes_intake", "bytes, to level 0", Bytes, nil},
		Figure{"bytes_level0", "bytes, merged within it", Bytes, nil},
	)
	for level := 1; level <= 6; level++ {
		figures = append(figures, Figure{fmt.Sprintf("bytes_level%d", level), fmt.Sprintf("bytes, to level %d", level), Bytes, nil})
	}
	figures = append(figures, Figure{"settled", "time until settled", Seconds, nil}, Figure{"disk", "on disk when settled", Bytes, nil})
	return &Case{
		Name:    "ledger",
		Short:   "CPU and bytes by step for the load of case settle; bytes by level are Badger's own count",
		figures: figures,
		stages:  func(string) []stage { return []stage{{name: "burst", run: ledger}} },
		entries: func(cfg Config) int64 { return cfg.preloaded() + cfg.written() },
	}
}

func ledger(ctx context.Context, r *runner) error {
	db, err := r.filled(ctx)
	if err != nil {
		return err
	}
	p := closedloop.Pattern{Seed: r.cfg.Seed, Keys: 2 * r.cfg.preloaded()}
	loop := closedloop.NewRun(closedloop.Config{
		Workload: r.load, Key: p.Slot, Value: func(i int64) int64 { return p.Keys + i }, Writes: r.cfg.written(), Writers: writers, Record: true,
	})
	levels, spilled := badgerWrote(), spilledBytes(db)
	stop, err := hops.Record()
	if err != nil {
		return err
	}
	err = r.costUntilSettled(ctx, db, func() error {
		_, err := r.drive(ctx, db, "burst", loop, db.Writer)
		return err
	})
	spent, perr := stop()
	if err != nil {
		return err
	}
	if perr != nil {
		return perr
	}
	for _, hop := range hops.Hops() {
		r.setDuration("cpu_"+string(hop), spent[hop])
	}
	for figure, bytes := range badgerWrote() {
		r.set(figure, float64(bytes-levels[figure]))
	}
	r.set("bytes_spill", float64(spilledBytes(db)-spilled))
	return r.reopened(db, func(db engine.Engine) error {
		return r.verify(func() (openloop.Verification, error) {
			return loop.Verify(ctx, db, r.cfg.preloaded(), p.Keys)
		})
	})
}

func spilledBytes(db engine.Engine) int64 {
	if l := db.Layer(); l != nil {
		return l.BytesSpilled
	}
	return 0
}

// badgerWrote returns what Badger counts of this process: user bytes into memtables, and bytes of
// compactions by the level that they went to.
func badgerWrote() map[string]int64 {
	wrote := map[string]int64{}
	if v, ok := expvar.Get("badger_write_bytes_l0").(*expvar.Int); ok {
		wrote["bytes_intake"] = v.Value()
	}
	if m, ok := expvar.Get("badger_write_bytes_compaction").(*expvar.Map); ok {
		m.Do(func(kv expvar.KeyValue) {
			var n int64
			level, err := strconv.Atoi(strings.TrimPrefix(kv.Key, "l"))
			if err == nil && json.Unmarshal([]byte(kv.Value.String()), &n) == nil {
				wrote[fmt.Sprintf("bytes_level%d", level)] = n
			}
		})
	}
	return wrote
}
