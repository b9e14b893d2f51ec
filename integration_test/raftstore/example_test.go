package raftstore_test

import (
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/integration_test/raftstore"
)

// counter is a state machine that counts commands.
type counter struct{ n byte }

func (c *counter) Apply(*raft.Log) any                 { c.n++; return c.n }
func (c *counter) Snapshot() (raft.FSMSnapshot, error) { return &counter{c.n}, nil }
func (c *counter) Release()                            {}

func (c *counter) Persist(sink raft.SnapshotSink) error {
	if _, err := sink.Write([]byte{c.n}); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	return sink.Close()
}

func (c *counter) Restore(from io.ReadCloser) error {
	defer from.Close()
	b, err := io.ReadAll(from)
	if err == nil && len(b) == 1 {
		c.n = b[0]
	}
	return err
}

// A node of one, whose log and votes are in a database. When it is started again, raft finds its
// log there and applies it to the state machine, which has forgotten everything. docs/scaling.md
// has a node that talks to others.
func Example() {
	dir, err := os.MkdirTemp("", "raftstore")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for range 2 {
		if err := applyThree(dir); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// the count is 3
	// the count is 6
}

func applyThree(dir string) (err error) {
	opt := badgerspill.DefaultOptions(dir).WithLogger(nil).WithSyncWrites(true).WithBlockTimeout(time.Second)
	db, err := badgerspill.Open(opt)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }() // after raft has ended
	store, err := raftstore.New(db)
	if err != nil {
		return err
	}
	address, transport := raft.NewInmemTransport("node")
	defer transport.Close()
	snapshots := raft.NewInmemSnapshotStore()
	conf := raft.DefaultConfig()
	conf.LocalID, conf.Logger = "node", hclog.NewNullLogger()
	conf.HeartbeatTimeout, conf.ElectionTimeout, conf.LeaderLeaseTimeout = 50*time.Millisecond, 50*time.Millisecond, 50*time.Millisecond

	begun, err := raft.HasExistingState(store, store, snapshots)
	if err != nil {
		return err
	}
	if !begun {
		servers := []raft.Server{{ID: conf.LocalID, Address: address}}
		if err := raft.BootstrapCluster(conf, store, store, snapshots, transport, raft.Configuration{Servers: servers}); err != nil {
			return err
		}
	}
	node, err := raft.NewRaft(conf, &counter{}, store, store, snapshots, transport)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, node.Shutdown().Error()) }()
	<-node.LeaderCh() // it is alone, so it leads
	var count any
	for range 3 {
		command := node.Apply([]byte("a command"), time.Second)
		if err := command.Error(); err != nil {
			return err
		}
		count = command.Response()
	}
	fmt.Println("the count is", count)
	return nil
}
