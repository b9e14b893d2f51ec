//go:build unix

package cli

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/badgerspill/internal/place"
)

// An interrupt may come when the last part of a replay is under way, for which closing waits: then
// nothing is left.
func TestInterruptedDrainSaysWhatIsLeftOnceItIsClosed(t *testing.T) {
	d := spilled(t, 20, nil)
	db, err := new(place.Flags).Find(d.dir)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var errs bytes.Buffer
	require.ErrorIs(t, whatIsLeft(ctx, db, ctx.Err(), &errs), context.Canceled)
	require.Contains(t, errs.String(), d.dir+": 20 commits, ")
	require.ErrorContains(t, whatIsLeft(t.Context(), db, errors.New("replay failed"), &errs), "replay failed")

	ok(t, "drain", d.dir)
	errs.Reset()
	require.NoError(t, whatIsLeft(ctx, db, ctx.Err(), &errs))
	require.Empty(t, errs.String())
	require.ErrorContains(t, whatIsLeft(t.Context(), db, errors.New("replay failed"), &errs), "replay failed")
}
