package bench

import (
	"context"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/engine"
)

// iteratePasses of each kind take turns; the median counts.
const iteratePasses = 9

// iterateCase is what a whole iteration costs while there is nothing in the spill.
func iterateCase() *Case {
	return &Case{
		Name:  "iterate",
		Short: "iteration over a settled database of 1,000,000 entries, the spill empty, median of 9 passes",
		figures: []Figure{
			{"values", "entries with values", PerSecond, ratioAtLeast(0.98)},
			{"keys", "entries, keys only", PerSecond, ratioAtLeast(0.98)},
		},
		prepare: baseStage,
		base:    true,
		stages:  func(string) []stage { return []stage{onBase("iterate", (*runner).passes)} },
		entries: Config.preloaded,
	}
}

func (r *runner) passes(ctx context.Context, db engine.Engine) error {
	var values, keys []*float64
	for range iteratePasses {
		rate, err := scanOnce(ctx, r.cfg.preloaded(), func(visit func() bool) error {
			return db.Scan(func(_, _ []byte) bool { return visit() })
		})
		if err != nil {
			return err
		}
		values = append(values, &rate)
		rateOfKeys, err := scanOnce(ctx, r.cfg.preloaded(), func(visit func() bool) error {
			return db.ScanKeys(func([]byte) bool { return visit() })
		})
		if err != nil {
			return err
		}
		keys = append(keys, &rateOfKeys)
	}
	r.set("values", *median(values))
	r.set("keys", *median(keys))
	return nil
}
