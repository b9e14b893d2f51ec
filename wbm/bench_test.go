package wbm

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The way of a commit that goes to Badger, with no writer parked.
func BenchmarkReserveDirect(b *testing.B) {
	m, err := New(Options{Limit: 1 << 40})
	require.NoError(b, err)
	a := m.Register(Holder{})
	s := NewSpilloverManager(SpilloverOptions{Account: a, Capacity: 1 << 30})
	r := Request{Memory: 1100, Spill: 1000, Index: 40}
	ctx := context.Background()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if o, err := s.Reserve(ctx, r, 0); err != nil || o != Direct {
				b.Error(o, err)
			}
			a.Transfer(InFlight, Memtable, r.Memory)
			a.Release(Memtable, r.Memory)
		}
	})
}

// The way of a commit that goes to the spill.
func BenchmarkReserveSpilled(b *testing.B) {
	m, err := New(Options{Limit: 1 << 40})
	require.NoError(b, err)
	s := NewSpilloverManager(SpilloverOptions{Account: m.Register(Holder{}), Capacity: 1 << 40})
	s.Force(1, 1)
	s.SetActive(true)
	r := Request{Memory: 1100, Spill: 1000, Index: 40}
	ctx := context.Background()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if o, err := s.Reserve(ctx, r, 0); err != nil || o != Spilled {
				b.Error(o, err)
			}
			s.AdjustSpill(-100)
			s.RecordAppend(time.Microsecond)
			s.ReleaseSpillover(900, 40, 900)
		}
	})
}
