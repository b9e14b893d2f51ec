package engine

import (
	"context"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/badgerspill/internal/burst"
	"github.com/badgerspill/badgerspill/wbm"
)

type layered struct{ db *badgerspill.DB }

func openBadgerspill(dir string, opt burst.OpenOptions) (burst.Engine, error) {
	options := badgerspill.DefaultOptions(dir).WithLogger(nil).WithSyncWrites(opt.SyncWrites)
	if opt.Checking {
		options = options.WithNumCompactors(0)
	}
	db, err := badgerspill.Open(options)
	if err != nil {
		return nil, err
	}
	return layered{db}, nil
}

func (l layered) Writer() func(key, value []byte) error {
	var key, value []byte
	put := func(txn *badgerspill.Txn) error { return txn.Set(key, value) }
	return func(k, v []byte) error {
		key, value = k, v
		return l.db.Update(put)
	}
}

func (l layered) Scan(visit func(key, value []byte) bool) error {
	return l.db.View(func(txn *badgerspill.Txn) error {
		opt := badgerspill.DefaultIteratorOptions
		opt.PrefetchValues = false // they lie beside the keys
		it := txn.NewIterator(opt)
		defer it.Close()
		more := true
		for it.Rewind(); more && it.Valid(); it.Next() {
			item := it.Item()
			err := item.Value(func(value []byte) error {
				more = visit(item.Key(), value)
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (l layered) Get(key, dst []byte) ([]byte, error) {
	err := l.db.View(func(txn *badgerspill.Txn) error {
		item, err := txn.Get(key)
		if err != nil {
			return err
		}
		return item.Value(func(v []byte) error {
			dst = append(dst, v...)
			return nil
		})
	})
	return dst, notFound(err)
}

func (l layered) Layer() *burst.Layer {
	s := l.db.SpillStats()
	layer := &burst.Layer{
		State: s.State,
		Tier:  s.Tier.String(),

		CommitsDirect:  s.CommitsDirect,
		CommitsHedged:  s.CommitsHedged,
		CommitsSpilled: s.CommitsSpilled,
		CommitsBlocked: s.CommitsBlocked,

		BytesSpilled:    s.BytesSpilled,
		BytesReplayed:   s.BytesReplayed,
		EntriesReplayed: s.EntriesReplayed,
		SpillBytes:      s.SpillBytes,
		SpillPending:    s.SpillPending,

		Stalls:    s.Stalls,
		HandOvers: s.HandOvers,
	}
	for tier, times := range s.TierEntered {
		layer.TiersEntered = append(layer.TiersEntered,
			burst.TierEntered{Tier: wbm.Tier(tier).String(), Times: times})
	}
	return layer
}

func (l layered) Drain(ctx context.Context) error { return l.db.Drain(ctx) }

func (l layered) Close() error { return l.db.Close() }
