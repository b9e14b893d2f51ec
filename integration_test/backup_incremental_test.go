package integration_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/integration_test/kit"
)

// duringBackup is how many commits other writers begin at each backup.
const duringBackup = 100

// Ten rounds of writes, each followed by an incremental backup: together they are the database.
func TestIncrementalBackups(t *testing.T) {
	for _, concurrent := range []bool{false, true} {
		for _, m := range moveModes {
			t.Run(fmt.Sprintf("%s, writers during the backups %v", m.name, concurrent), func(t *testing.T) {
				rng := random(t)
				db := openLayer(t, m.change(layer(t.TempDir())), false)
				var (
					writers kit.WaitGroup
					tokens  = make(chan struct{}, 10*duringBackup) // one a commit
					errs    = make(chan error, 2)
				)
				if concurrent {
					for w := range 2 {
						writers.Go(func() {
							for i := 0; ; i++ {
								if _, ok := <-tokens; !ok {
									return
								}
								// A key is written once or often, and never deleted: all its
								// versions are to be found.
								err := db.DB.Update(func(txn *badgerspill.Txn) error {
									k := fmt.Appendf(nil, "kept/%d/%d", w, i%50)
									return txn.Set(k, fmt.Append(nil, i))
								})
								if err != nil {
									errs <- err
									return
								}
							}
						})
					}
				}
				var files [][]byte
				var since uint64
				take := func() {
					b, version := backup(t, db, since)
					for _, kv := range parseBackup(t, b) {
						require.Greater(t, kv.Version, since)
						require.LessOrEqual(t, kv.Version, version)
					}
					files = append(files, b)
					since = max(since, version)
				}
				for range 10 {
					for range 20 {
						require.NoError(t, db.DB.Update(func(txn *badgerspill.Txn) error {
							for range 1 + rng.IntN(3) {
								k, v := key(rng.IntN(60)), fmt.Append(nil, rng.Uint64())
								if rng.IntN(4) == 0 {
									if err := txn.Delete(k); err != nil {
										return err
									}
								} else if err := txn.Set(k, v); err != nil {
									return err
								}
							}
							return txn.Set(fmt.Appendf(nil, "kept/%d", rng.IntN(10)), fmt.Append(nil, rng.Uint64()))
						}))
					}
					if rng.IntN(3) == 0 {
						require.NoError(t, db.Drain(context.Background()))
					}
					for range duringBackup {
						tokens <- struct{}{}
					}
					take()
				}
				close(tokens)
				writers.Wait()
				require.Empty(t, errs)
				take()
				before := since
				take()
				require.Equal(t, before, since, "nothing is new")
				require.Empty(t, files[len(files)-1])

				seen := map[string]int{}
				for _, b := range files {
					for _, kv := range parseBackup(t, b) {
						seen[fmt.Sprintf("%s@%d", kv.Key, kv.Version)]++
					}
				}
				for k, n := range seen {
					require.Equal(t, 1, n, "%s is repeated", k)
				}
				for _, v := range versionsOf(db, false) {
					if strings.HasPrefix(v, "kept/") {
						require.Equal(t, 1, seen[v], "%s is missing", v)
					}
				}
				want := live(t, db, false)
				p := openPlain(t, small(t.TempDir()), false)
				other := openLayer(t, m.change(layer(t.TempDir())), false)
				for _, b := range files {
					require.NoError(t, p.Load(bytes.NewReader(b), 16))
					require.NoError(t, other.Load(bytes.NewReader(b), 16))
				}
				require.Equal(t, want, live(t, p, false))
				require.Equal(t, want, live(t, other, false))
			})
		}
	}
}
