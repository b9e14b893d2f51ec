package notify

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What waits has a bound, pairs are told whole or not at all, and the order stays.
func TestQueue(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	var got []int
	var left []int64
	q := NewQueue(func(n int64) { left = append(left, n) })
	Deliver(q, func(int) { close(entered); <-release }, 0, Rare)
	<-entered
	add := func(i int) { got = append(got, i) }
	for i := range Bound {
		Deliver(q, add, i, Often)
	}
	require.Equal(t, Bound/2, q.Waiting())
	told := Begin(q, add, -1, true, Often)
	require.False(t, told)
	End(q, add, -2, told)
	rare := Begin(q, add, -3, true, Rare)
	require.True(t, rare)
	for i := range Bound {
		Deliver(q, add, Bound+i, Rare)
	}
	End(q, add, -4, rare)
	require.Equal(t, Bound+1, q.Waiting(), "the second of a pair has a place")
	require.False(t, Begin(q, nil, 0, false, Rare), "nobody listens")
	Deliver[int](q, nil, 0, Rare)
	dropped := q.Dropped()
	require.EqualValues(t, Bound/2+1+Bound/2+1, dropped)

	close(release)
	q.Close()
	require.Len(t, got, Bound+1)
	require.Equal(t, []int{0, 1}, got[:2])
	require.Equal(t, -3, got[Bound/2])
	require.Equal(t, -4, got[Bound])
	require.Equal(t, []int64{dropped}, left)
	Deliver(q, add, 1, Rare)
	q.Close()
	require.Len(t, got, Bound+1, "none after Close")
}
