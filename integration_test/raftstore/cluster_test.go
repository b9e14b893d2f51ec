package raftstore_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/integration_test/kit"
	"github.com/badgerspill/badgerspill/integration_test/kit/childproc"
	"github.com/badgerspill/badgerspill/integration_test/kit/seed"
	"github.com/badgerspill/badgerspill/integration_test/raftstore"
)

const (
	raftClients   = 8
	raftValueSize = 4 << 10
	raftBound     = time.Minute // of every wait
)

// raftCluster is three processes that are raft nodes, and what its clients were told.
type raftCluster struct {
	t       *testing.T
	dir     string
	running map[string]*childproc.Child
	client  *http.Client

	acks      atomic.Int64
	mu        sync.Mutex
	acked     []raftApplied
	attempted [raftClients]uint32 // the last sequence number of each client
}

// TestRaftCluster: docs/scaling.md. Three nodes take a burst, larger than their memory, so that it
// goes to the spill of each; the leader is killed in the middle of it and comes back; then all are
// killed at once. What a client was told is applied once, at the same place, on all nodes.
func TestRaftCluster(t *testing.T) {
	before := kit.CurrentGoroutines()
	c := &raftCluster{t: t, dir: t.TempDir(), running: map[string]*childproc.Child{}, client: &http.Client{Timeout: 10 * time.Second}}
	t.Cleanup(c.cleanUp)
	rng := seed.Random(t)
	for _, name := range raftNodes {
		c.start(name)
	}
	c.leader()

	wait := c.burst(rng, 2000)
	c.waitForAcks(300 + rng.Int64N(200))
	var leader string
	var r raftReport
	var err error
	c.eventually("the leader has a part of its log in its spill", func() bool {
		leader = c.leader()
		r, err = c.report(leader)
		return err == nil && r.State == "Leader" && r.Pending > 0
	})
	acked := c.acks.Load()
	c.kill(leader)
	t.Logf("%d acknowledged: leader %s killed; its spill held %d commits of its log, entries %d to %d", acked, leader, r.Pending, r.First, r.Last)
	c.waitForAcks(acked + 300)
	t.Logf("%d acknowledged: %s leads", c.acks.Load(), c.leader())
	c.start(leader)
	c.eventually("the killed node takes part again", func() bool {
		r, err := c.report(leader)
		return err == nil && int64(r.Entries) > acked+300
	})
	r, err = c.report(leader)
	require.NoError(t, err)
	t.Logf("%d acknowledged: %s is back, with %d commands applied", c.acks.Load(), leader, r.Entries)
	wait()
	c.agree()
	// The burst is over: every node replays its spill into Badger and hands over.
	for _, name := range raftNodes {
		c.eventually(name+" has replayed its spill", func() bool {
			r, err := c.report(name)
			return err == nil && r.Pending == 0 && r.Replayed > 0 && r.Turns > 0 && r.First > 1
		})
		r, err := c.report(name)
		require.NoError(t, err)
		require.Positive(t, r.Spilled)
		t.Logf("%s: %d commits took the spill, %d entries replayed; snapshot through entry %d, log from %d to %d",
			name, r.Spilled, r.Replayed, r.Snapshot, r.First, r.Last)
	}

	acked = c.acks.Load()
	wait = c.burst(rng, 640)
	c.waitForAcks(acked + 300 + rng.Int64N(100))
	for _, name := range raftNodes {
		c.kill(name)
	}
	t.Logf("%d acknowledged: all killed", c.acks.Load())
	for _, name := range raftNodes {
		c.start(name)
	}
	wait()
	c.agree()
	c.stop()
	c.checkLogs()
	c.client.CloseIdleConnections()
	require.NoError(t, before.Gone())
}

// start runs a node's process.
func (c *raftCluster) start(name string) {
	c.t.Helper()
	_ = os.Remove(filepath.Join(c.dir, name+".http"))
	c.running[name] = childproc.Start(c.t, "TestRaftNode", raftNodeArg{c.dir, name})
}

// kill kills a node and waits until it is gone.
func (c *raftCluster) kill(name string) {
	p := c.running[name]
	require.NoError(c.t, p.Kill())
	require.Empty(c.t, slices.Collect(p.Lines()), "%s has ended by itself", name)
	require.Error(c.t, p.Wait())
	require.True(c.t, p.Killed(), "%s has ended by itself", name)
	delete(c.running, name)
}

// stop ends all nodes in good order: their tests pass.
func (c *raftCluster) stop() {
	for _, p := range c.running {
		require.NoError(c.t, p.CloseInput())
	}
	for name, p := range c.running {
		p.Bound(raftBound)
		said := slices.Collect(p.Lines())
		require.NoError(c.t, p.Wait(), "%s: %s", name, strings.Join(said, "\n"))
		delete(c.running, name)
	}
}

// cleanUp ends what a failure has left running, and shows what that said.
func (c *raftCluster) cleanUp() {
	for name, p := range c.running {
		_ = p.Kill()
		c.t.Logf("%s: %s", name, strings.Join(slices.Collect(p.Lines()), "\n"))
	}
}

func (c *raftCluster) eventually(what string, is func() bool) {
	c.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(raftBound)
	defer limit.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-limit.C:
			require.Fail(c.t, "not within "+raftBound.String(), what)
		}
	}
}

// get asks a node, or posts to it if there is a body.
func (c *raftCluster) get(name, path string, body []byte, answer any) error {
	addr, err := raftAddresses(c.dir).read(name, "http")
	if err != nil {
		return err // it has not started yet
	}
	resp, err := c.client.Post("http://"+addr+path, "application/octet-stream", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(b)))
	}
	return json.Unmarshal(b, answer)
}

func (c *raftCluster) report(name string) (r raftReport, err error) {
	err = c.get(name, "/report", nil, &r)
	return r, err
}

// leads returns the node that says it leads, "" if none does.
func (c *raftCluster) leads() string {
	for _, name := range raftNodes {
		if r, err := c.report(name); err == nil && r.State == "Leader" {
			return name
		}
	}
	return ""
}

// leader waits for one.
func (c *raftCluster) leader() (name string) {
	c.t.Helper()
	c.eventually("a leader", func() bool { name = c.leads(); return name != "" })
	return name
}

func (c *raftCluster) waitForAcks(n int64) {
	c.t.Helper()
	c.eventually(fmt.Sprintf("%d acknowledged commands", n), func() bool { return c.acks.Load() >= n })
}

// burst starts the clients, which go on until each has its share of so many acknowledged commands.
// A client waits for each of its commands. One that fails may have been applied or not, so it is
// not sent again. The returned function waits for the end.
func (c *raftCluster) burst(rng *rand.Rand, commands int) (wait func()) {
	ctx, cancel := context.WithTimeout(context.Background(), raftBound)
	var wg kit.WaitGroup
	for i := range uint32(raftClients) {
		value := make([]byte, raftValueSize)
		for j := range value {
			value[j] = byte(rng.Uint32())
		}
		wg.Go(func() {
			node := raftNodes[0]
			tick := time.NewTicker(5 * time.Millisecond) // between looks for a leader
			defer tick.Stop()
			for acked := 0; acked < commands/raftClients && ctx.Err() == nil; {
				c.attempted[i]++
				cmd := raftCommand{i, c.attempted[i]}
				var index uint64
				if err := c.get(node, "/apply", cmd.encode(value), &index); err == nil {
					acked++
					c.mu.Lock()
					c.acked = append(c.acked, raftApplied{index, cmd})
					c.mu.Unlock()
					c.acks.Add(1)
					continue
				}
				for node = c.leads(); node == "" && ctx.Err() == nil; node = c.leads() {
					<-tick.C
				}
			}
		})
	}
	return func() {
		wg.Wait()
		defer cancel()
		require.NoError(c.t, ctx.Err(), "the clients are not through")
	}
}

// agree waits until all nodes have applied the same, and checks it against what the clients know.
func (c *raftCluster) agree() {
	c.t.Helper()
	var reports [3]raftReport
	c.eventually("all nodes have applied the same", func() bool {
		for i, name := range raftNodes {
			var err error
			if reports[i], err = c.report(name); err != nil {
				return false
			}
		}
		return reports[0].Sum == reports[1].Sum && reports[1].Sum == reports[2].Sum && int64(reports[0].Entries) >= c.acks.Load()
	})
	for _, name := range raftNodes {
		var s raftState
		require.NoError(c.t, c.get(name, "/state", nil, &s))
		require.Equal(c.t, reports[0].Sum, fmt.Sprintf("%x", s.Sum), name)
		at := map[uint64]raftCommand{}
		var index uint64
		var last [raftClients]uint32
		for _, a := range s.Applied {
			require.Greater(c.t, a.Index, index, "%s: out of order", name)
			require.Greater(c.t, a.Seq, last[a.Client], "%s: client %d: applied twice, or out of order", name, a.Client)
			index, last[a.Client], at[a.Index] = a.Index, a.Seq, a.raftCommand
		}
		for i, n := range last {
			require.LessOrEqual(c.t, n, c.attempted[i], "%s: client %d never sent that", name, i)
		}
		for _, a := range c.acked {
			require.Equal(c.t, a.raftCommand, at[a.Index], "%s: entry %d was acknowledged, and is not there", name, a.Index)
		}
		require.NotEmpty(c.t, s.Values)
	}
	c.t.Logf("all nodes agree: %d commands applied, %d of them acknowledged", reports[0].Entries, len(c.acked))
}

// checkLogs opens the databases of the stopped nodes: their logs are whole, agree, and have what
// was acknowledged.
func (c *raftCluster) checkLogs() {
	terms := map[uint64]uint64{}
	for _, name := range raftNodes {
		db, err := badgerspill.Open(raftOptions(filepath.Join(c.dir, name, "db")))
		require.NoError(c.t, err)
		store, err := raftstore.New(db)
		require.NoError(c.t, err)
		first, err := store.FirstIndex()
		require.NoError(c.t, err)
		last, err := store.LastIndex()
		require.NoError(c.t, err)
		acked := map[uint64]raftCommand{}
		for _, a := range c.acked {
			acked[a.Index] = a.raftCommand
			require.LessOrEqual(c.t, a.Index, last)
		}
		found := 0
		for i := first; i <= last; i++ {
			var l raft.Log
			require.NoError(c.t, store.GetLog(i, &l), "%s: entry %d of %d to %d", name, i, first, last)
			if term, ok := terms[i]; ok {
				require.Equal(c.t, term, l.Term, "%s: entry %d", name, i)
			}
			terms[i] = l.Term
			if want, ok := acked[i]; ok {
				require.Equal(c.t, raft.LogCommand, l.Type)
				require.Equal(c.t, want, decodeRaftCommand(l.Data), "%s: entry %d", name, i)
				found++
			}
		}
		require.Positive(c.t, found)
		require.NoError(c.t, db.Close())
	}
}
