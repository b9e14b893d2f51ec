package raftstore_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/integration_test/kit"
	"github.com/badgerspill/badgerspill/integration_test/kit/childproc"
	"github.com/badgerspill/badgerspill/integration_test/raftstore"
)

// One node of the cluster of TestRaftCluster, a process of its own: raft over TCP, its log and
// votes in a badgerspill database, its snapshots in files, and HTTP for clients.

type raftNodeArg struct{ Dir, Name string } // of the cluster and of the node

var raftNodes = []string{"n1", "n2", "n3"}

// raftOptions: 700 KB of a burst fill the memory, and what is spilled then stays in the spill until
// the burst is over.
func raftOptions(dir string) badgerspill.Options {
	o := badgerspill.OptionsFrom(badger.DefaultOptions(dir).WithLogger(nil).WithMetricsEnabled(false).WithSyncWrites(true).
		WithMemTableSize(2 << 20).WithValueThreshold(64 << 10).WithValueLogFileSize(16 << 20).WithBlockCacheSize(1 << 20).WithNumCompactors(2))
	return o.WithMemoryLimit(12<<20).WithLimitRatios(0.06, 0.06).WithSegmentSize(256<<10).WithQuiet(32<<10, 200*time.Millisecond)
}

// raftCommand is what a client asks the cluster to apply: 8 bytes that say whose it is, and a
// value.
type raftCommand struct{ Client, Seq uint32 }

func (c raftCommand) encode(value []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, c.Client)
	return append(binary.BigEndian.AppendUint32(b, c.Seq), value...)
}

func decodeRaftCommand(b []byte) raftCommand {
	return raftCommand{binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])}
}

// raftApplied is a command and its place in the log.
type raftApplied struct {
	Index uint64
	raftCommand
}

// raftState is the state of the machine: the newest value of each of a client's keys, by its hash;
// all commands in order; and a chain of hashes over all of it.
type raftState struct {
	Values  map[string][sha256.Size]byte
	Applied []raftApplied
	Sum     [sha256.Size]byte
}

// raftMachine is the raft.FSM.
type raftMachine struct {
	mu    sync.Mutex
	state raftState
}

func (m *raftMachine) Apply(l *raft.Log) any {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := &m.state
	c := decodeRaftCommand(l.Data)
	if s.Values == nil {
		s.Values = map[string][sha256.Size]byte{}
	}
	s.Values[fmt.Sprint(c.Client, "/", c.Seq%16)] = sha256.Sum256(l.Data)
	s.Applied = append(s.Applied, raftApplied{l.Index, c})
	s.Sum = sha256.Sum256(append(binary.BigEndian.AppendUint64(s.Sum[:], l.Index), l.Data...))
	return nil
}

func (m *raftMachine) encoded() ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return json.Marshal(m.state)
}

func (m *raftMachine) Snapshot() (raft.FSMSnapshot, error) {
	b, err := m.encoded()
	return raftSnapshot(b), err
}

func (m *raftMachine) Restore(from io.ReadCloser) error {
	defer func() { _ = from.Close() }()
	var s raftState
	if err := json.NewDecoder(from).Decode(&s); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state = s
	return nil
}

type raftSnapshot []byte

func (s raftSnapshot) Persist(sink raft.SnapshotSink) error {
	if _, err := sink.Write(s); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	return sink.Close()
}

func (raftSnapshot) Release() {}

// raftReport is what a node says of itself.
type raftReport struct {
	State, Leader                               string
	Entries                                     int    // commands applied
	Sum                                         string // over them
	First, Last                                 uint64 // of the log
	Spilled, Replayed, Pending, Turns, Snapshot int64
}

// raftAddresses finds nodes by name: each writes its addresses into files when it has them, since a
// restarted one has new ones.
type raftAddresses string

func (a raftAddresses) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	addr, err := a.read(string(id), "raft")
	return raft.ServerAddress(addr), err
}

func (a raftAddresses) read(node, what string) (string, error) {
	b, err := os.ReadFile(filepath.Join(string(a), node+"."+what))
	return string(b), err
}

func (a raftAddresses) write(node, what, addr string) error {
	name := filepath.Join(string(a), node+"."+what)
	return errors.Join(os.WriteFile(name+".new", []byte(addr), 0o600), os.Rename(name+".new", name))
}

// raftNode is a node that runs.
type raftNode struct {
	db        *badgerspill.DB
	store     *raftstore.Store
	machine   raftMachine
	snapshots *raft.FileSnapshotStore
	transport *raft.NetworkTransport
	raft      *raft.Raft
}

func openRaftNode(dir, name string) (*raftNode, error) {
	logger := hclog.New(&hclog.LoggerOptions{Name: name, Level: hclog.Warn, Output: os.Stderr})
	n := &raftNode{}
	var err error
	if n.db, err = badgerspill.Open(raftOptions(filepath.Join(dir, name, "db"))); err != nil {
		return nil, err
	}
	if n.store, err = raftstore.New(n.db); err != nil {
		return nil, err
	}
	cache, err := raft.NewLogCache(512, n.store)
	if err != nil {
		return nil, err
	}
	if n.snapshots, err = raft.NewFileSnapshotStoreWithLogger(filepath.Join(dir, name), 2, logger); err != nil {
		return nil, err
	}
	n.transport, err = raft.NewTCPTransportWithConfig("127.0.0.1:0", nil, &raft.NetworkTransportConfig{
		ServerAddressProvider: raftAddresses(dir), MaxPool: 2, Timeout: 2 * time.Second, Logger: logger,
	})
	if err != nil {
		return nil, err
	}
	if err := raftAddresses(dir).write(name, "raft", string(n.transport.LocalAddr())); err != nil {
		return nil, err
	}
	conf := raft.DefaultConfig()
	conf.LocalID, conf.Logger = raft.ServerID(name), logger
	conf.HeartbeatTimeout, conf.ElectionTimeout, conf.LeaderLeaseTimeout = 500*time.Millisecond, 500*time.Millisecond, 300*time.Millisecond
	// half a megabyte: more than a transaction holds
	conf.BatchApplyCh, conf.MaxAppendEntries = true, 128
	conf.SnapshotInterval, conf.SnapshotThreshold, conf.TrailingLogs = 200*time.Millisecond, 300, 100
	has, err := raft.HasExistingState(n.store, n.store, n.snapshots)
	if err != nil {
		return nil, err
	}
	if n.raft, err = raft.NewRaft(conf, &n.machine, cache, n.store, n.snapshots, n.transport); err != nil || has {
		return n, err
	}
	var servers raft.Configuration // the same on all nodes, which makes it safe to begin on each
	for _, id := range raftNodes {
		servers.Servers = append(servers.Servers, raft.Server{ID: raft.ServerID(id), Address: raft.ServerAddress(id)})
	}
	return n, n.raft.BootstrapCluster(servers).Error()
}

// close ends raft before the database that it writes to.
func (n *raftNode) close() error {
	return errors.Join(n.raft.Shutdown().Error(), n.transport.Close(), n.db.Close())
}

func (n *raftNode) report() raftReport {
	_, leader := n.raft.LeaderWithID()
	first, _ := n.store.FirstIndex()
	last, _ := n.store.LastIndex()
	st := n.db.SpillStats()
	r := raftReport{State: n.raft.State().String(), Leader: string(leader), First: first, Last: last,
		Spilled: st.CommitsSpilled + st.CommitsHedged, Replayed: st.EntriesReplayed, Pending: st.SpillPending, Turns: st.HandOvers}
	if list, err := n.snapshots.List(); err == nil && len(list) > 0 {
		r.Snapshot = int64(list[0].Index)
	}
	n.machine.mu.Lock()
	defer n.machine.mu.Unlock()
	r.Entries, r.Sum = len(n.machine.state.Applied), fmt.Sprintf("%x", n.machine.state.Sum)
	return r
}

func (n *raftNode) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	answer := func(v any, err error) {
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_ = json.NewEncoder(w).Encode(v) // who asked may be gone
	}
	switch req.URL.Path {
	case "/apply":
		cmd, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		f := n.raft.Apply(cmd, 5*time.Second)
		if err := f.Error(); err != nil {
			answer(nil, err)
			return
		}
		answer(f.Index(), nil)
	case "/report":
		answer(n.report(), nil)
	case "/state":
		b, err := n.machine.encoded()
		answer(json.RawMessage(b), err)
	default:
		http.NotFound(w, req)
	}
}

// TestRaftNode is the node's process: it runs until its standard input ends, with the parent at the
// latest.
func TestRaftNode(t *testing.T) {
	arg := childproc.Arg[raftNodeArg](t)
	before := kit.CurrentGoroutines()
	dir, name := arg.Dir, arg.Name
	n, err := openRaftNode(dir, name)
	require.NoError(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &http.Server{Handler: n}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	require.NoError(t, raftAddresses(dir).write(name, "http", listener.Addr().String()))
	childproc.UntilTheInputEnds()
	require.NoError(t, server.Close())
	require.ErrorIs(t, <-served, http.ErrServerClosed)
	require.NoError(t, n.close())
	// Raft's transport leaves its accepted connections to the other side to close.
	require.NoError(t, before.Gone("github.com/hashicorp/raft.(*NetworkTransport).handleConn"))
}
