package history_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/integration_test/kit/childproc"
	"github.com/badgerspill/badgerspill/integration_test/kit/seed"
)

// The same clients in a child process, which prints what it does; the parent kills it at a random
// moment, starts the next on the same directory, and checks the history of all of them as one. What
// was not acknowledged may have happened or not, but not first the one, as somebody read it, and
// then the other.

var isolationKills = flag.Int("isolationkills", 4, "children that the isolation test kills in each state")

// isolationArg is what a child gets: where, in which state, after which transaction, and its seed.
type isolationArg struct {
	Dir           string
	State, LastID int
	Seed          uint64
}

// isolationStates are those of the kill test, and to and fro.
func isolationStates() (names []string, options func(dir string, state int) badgerspill.Options) {
	for _, m := range killModes {
		names = append(names, m.Name)
	}
	names = append(names, "to and fro")
	return names, func(dir string, state int) badgerspill.Options {
		change := toAndFro
		if state < len(killModes) {
			change = killModes[state].Change
		}
		return change(badgerspill.OptionsFrom(churning(dir)))
	}
}

// printedJournal prints a line a call, each with one write: lines are in the order of the calls.
type printedJournal struct{ out io.Writer }

func (p printedJournal) print(kind string, what any) {
	b, err := json.Marshal(what)
	if err == nil {
		_, err = p.out.Write(append(append([]byte(kind), b...), '\n'))
	}
	if err != nil {
		panic(err) // the parent is gone
	}
}

func (p printedJournal) begin(id int)              { p.print("begin ", id) }
func (p printedJournal) commit(r *txnRecord)       { p.print("commit ", r) }
func (p printedJournal) end(id int, o txnOutcome)  { p.print("end ", [2]int{id, int(o)}) }
func (p printedJournal) failed(what string, e any) { p.print("failed ", fmt.Sprint(what, ": ", e)) }

func TestIsolationChild(t *testing.T) {
	arg := childproc.Arg[isolationArg](t)
	j := printedJournal{os.Stdout}
	_, options := isolationStates()
	db, err := badgerspill.Open(options(arg.Dir, arg.State))
	if err != nil {
		j.failed("open", err)
		return
	}
	j.print("open ", 0)
	ids := &atomic.Int64{}
	ids.Store(int64(arg.LastID))
	w := &historyLoad{db: db, nextID: ids, journal: j, rng: rand.New(rand.NewPCG(arg.Seed, 2))}
	if arg.State == len(killModes) || killModes[arg.State].Drain {
		go handOvers(context.Background(), db)
	}
	if w.rng.IntN(2) == 0 {
		go func() { _ = fillMemtable(db) }()
	}
	w.start(0, 5, (*historyClient).step, func() bool { return false })()
	j.failed("client", w.failures)
}

func TestIsolationOverKills(t *testing.T) {
	names, options := isolationStates()
	for state, name := range names {
		t.Run(name, func(t *testing.T) {
			rng := seed.Random(t)
			dir := filepath.Join(t.TempDir(), "db")
			j, lastID := &memoryJournal{}, 0
			for range *isolationKills {
				killedHistory(t, rng, dir, state, j, &lastID)
			}
			db, err := badgerspill.Open(options(dir, state))
			require.NoError(t, err)
			t.Cleanup(func() { _ = db.Close() })
			pending := len(j.open)
			j.killed()
			ids := &atomic.Int64{}
			ids.Store(int64(lastID))
			auditHistory(t, db, j, ids)
			require.NoError(t, db.Drain(context.Background()))
			h := auditHistory(t, db, j, ids)
			happened := 0
			for _, r := range h.records {
				if _, kept := h.receipts[r.ID]; kept && r.Outcome == txnUnknown {
					happened++
				}
			}
			t.Logf("%d transactions, %d commits; %d under way at the last kill, %d of unknown outcome took place",
				len(h.records), len(h.receipts), pending, happened)
			h.require(t)
		})
	}
}

// killedHistory runs a child until it has ended a random number of transactions, and kills it.
func killedHistory(t *testing.T, rng *rand.Rand, dir string, state int, j *memoryJournal, lastID *int) {
	t.Helper()
	child := childproc.Start(t, "TestIsolationChild", isolationArg{dir, state, *lastID, uint64(rng.IntN(1 << 30))})
	child.Bound(time.Minute)
	defer child.Stop()
	ended, enough := 0, 1+rng.IntN(250)
	for line := range child.Lines() {
		kind, what, _ := strings.Cut(line, " ")
		switch kind {
		case "open":
			j.killed()
		case "begin":
			var id int
			require.NoError(t, json.Unmarshal([]byte(what), &id))
			*lastID = max(*lastID, id)
			j.begin(id)
		case "commit":
			r := new(txnRecord)
			require.NoError(t, json.Unmarshal([]byte(what), r))
			j.commit(r)
		case "end":
			var end [2]int
			require.NoError(t, json.Unmarshal([]byte(what), &end))
			j.end(end[0], txnOutcome(end[1]))
			if ended++; ended == enough {
				require.NoError(t, child.Kill())
			}
		default:
			_ = child.Kill()
			t.Errorf("child: %s", line)
		}
	}
	require.Error(t, child.Wait())
	require.True(t, child.Killed(), "the child hangs, or has ended by itself: %s", child.Stderr())
	require.GreaterOrEqual(t, ended, enough, "the child ended by itself")
}
