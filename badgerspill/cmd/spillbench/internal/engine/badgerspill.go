package engine

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/badgerspill/live"
	"github.com/badgerspill/badgerspill/replay"
	"github.com/badgerspill/badgerspill/wbm"
)

type layered struct {
	db      *badgerspill.DB
	replays *replays
}

// replays is told of the runs of replay. It is safe for concurrent use.
type replays struct {
	mu    sync.Mutex
	begun int64
	by    string // what began the last one
}

func (r *replays) begin(run replay.Run) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.begun++
	r.by = run.Reason.String()
}

func (r *replays) told() (begun int64, by string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.begun, r.by
}

func openBadgerspill(dir string, opt Options) (Engine, error) {
	options := badgerspill.DefaultOptions(dir).WithLogger(nil).WithSyncWrites(opt.SyncWrites).FromSuperFlag(opt.Superflag)
	if opt.Checking {
		options = options.WithNumCompactors(0)
	}
	if opt.HoldSpill {
		const never = 1000 * time.Hour
		options = options.WithSpillPolicy(badgerspill.Always).WithDrainOnClose(false).
			WithQuiet(0, never).WithMaxSpillAge(never).WithReplayHighWater(1)
	}
	if opt.MemoryLimit > 0 {
		options = options.WithMemoryLimit(opt.MemoryLimit)
	}
	if opt.SpillCapacity > 0 {
		options = options.WithSpillCapacity(opt.SpillCapacity)
	}
	l := layered{replays: &replays{}}
	db, err := badgerspill.Open(options.WithEventListener(&badgerspill.EventListener{ReplayBegin: l.replays.begin}))
	if err != nil {
		return nil, err
	}
	l.db = db
	return l, nil
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
		it := txn.NewIterator(badgerspill.DefaultIteratorOptions)
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

func (l layered) ScanKeys(visit func(key []byte) bool) error {
	return l.db.View(func(txn *badgerspill.Txn) error {
		opt := badgerspill.DefaultIteratorOptions
		opt.PrefetchValues = false
		it := txn.NewIterator(opt)
		defer it.Close()
		for it.Rewind(); it.Valid() && visit(it.Item().Key()); it.Next() {
		}
		return nil
	})
}

func (l layered) Increment(key []byte) (conflicts int64, err error) {
	return retried(func() error {
		return l.db.Update(func(txn *badgerspill.Txn) error {
			item, err := txn.Get(key)
			return addOne(item, err, func(value []byte) error { return txn.Set(key, value) })
		})
	})
}

func (l layered) GetHeld(key []byte, hold func()) error {
	return l.db.View(func(txn *badgerspill.Txn) error {
		_, err := txn.Get(key)
		hold()
		return notFound(err)
	})
}

func (l layered) Batch() Batch { return l.db.NewWriteBatch() }

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

func (l layered) Layer() *Layer {
	s := l.db.SpillStats()
	layer := &Layer{
		State:  s.State,
		Tier:   s.Tier.String(),
		Replay: s.ReplayState,

		CommitsDirect:  s.CommitsDirect,
		CommitsHedged:  s.CommitsHedged,
		CommitsSpilled: s.CommitsSpilled,
		CommitsBlocked: s.CommitsBlocked,

		BytesSpilled:    s.BytesSpilled,
		BytesReplayed:   s.BytesReplayed,
		EntriesReplayed: s.EntriesReplayed,
		SpillBytes:      s.SpillBytes,
		SpillPending:    s.SpillPending,
		BytesPending:    s.BytesPending,

		Stalls:    s.Stalls,
		HandOvers: s.HandOvers,
	}
	layer.Replays, layer.ReplayBy = l.replays.told()
	for tier, times := range s.TierEntered {
		layer.TiersEntered = append(layer.TiersEntered,
			TierEntered{Tier: wbm.Tier(tier).String(), Times: times})
	}
	return layer
}

// Live returns the page of the database. It is called once.
func (l layered) Live() http.Handler { return live.Handler(l.db) }

func (l layered) LayerStats() any { return l.db.SpillStats() }

func (l layered) Levels() []badger.LevelInfo { return l.db.Levels() }

func (l layered) BlockCacheBytes() int64 { return inCache(l.db.BlockCacheMetrics()) }

func (l layered) Drain(ctx context.Context) error { return l.db.Drain(ctx) }

func (l layered) Close() error { return l.db.Close() }
