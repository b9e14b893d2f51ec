package kit

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func parked(stop, begun chan struct{}) {
	begun <- struct{}{}
	<-stop
}

func parkedToo(stop, begun chan struct{}) { parked(stop, begun) }

func TestGoroutinesThatAreLeftAreNamed(t *testing.T) {
	const patience = 20 * time.Millisecond
	stopOld, stop, begun := make(chan struct{}), make(chan struct{}), make(chan struct{})
	defer close(stopOld)
	go parkedToo(stopOld, begun)
	<-begun
	before := CurrentGoroutines()
	require.NoError(t, before.goneWithin(patience), "it was there before")

	go parked(stop, begun)
	<-begun
	err := before.goneWithin(patience)
	require.ErrorContains(t, err, "1 goroutines are left:\ngoroutine ")
	require.ErrorContains(t, err, "integration_test/kit.parked(")
	require.NotContains(t, err.Error(), "parkedToo")

	const name = "github.com/badgerspill/badgerspill/integration_test/kit.parked"
	require.NoError(t, before.goneWithin(patience, name))
	require.Error(t, before.goneWithin(patience, name+"Too"))

	close(stop)
	require.NoError(t, before.Gone(), "it ends, if not at once")
}

func TestMoreStacksThanFitAtFirst(t *testing.T) {
	before := CurrentGoroutines()
	stop, begun := make(chan struct{}), make(chan struct{})
	var all WaitGroup
	for range 500 {
		all.Go(func() { parked(stop, begun) })
		<-begun
	}
	require.Len(t, before.left(nil), 500)
	close(stop)
	all.Wait()
	require.NoError(t, before.Gone())
}
