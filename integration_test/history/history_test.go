package history_test

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"
)

// A history is what concurrent clients saw of a database. Two checkers judge it, and neither knows
// of states, spill or replay:
//
//   - versions: Badger says which version an item has, and every transaction writes a key of its
//     own, its receipt, whose version is therefore its commit timestamp. With the commit order
//     known, each read, each conflict and each acknowledgement is either right or wrong: see check.
//   - registers: each key is a register, and versions are not believed. What each transaction did
//     to it must be explained by some order that agrees with real time: see linearizable.

// txnOutcome is how a transaction ended, as far as its client knows.
type txnOutcome int

const (
	txnCommitted  txnOutcome = iota // acknowledged; or it wrote nothing
	txnConflicted                   // ErrConflict
	txnRefused                      // an error that says that nothing was written
	txnUnknown                      // the process was killed in the commit
)

func (o txnOutcome) String() string {
	return [...]string{"committed", "conflicted", "refused", "unknown"}[o]
}

// observation is one answer about one key.
type observation struct {
	Key     int
	Writer  int    // the transaction that wrote the value; 0 = there was none
	Version uint64 // 0 if there was no value
	// an iterator passed where the key would be: as in Badger, that is not tracked for conflicts
	Phantom bool
}

// txnChange is one write.
type txnChange struct {
	Key    int
	Delete bool
}

// txnRecord is one transaction. Begin, Commit and End are places in real time: before it was made,
// before it was committed, after its outcome was known. A pair of them in two records tells which
// came first.
type txnRecord struct {
	ID, Client         int
	Begin, Commit, End int64
	ReadTs             uint64
	// of a key as others left it; the same answer again is not repeated
	Reads []observation
	// keys of own writes that an iterator gave: as in Badger, Iterator.Item counts the key as read
	Iterated []int
	Changes  []txnChange // one a key
	Outcome  txnOutcome
}

func (r *txnRecord) String() string {
	return fmt.Sprintf("transaction %d of client %d (%v, read at %d, %d to %d)", r.ID, r.Client, r.Outcome, r.ReadTs, r.Begin, r.End)
}

// recording is a history.
type recording struct {
	records []*txnRecord
	// receipts are the versions of the receipts found in the end, by transaction.
	receipts map[int]uint64
}

// maxViolations bounds a report: one fault tends to show everywhere.
const maxViolations = 20

// committedWrite is one committed write of a key.
type committedWrite struct {
	ts      uint64
	writer  int
	deleted bool
}

// check returns what is wrong, nothing if the history is right:
//
//   - acknowledged commits have a receipt and refused ones have none; a timestamp belongs to one
//     commit and is above the read timestamp of its transaction;
//   - a read gives the newest version at or below the read timestamp, however often it is repeated;
//     so it never gives what was not committed, or half of a commit, or what has vanished since;
//   - no committed transaction that wrote has read a key of which another version was committed
//     before its own: no lost update, no write skew. And a conflict was one;
//   - a transaction that began after an acknowledgement sees that commit, and one committed after
//     it comes later.
func (h *recording) check() (violations []string) {
	wrong := func(format string, args ...any) {
		violations = append(violations, fmt.Sprintf(format, args...))
	}
	byID := map[int]*txnRecord{}
	for _, r := range h.records {
		byID[r.ID] = r
	}
	versions := map[int][]committedWrite{}
	owner := map[uint64]int{}
	for _, id := range sortedKeys(h.receipts) {
		ts, r := h.receipts[id], byID[id]
		if r == nil || len(r.Changes) == 0 {
			wrong("transaction %d has a receipt at %d and never wrote", id, ts)
			continue
		}
		if other, taken := owner[ts]; taken {
			wrong("transactions %d and %d have one timestamp, %d", other, id, ts)
		}
		owner[ts] = id
		if ts <= r.ReadTs {
			wrong("%v was committed at %d", r, ts)
		}
		for _, c := range r.Changes {
			versions[c.Key] = append(versions[c.Key], committedWrite{ts, id, c.Delete})
		}
	}
	// keys of commits that a killed process did not bring to an end: who met one had a conflict
	lost := map[int]bool{}
	for _, r := range h.records {
		if _, kept := h.receipts[r.ID]; !kept && r.Outcome == txnUnknown {
			for _, c := range r.Changes {
				lost[c.Key] = true
			}
		}
	}
	for _, vs := range versions {
		slices.SortFunc(vs, func(a, b committedWrite) int { return cmp.Compare(a.ts, b.ts) })
	}
	// newest is the newest version of key at or below ts.
	newest := func(key int, ts uint64) committedWrite {
		vs := versions[key]
		n, found := slices.BinarySearchFunc(vs, ts, func(v committedWrite, ts uint64) int { return cmp.Compare(v.ts, ts) })
		switch {
		case found:
			return vs[n]
		case n > 0:
			return vs[n-1]
		}
		return committedWrite{}
	}
	for _, r := range h.records {
		ts, kept := h.receipts[r.ID]
		if len(r.Changes) > 0 {
			switch {
			case r.Outcome == txnCommitted && !kept:
				wrong("%v was acknowledged and is gone", r)
			case kept && (r.Outcome == txnConflicted || r.Outcome == txnRefused):
				wrong("%v is there, at %d", r, ts)
			}
		}
		conflict := false
		// counted looks for a version that was committed between the snapshot and the commit of r,
		// of a key that r had read.
		counted := func(key int) {
			until := ts
			if r.Outcome == txnConflicted {
				until = math.MaxUint64
			}
			between := newest(key, until-min(until, 1))
			if between.ts <= r.ReadTs {
				return
			}
			conflict = true
			if kept {
				wrong("%v was committed at %d although key %d, which it had read, was written by transaction %d at %d",
					r, ts, key, between.writer, between.ts)
			}
		}
		for _, read := range r.Reads {
			want := newest(read.Key, r.ReadTs)
			writer := want.writer
			if want.deleted {
				writer = 0
			}
			if read.Writer != writer || read.Version != want.ts && writer != 0 {
				wrong("%v read key %d of transaction %d at version %d, where that of transaction %d at %d was the newest%s",
					r, read.Key, read.Writer, read.Version, want.writer, want.ts, fate(byID[read.Writer], h.receipts))
			}
			if read.Phantom {
				continue
			}
			counted(read.Key)
		}
		for _, key := range r.Iterated {
			counted(key)
		}
		isLost := func(key int) bool { return lost[key] }
		if r.Outcome == txnConflicted && !conflict && !slices.ContainsFunc(r.Iterated, isLost) &&
			!slices.ContainsFunc(r.Reads, func(o observation) bool { return isLost(o.Key) }) {
			wrong("%v had no conflict", r)
		}
	}
	violations = append(violations, h.checkRealTime()...)
	if n := len(violations); n > maxViolations {
		violations = append(violations[:maxViolations], fmt.Sprintf("and %d more", n-maxViolations))
	}
	return violations
}

// fate explains a read that is wrong.
func fate(writer *txnRecord, receipts map[int]uint64) string {
	if writer == nil {
		return ""
	}
	if _, kept := receipts[writer.ID]; !kept {
		return fmt.Sprintf("; it was %v, and has vanished", writer.Outcome)
	}
	return ""
}

// checkRealTime compares the order of acknowledgements with the order of timestamps.
func (h *recording) checkRealTime() (violations []string) {
	ended := slices.Clone(h.records)
	ended = slices.DeleteFunc(ended, func(r *txnRecord) bool {
		_, kept := h.receipts[r.ID]
		return !kept || len(r.Changes) == 0
	})
	slices.SortFunc(ended, func(a, b *txnRecord) int { return cmp.Compare(a.End, b.End) })
	type acked struct {
		end int64
		r   *txnRecord
		ts  uint64
	}
	var highest []acked // with rising timestamps
	for _, r := range ended {
		if ts := h.receipts[r.ID]; len(highest) == 0 || ts > highest[len(highest)-1].ts {
			highest = append(highest, acked{r.End, r, ts})
		}
	}
	before := func(at int64) (acked, bool) {
		n, _ := slices.BinarySearchFunc(highest, at, func(a acked, at int64) int { return cmp.Compare(a.end, at) })
		if n == 0 {
			return acked{}, false
		}
		return highest[n-1], true
	}
	for _, r := range h.records {
		if a, ok := before(r.Begin); ok && a.ts > r.ReadTs {
			violations = append(violations, fmt.Sprintf("%v began after the acknowledgement of %v at %d", r, a.r, a.ts))
		}
		if ts, kept := h.receipts[r.ID]; kept && len(r.Changes) > 0 {
			if a, ok := before(r.Commit); ok && a.ts > ts {
				violations = append(violations, fmt.Sprintf("%v got %d after the acknowledgement of %v at %d", r, ts, a.r, a.ts))
			}
		}
	}
	return violations
}

// registerOp is what one transaction did to one key: it read it, wrote it, or both at once. By
// strict serializability each of these is a step of that key's register, at some moment between
// begin and end: the commit if the transaction wrote something, its creation otherwise.
type registerOp struct {
	key    int
	reads  bool
	saw    int // writer of the value, 0 = none
	writes bool
	leaves int  // writer of the value that is there afterwards, 0 = none
	maybe  bool // the write may not have happened
	torn   bool // two reads of one transaction differ: no register does that
}

var registers = (&porcupine.NondeterministicModel{
	Partition: func(ops []porcupine.Operation) (keys [][]porcupine.Operation) {
		byKey := map[int][]porcupine.Operation{}
		for _, op := range ops {
			k := op.Input.(registerOp).key
			byKey[k] = append(byKey[k], op)
		}
		for _, k := range sortedKeys(byKey) {
			keys = append(keys, byKey[k])
		}
		return keys
	},
	Init: func() []any { return []any{0} },
	Step: func(state, input, _ any) []any {
		op := input.(registerOp)
		switch {
		case op.torn || op.reads && op.saw != state.(int):
			return nil
		case !op.writes:
			return []any{state}
		case op.maybe:
			return []any{state, op.leaves}
		}
		return []any{op.leaves}
	},
	DescribeOperation: func(input, _ any) string { return fmt.Sprintf("%+v", input) },
}).ToModel()

// registerOps is the history as steps of registers. Versions and receipts have no say in it.
func (h *recording) registerOps() (ops []porcupine.Operation) {
	for _, r := range h.records {
		steps := map[int]registerOp{}
		for _, read := range r.Reads {
			// true when the transaction was made, not necessarily when it was committed
			if read.Phantom {
				ops = append(ops, porcupine.Operation{ClientId: r.Client, Call: r.Begin, Return: r.End,
					Input: registerOp{key: read.Key, reads: true, saw: read.Writer}})
				continue
			}
			step, again := steps[read.Key]
			if again && step.saw != read.Writer {
				step.torn = true
			}
			step.key, step.reads, step.saw = read.Key, true, read.Writer
			steps[read.Key] = step
		}
		if r.Outcome == txnCommitted || r.Outcome == txnUnknown {
			for _, c := range r.Changes {
				step := steps[c.Key]
				step.key, step.writes, step.maybe = c.Key, true, r.Outcome == txnUnknown
				if !c.Delete {
					step.leaves = r.ID
				}
				steps[c.Key] = step
			}
		}
		for _, k := range sortedKeys(steps) {
			ops = append(ops, porcupine.Operation{ClientId: r.Client, Input: steps[k], Call: r.Begin, Return: r.End})
		}
	}
	return ops
}

// linearizable returns an error unless each key behaves as one register. A transaction of unknown
// outcome has written or not by its End, which is when the database was open again.
func (h *recording) linearizable() error {
	const patience = time.Minute // 1,000 steps a key take a second
	result, info := porcupine.CheckOperationsVerbose(registers, h.registerOps(), patience)
	switch result {
	case porcupine.Ok:
		return nil
	case porcupine.Unknown:
		return fmt.Errorf("no answer within %v whether a key is a register", patience)
	}
	// What could be explained, and where each key stops: as text, since a picture of thousands of
	// steps helps nobody.
	var text strings.Builder
	for key, longest := range info.PartialLinearizationsOperations() {
		for _, steps := range longest {
			fmt.Fprintf(&text, "\npartition %d: %d steps explained, the last of them %+v", key, len(steps), tail(steps, 3))
		}
	}
	return errors.New("a key is no register:" + text.String())
}

func tail(ops []porcupine.Operation, n int) (inputs []any) {
	for _, op := range ops[max(0, len(ops)-n):] {
		inputs = append(inputs, op.Input)
	}
	return inputs
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// require fails the test if either checker finds something.
func (h *recording) require(t *testing.T) {
	t.Helper()
	violations := h.check()
	require.Empty(t, violations, "%s", strings.Join(violations, "\n"))
	require.NoError(t, h.linearizable())
}

// TestCheckersFindWhatIsWrong shows that each of them can fail: one small history a row.
func TestCheckersFindWhatIsWrong(t *testing.T) {
	// put is a transaction that reads what it is told and writes the keys; get one that writes
	// nothing. They run one after the other in the order of the rows unless times are set.
	at := func(begin, commit, end int64, r *txnRecord) *txnRecord {
		r.Begin, r.Commit, r.End = begin, commit, end
		return r
	}
	put := func(id int, readTs uint64, reads []observation, keys ...int) *txnRecord {
		r := &txnRecord{ID: id, Client: id, ReadTs: readTs, Reads: reads}
		for _, k := range keys {
			r.Changes = append(r.Changes, txnChange{Key: k})
		}
		return at(int64(10*id), int64(10*id+1), int64(10*id+2), r)
	}
	get := func(id int, readTs uint64, reads ...observation) *txnRecord { return put(id, readTs, reads) }
	del := func(r *txnRecord) *txnRecord { r.Changes[0].Delete = true; return r }
	iterated := func(r *txnRecord) *txnRecord { r.Iterated = []int{r.Changes[0].Key}; return r }
	ended := func(o txnOutcome, r *txnRecord) *txnRecord { r.Outcome = o; return r }
	saw := func(key, writer int, version uint64) observation {
		return observation{Key: key, Writer: writer, Version: version}
	}
	none := func(key int) observation { return observation{Key: key} }
	phantom := func(key int) observation { return observation{Key: key, Phantom: true} }

	for _, row := range []struct {
		name      string
		records   []*txnRecord
		receipts  map[int]uint64
		versions  string // what check says; empty = nothing is wrong
		registers bool   // whether the registers can be explained
	}{
		{"nothing is wrong", []*txnRecord{
			put(1, 0, nil, 1, 2), get(2, 1, saw(1, 1, 1), saw(2, 1, 1), none(3)),
			put(3, 1, []observation{saw(1, 1, 1)}, 1), del(put(4, 2, nil, 2)),
			get(5, 3, saw(1, 3, 2), none(2)), ended(txnRefused, put(6, 3, nil, 1)),
		}, map[int]uint64{1: 1, 3: 2, 4: 3}, "", true},
		{"acknowledged and gone", []*txnRecord{put(1, 0, nil, 1), get(2, 1, none(1))}, nil, "was acknowledged and is gone", false},
		{"refused and there", []*txnRecord{ended(txnRefused, put(1, 0, nil, 1)), get(2, 1, saw(1, 1, 1))},
			map[int]uint64{1: 1}, "is there, at 1", false},
		{"unknown, and it happened", []*txnRecord{ended(txnUnknown, put(1, 0, nil, 1)), get(2, 1, saw(1, 1, 1))}, map[int]uint64{1: 1}, "", true},
		{"unknown, and it did not", []*txnRecord{ended(txnUnknown, put(1, 0, nil, 1)), get(2, 0, none(1))}, nil, "", true},
		{"unknown, read, and gone afterwards", []*txnRecord{
			at(1, 2, 9, ended(txnUnknown, put(1, 0, nil, 1))), at(3, 4, 5, get(2, 1, saw(1, 1, 1))), at(10, 11, 12, get(3, 1, none(1))),
		}, nil, "it was unknown, and has vanished", false},
		{"unknown, and it comes late", []*txnRecord{
			at(1, 2, 3, ended(txnUnknown, put(1, 0, nil, 1))), at(4, 5, 6, get(2, 0, none(1))), at(7, 8, 9, get(3, 1, saw(1, 1, 1))),
		}, map[int]uint64{1: 1}, "began after the acknowledgement", false},
		{"half of a commit", []*txnRecord{put(1, 0, nil, 1, 2), get(2, 1, saw(1, 1, 1), none(2))},
			map[int]uint64{1: 1}, "read key 2 of transaction 0", false},
		{"a stale read", []*txnRecord{put(1, 0, nil, 1), put(2, 1, nil, 1), get(3, 2, saw(1, 1, 1))},
			map[int]uint64{1: 1, 2: 2}, "where that of transaction 2 at 2 was the newest", false},
		{"a read of the future", []*txnRecord{put(1, 0, nil, 1), at(25, 26, 27, put(2, 1, nil, 1)), at(20, 21, 30, get(3, 1, saw(1, 2, 2)))},
			map[int]uint64{1: 1, 2: 2}, "where that of transaction 1 at 1 was the newest", true},
		{"a deleted key is back", []*txnRecord{put(1, 0, nil, 1), del(put(2, 1, nil, 1)), get(3, 2, saw(1, 1, 1))},
			map[int]uint64{1: 1, 2: 2}, "where that of transaction 2 at 2 was the newest", false},
		{"a read that is not repeatable", []*txnRecord{
			put(1, 0, nil, 1), at(25, 26, 27, put(2, 1, nil, 1)), at(20, 21, 30, get(3, 1, saw(1, 1, 1), saw(1, 2, 2))),
		}, map[int]uint64{1: 1, 2: 2}, "read key 1 of transaction 2", false},
		{"the right value at a wrong version", []*txnRecord{put(1, 0, nil, 1), get(2, 1, saw(1, 1, 7))}, map[int]uint64{1: 1}, "at version 7", true},
		{"a lost update", []*txnRecord{
			put(1, 0, nil, 1), at(20, 25, 40, put(2, 1, []observation{saw(1, 1, 1)}, 1)), at(20, 26, 41, put(3, 1, []observation{saw(1, 1, 1)}, 1)),
		}, map[int]uint64{1: 1, 2: 2, 3: 3}, "although key 1, which it had read, was written by transaction 2 at 2", false},
		// By each key alone this is fine: one of the two came first.
		{"write skew", []*txnRecord{
			put(1, 0, nil, 1, 2),
			at(20, 25, 40, put(2, 1, []observation{saw(1, 1, 1), saw(2, 1, 1)}, 1)),
			at(20, 26, 41, put(3, 1, []observation{saw(1, 1, 1), saw(2, 1, 1)}, 2)),
		}, map[int]uint64{1: 1, 2: 2, 3: 3}, "although key 1, which it had read, was written by transaction 2 at 2", true},
		{"a phantom", []*txnRecord{
			at(20, 25, 40, put(1, 0, []observation{phantom(1)}, 1)), at(20, 26, 41, put(2, 0, []observation{phantom(1)}, 1)),
		}, map[int]uint64{1: 1, 2: 2}, "", true},
		{"a stale phantom", []*txnRecord{put(1, 0, nil, 1), put(2, 1, []observation{phantom(1)}, 1)},
			map[int]uint64{1: 1, 2: 2}, "where that of transaction 1 at 1 was the newest", false},
		{"a missing key was written meanwhile", []*txnRecord{
			at(20, 25, 40, put(1, 0, []observation{none(1)}, 1)), at(20, 26, 41, put(2, 0, []observation{none(1)}, 1)),
		}, map[int]uint64{1: 1, 2: 2}, "although key 1", false},
		{"a conflict with nobody", []*txnRecord{put(1, 0, nil, 1), ended(txnConflicted, put(2, 1, []observation{saw(1, 1, 1)}, 1))},
			map[int]uint64{1: 1}, "had no conflict", true},
		{"a conflict over an own write that was iterated", []*txnRecord{
			at(20, 25, 26, put(1, 0, nil, 1)), at(20, 30, 31, ended(txnConflicted, iterated(put(2, 0, []observation{phantom(1)}, 1)))),
		}, map[int]uint64{1: 1}, "", true},
		{"an own write that was iterated, and written by another one meanwhile", []*txnRecord{
			at(20, 25, 26, put(1, 0, nil, 1)), at(20, 30, 31, iterated(put(2, 0, []observation{phantom(1)}, 1))),
		}, map[int]uint64{1: 1, 2: 2}, "although key 1", true},
		{"a conflict with somebody", []*txnRecord{
			put(1, 0, nil, 1), at(20, 25, 26, put(2, 1, nil, 1)), at(20, 30, 31, ended(txnConflicted, put(3, 1, []observation{saw(1, 1, 1)}, 1))),
		}, map[int]uint64{1: 1, 2: 2}, "", true},
		{"a conflict with one that was lost", []*txnRecord{
			put(1, 0, nil, 1), at(20, 25, 90, ended(txnUnknown, put(2, 1, nil, 1))),
			at(20, 30, 31, ended(txnConflicted, put(3, 1, []observation{saw(1, 1, 1)}, 1))),
		}, map[int]uint64{1: 1}, "", true},
		{"acknowledged before the snapshot, and not in it", []*txnRecord{put(1, 0, nil, 1), get(2, 0, none(1))},
			map[int]uint64{1: 1}, "began after the acknowledgement of transaction 1", false},
		{"acknowledged in another order", []*txnRecord{put(1, 0, nil, 1), put(2, 0, nil, 2)},
			map[int]uint64{1: 2, 2: 1}, "got 1 after the acknowledgement of transaction 1", true},
		{"one timestamp for two", []*txnRecord{put(1, 0, nil, 1), at(10, 11, 12, put(2, 0, nil, 2))},
			map[int]uint64{1: 1, 2: 1}, "have one timestamp", true},
		{"committed in its own past", []*txnRecord{put(1, 5, nil, 1)}, map[int]uint64{1: 5}, "was committed at 5", true},
		{"a receipt of nobody", nil, map[int]uint64{4: 5}, "never wrote", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			h := recording{records: row.records, receipts: row.receipts}
			got := strings.Join(h.check(), "\n")
			if row.versions == "" {
				require.Empty(t, got)
			} else {
				require.Contains(t, got, row.versions)
			}
			if err := h.linearizable(); row.registers {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, "no register")
			}
		})
	}
}
