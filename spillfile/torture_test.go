package spillfile

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/integration_test/kit/seed"
	"github.com/badgerspill/badgerspill/spillfile/vfs/vfstest"
)

var tortureFlag = flag.Duration("torture", 2*time.Second, "how long TestTorture runs")

// TestTorture leads disks through several lives. Each ends with a kill or a power cut at a random
// operation, in Open too, and one random operation before it fails. It begins with -seed and
// counts up; a failure tells the seed. When the log's background goroutine comes to run is not in
// the seed's hands, so a repetition may take more than one try.
func TestTorture(t *testing.T) {
	next := seed.Of(t)
	for end := time.Now().Add(*tortureFlag); time.Now().Before(end); next++ {
		newTorture(t, next).run()
	}
}

// torture is one disk and what those who used it were told.
type torture struct {
	t    *testing.T
	r    *rand.Rand
	name string
	sync bool
	key  []byte
	// killsOnly: power is never cut. sure: what was acknowledged stays, and so does what an Open
	// has shown.
	killsOnly, sure bool
	disk            *vfstest.Disk
	life            int
	ts              uint64
	told            *history
	// by Opens whose disk lives on: what is not there at one must never be back
	shown, gone map[string]bool
}

func newTorture(t *testing.T, seed uint64) *torture {
	r := rand.New(rand.NewPCG(seed, 7))
	mode := faultModes[r.IntN(len(faultModes))]
	o := &torture{t: t, r: r, sync: mode.sync, key: mode.key, killsOnly: r.IntN(2) == 0, disk: vfstest.NewDisk(),
		told: newHistory(), shown: map[string]bool{}, gone: map[string]bool{}}
	o.sure = o.sync || o.killsOnly
	o.name = fmt.Sprintf("-seed=%d: %s, only kills %v", seed, mode.name, o.killsOnly)
	return o
}

func (o *torture) where() string { return fmt.Sprintf("%s, life %d", o.name, o.life) }

func (o *torture) open(m *vfstest.Disk) (*Log, error) { return Open(faultOptions(m, o.sync, o.key)) }

func (o *torture) run() {
	for ; o.life < 6; o.life++ {
		o.live()
		if o.r.IntN(2) == 0 {
			o.look()
		}
	}
}

// live is one life of a process, to its end.
func (o *torture) live() {
	m, r := o.disk, o.r
	end, fails := m.Ops()+1+r.IntN(60), -1
	if r.IntN(2) == 0 {
		fails = m.Ops() + 1 + r.IntN(60)
	}
	m.ShortWrite = r.IntN(300)
	m.SetFault(func(_, _ string) error {
		if m.Ops() >= end || m.Ops() == fails {
			return errInjected
		}
		return nil
	})
	l, err := o.open(m)
	if err != nil && m.Ops() < end {
		require.ErrorIs(o.t, err, errInjected, o.where())
		l, err = o.open(m)
	}
	if err != nil {
		require.ErrorIs(o.t, err, errInjected, o.where())
	} else {
		for m.Ops() < end && r.IntN(25) > 0 {
			o.step(l)
		}
		if r.IntN(3) == 0 {
			_ = l.Close()
		}
	}
	if o.killsOnly || r.IntN(2) == 0 {
		o.disk = m.Killed()
	} else {
		o.disk = m.PowerCut(r)
	}
	o.disk.CountFrom(0)
	if err == nil {
		m.SetFault(nil)
		_ = l.Close()
	}
}

// step is one commit and perhaps something else.
func (o *torture) step(l *Log) {
	r, h := o.r, o.told
	o.ts += 100
	h.commit(l, o.ts, 1+r.IntN(3), 1+r.IntN(100))
	switch r.IntN(9) {
	case 5:
		_ = h.merge(l, r.IntN(2) == 0)
	case 0:
		_ = l.Seal()
	case 1:
		_ = l.Sync()
	case 2, 3:
		h.mark(l, h.marked+uint64(r.IntN(5)))
	case 4:
		if r.IntN(3) == 0 {
			seq := l.State().LastSeq
			h.tried = max(h.tried, seq)
			if l.DiscardAll() == nil {
				h.marked = max(h.marked, seq)
			}
		}
	}
}

// look opens the disk, or a copy of it that is thrown away, since what an Open repairs the next
// life would not see.
func (o *torture) look() {
	m := o.disk.Killed()
	l, err := o.open(m)
	require.NoError(o.t, err, o.where())
	keep := o.r.IntN(2) == 0
	o.check(l)
	if keep {
		o.remember(dump(o.t, l))
		o.disk = m.Killed()
	}
	require.NoError(o.t, l.Close(), o.where())
	if keep && o.r.IntN(2) == 0 {
		o.disk = m
	}
}

// check compares what is there with what was told.
func (o *torture) check(l *Log) {
	h, got := o.told, dump(o.t, l)
	for name := range got {
		require.True(o.t, h.value[name] == got[name], "%s: %s has another value", o.where(), name)
		require.Greater(o.t, h.seq[name], h.marked, "%s: %s came back after replay", o.where(), name)
		require.False(o.t, o.gone[name], "%s: %s was gone and came back", o.where(), name)
	}
	if o.sure {
		for name, f := range h.fate {
			if f == acked && h.seq[name] > h.tried {
				require.Contains(o.t, got, name, "%s: acknowledged and gone", o.where())
			}
		}
		for name := range o.shown {
			if h.seq[name] > h.tried {
				require.Contains(o.t, got, name, "%s: was there and is gone", o.where())
			}
		}
	}
	last := uint64(0)
	for _, e := range readAll(o.t, l, 1<<20) {
		seq := h.seq[fmt.Sprintf("%s@%d", e.Key, e.Version)]
		require.GreaterOrEqual(o.t, seq, last, "%s: out of order", o.where())
		last = seq
	}
}

// remember holds the disk to what an Open has shown.
func (o *torture) remember(got map[string]string) {
	for name := range o.told.value {
		if _, ok := got[name]; ok {
			o.shown[name] = true
		} else if o.told.seq[name] > o.told.tried {
			o.gone[name] = true
			delete(o.told.fate, name)
		}
	}
}
