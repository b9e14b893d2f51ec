package integration_test

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/integration_test/kit/childproc"
)

// The crash test: a child process fills the database and drops a part of it, or all, and is killed
// at a random moment.

var dropRounds = flag.Int("droprounds", 10, "rounds of the kill test of drops")

const dropKeys = 150

var dropGroups = []string{"drop/", "gone/", "keep/"}

type dropArg struct {
	Dir         string
	Mode        int
	What, Round string
}

func TestDropChild(t *testing.T) {
	arg := childproc.Arg[dropArg](t)
	db := openLayer(t, moveModes[arg.Mode].change(layer(arg.Dir)), false)
	for i := range dropKeys {
		require.NoError(t, db.DB.Update(func(txn *badgerspill.Txn) error {
			for _, g := range dropGroups {
				if err := txn.Set(fmt.Appendf(nil, "%s%d", g, i), []byte(dropValue(arg.Round, i))); err != nil {
					return err
				}
			}
			return nil
		}))
		if i == dropKeys/2 {
			require.NoError(t, db.Drain(context.Background())) // one half is in Badger
		}
	}
	fmt.Println("dropping")
	var err error
	if arg.What == "all" {
		err = db.DropAll()
	} else {
		err = db.DropPrefix([]byte("drop/"), []byte("gone/"))
	}
	if err != nil {
		fmt.Println("error", err)
	} else {
		fmt.Println("dropped")
	}
	childproc.UntilTheInputEnds() // to be killed
}

// dropValue lies in the value log for one key in three.
func dropValue(round string, i int) string {
	return strings.Repeat(fmt.Sprintf("%s/%d ", round, i), 1+60*(1-min(i%3, 1)))
}

func TestKillDuringADrop(t *testing.T) {
	rng := random(t)
	base := t.TempDir()
	outcomes := map[string]int{}
	for round := range *dropRounds {
		mode := round % len(moveModes)
		what := []string{"prefixes", "all"}[round/len(moveModes)%2]
		dir := filepath.Join(base, strconv.Itoa(mode))
		name := strconv.Itoa(round)

		child := childproc.Start(t, "TestDropChild", dropArg{dir, mode, what, name})
		_, dropping := child.WaitFor("dropping")
		dropped := false
		u := rng.Float64()
		// rather early
		kill := time.AfterFunc(time.Duration(u*u*u*float64(30*time.Millisecond)), func() { _ = child.Kill() })
		for line := range child.Lines() {
			dropped = dropped || line == "dropped"
			if strings.HasPrefix(line, "error") {
				t.Error("child: ", line)
			}
		}
		_ = child.Wait()
		kill.Stop()
		require.True(t, dropping)

		o := moveModes[mode].change(layer(dir))
		db := openLayer(t, o, false)
		got := live(t, db, false)
		want := map[string]string{}
		for i := range dropKeys {
			for _, g := range dropGroups {
				want[fmt.Sprintf("%s%d", g, i)] = dropValue(name, i)
			}
		}
		_, there := got["drop/0"]
		require.False(t, dropped && there, "round %d, %s, %s: dropped, and there again", round, moveModes[mode].name, what)
		if !there {
			maps.DeleteFunc(want, func(k, _ string) bool { return what == "all" || !strings.HasPrefix(k, "keep/") })
		}
		require.Equal(t, want, got, "round %d, %s, %s", round, moveModes[mode].name, what)
		require.NoFileExists(t, filepath.Join(dir, "BADGERSPILL-DROP"))
		outcomes[fmt.Sprintf("there %v, acknowledged %v", there, dropped)]++
		settled(t, db, o, got)
	}
	t.Log(outcomes)
}

// Badger truncates a log before it removes it, and creates one before it gives it its size. A kill
// in between, in a drop or at any other time, leaves an empty file, which Badger refuses to open.
// It holds nothing, so it must not keep the database from being opened.
func TestEmptyLogsThatAKillHasLeft(t *testing.T) {
	for _, m := range moveModes {
		for _, name := range []string{"00009.mem", "000009.vlog"} {
			t.Run(m.name+", "+name, func(t *testing.T) {
				o := m.change(layer(t.TempDir())).WithDrainOnClose(false)
				db := openLayer(t, o, false)
				set(t, db.DB, "a", strings.Repeat("1", 300))
				require.NoError(t, db.Close())
				require.NoError(t, os.WriteFile(filepath.Join(o.Dir, name), nil, 0o600))
				requireAll(t, openSpill(t, o), map[string]string{"a": strings.Repeat("1", 300)})
			})
		}
	}
}
