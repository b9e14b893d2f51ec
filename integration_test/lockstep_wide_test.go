package integration_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
)

// The steps of the lockstep test that are not transactions: backups, loads, batches with versions
// of their own, sequences, merge operators, drops, value log collection. A subscription on each
// side runs along.

func concat(a, b []byte) []byte { return append(append([]byte{}, a...), b...) }

func backupTo(d mover, w io.Writer, since uint64, managed bool) (uint64, error) {
	if !managed {
		return d.Backup(w, since)
	}
	if p, ok := d.(plainSide); ok {
		stream := p.NewStreamAt(math.MaxUint64)
		stream.SinceTs = since
		return stream.Backup(w, since)
	}
	stream := d.(spillSide).NewStreamAt(math.MaxUint64)
	stream.SinceTs = since
	return stream.Backup(w, since)
}

func takeSeq(d side, n int) (got []uint64, err error) {
	seq, err := d.Sequence([]byte("seq"), 3)
	if err != nil {
		return nil, err
	}
	for range n {
		v, err := seq.Next()
		if err != nil {
			return got, errors.Join(err, seq.Release())
		}
		got = append(got, v)
	}
	return got, seq.Release()
}

func merged(d side, adds []string) (string, error) {
	m := d.Merge([]byte("merge"), concat, time.Hour)
	defer m.Stop()
	for _, a := range adds {
		if err := m.Add([]byte(a)); err != nil {
			return "", err
		}
	}
	v, err := m.Get()
	return string(v), err
}

// feed is what a subscription has told.
type feed struct {
	mu    sync.Mutex
	lines []string
	done  chan error
}

// feedPrefix is what both sides subscribe to; probeKey is among it and is written to know how far a
// feed is.
const (
	feedPrefix = "a"
	probeKey   = "a-probe"
)

func startFeed(ctx context.Context, d mover) *feed {
	f := &feed{done: make(chan error, 1)}
	go func() {
		f.done <- d.Subscribe(ctx, func(list *badger.KVList) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			for _, kv := range list.Kv {
				f.lines = append(f.lines, fmt.Sprintf("%s@%d %q %v %d", kv.Key, kv.Version, kv.Value, kv.Meta, kv.ExpiresAt))
			}
			return nil
		}, []pb.Match{{Prefix: []byte(feedPrefix)}})
	}()
	return f
}

func (f *feed) has(text string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(f.lines, func(s string) bool { return strings.Contains(s, text) })
}

// after returns, sorted, what came after the first line with text: within one transaction Badger's
// order is random.
func (f *feed) after(text string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.IndexFunc(f.lines, func(s string) bool { return strings.Contains(s, text) })
	lines := slices.Clone(f.lines[i+1:])
	slices.Sort(lines)
	return lines
}

type feeds struct {
	plain, spill *feed
	cancel       context.CancelFunc
	first        string // the probe that both have seen
}

func (l *lockstep) startFeeds() {
	ctx, cancel := context.WithCancel(context.Background())
	l.feeds = feeds{plain: startFeed(ctx, l.plain), spill: startFeed(ctx, l.spill), cancel: cancel}
	// A subscription begins at some moment that nobody tells.
	for end := time.Now().Add(10 * time.Second); ; {
		text := l.probe()
		time.Sleep(time.Millisecond)
		if l.feeds.plain.has(text) && l.feeds.spill.has(text) {
			l.feeds.first = text
			return
		}
		require.True(l.t, time.Now().Before(end), "no subscription")
	}
}

// probe commits a value that was never there to both.
func (l *lockstep) probe() string {
	l.probes++
	text := fmt.Sprintf("probe-%d-", l.probes)
	w := write{Key: []byte(probeKey), Value: []byte(text)}
	for _, d := range []side{l.plain, l.spill} {
		var tx sideTxn
		if l.mode.managed {
			tx = d.BeginAt(math.MaxUint64, true)
		} else {
			tx = d.Begin(true)
		}
		require.NoError(l.t, tx.Put(w))
		if l.mode.managed {
			require.NoError(l.t, tx.CommitAt((l.version+1)*4, nil))
		} else {
			require.NoError(l.t, tx.Commit())
		}
		tx.Discard()
	}
	l.version++
	return text
}

// endFeeds compares what the subscriptions have told since both had begun.
func (l *lockstep) endFeeds() {
	text := l.probe()
	for end := time.Now().Add(10 * time.Second); !l.feeds.plain.has(text) || !l.feeds.spill.has(text); time.Sleep(time.Millisecond) {
		require.True(l.t, time.Now().Before(end), "%q was not told: plain %v, badgerspill %v", text, l.feeds.plain.has(text), l.feeds.spill.has(text))
	}
	require.Equal(l.t, l.feeds.plain.after(l.feeds.first), l.feeds.spill.after(l.feeds.first))
	l.feeds.cancel()
	require.ErrorIs(l.t, <-l.feeds.plain.done, context.Canceled)
	require.ErrorIs(l.t, <-l.feeds.spill.done, context.Canceled)
}

func (l *lockstep) discardAll() {
	for _, p := range l.open {
		p.plain.Discard()
		p.spill.Discard()
	}
	l.open = nil
}

// stepWide is one of those steps.
func (l *lockstep) stepWide() {
	r := l.rng
	plain, spill := l.plain, l.spill
	switch op := r.IntN(12); {
	case op < 3:
		l.backup()
	case op == 3 && l.mode.managed:
		ws, versions := make([]write, 1+r.IntN(10)), []uint64{}
		for i := range ws {
			ws[i] = l.write()
			l.version++
			versions = append(versions, l.version*4)
		}
		r.Shuffle(len(versions), func(i, j int) { versions[i], versions[j] = versions[j], versions[i] })
		l.note("managed batch of %d", len(ws))
		l.same(nil, nil, putBatch(plain.NewManagedBatch(), ws, versions), putBatch(spill.NewManagedBatch(), ws, versions))
	case op < 5:
		l.load()
	case op < 7 && !l.mode.managed:
		n := 1 + r.IntN(7)
		l.note("sequence of %d", n)
		want, werr := takeSeq(plain, n)
		got, gerr := takeSeq(spill, n)
		l.same(want, got, werr, gerr)
	case op < 9 && !l.mode.managed:
		adds := make([]string, r.IntN(4))
		for i := range adds {
			adds[i] = string(rune('a' + r.IntN(26)))
		}
		l.note("merge %q", adds)
		want, werr := merged(plain, adds)
		got, gerr := merged(spill, adds)
		l.same(want, got, werr, gerr)
		// Badger's Stop does not wait for its last write; whatever comes later stands behind it
		l.probe()
	case op == 9:
		// when there is something to do differs
		_, _ = plain.RunValueLogGC(0.5), spill.RunValueLogGC(0.5)
	case op == 10:
		l.same(nil, nil, plain.VerifyChecksum(), spill.VerifyChecksum())
	case op == 11 && r.IntN(4) == 0:
		l.discardAll()
		l.note("drop all")
		l.same(nil, nil, plain.DropAll(), spill.DropAll())
		l.same(l.plain.MaxVersion(), l.spill.MaxVersion(), nil, nil)
	}
}

func (l *lockstep) backup() {
	var since uint64
	if l.rng.IntN(2) == 0 {
		since = uint64(l.rng.IntN(int(min(l.plain.MaxVersion(), 1<<30)) + 1))
	}
	l.note("backup since %d", since)
	var want, got bytes.Buffer
	wantMax, werr := backupTo(l.plain, &want, since, l.mode.managed)
	gotMax, gerr := backupTo(l.spill, &got, since, l.mode.managed)
	l.same(wantMax, gotMax, werr, gerr)
	require.Equal(l.t, backupLines(l, &want), backupLines(l, &got))
}

// backupLines are the entries of a backup, sorted: streams send ranges in any order.
func backupLines(l *lockstep, r io.Reader) (lines []string) {
	for {
		var size uint64
		if err := binary.Read(r, binary.LittleEndian, &size); err == io.EOF {
			slices.Sort(lines)
			return lines
		}
		buf := make([]byte, size)
		_, err := io.ReadFull(r, buf)
		require.NoError(l.t, err)
		var list pb.KVList
		require.NoError(l.t, proto.Unmarshal(buf, &list))
		for _, kv := range list.Kv {
			lines = append(lines, fmt.Sprintf("%s@%d %q %v %v %d", kv.Key, kv.Version, kv.Value, kv.UserMeta, kv.Meta, kv.ExpiresAt))
		}
	}
}

// load loads new versions above all, and some below, of keys that nothing else writes. As Badger
// asks, nothing runs beside it.
func (l *lockstep) load() {
	l.discardAll()
	base := l.plain.MaxVersion()
	list := &pb.KVList{}
	for i := range 1 + l.rng.IntN(10) {
		w := l.write()
		kv := &pb.KV{Key: w.Key, Value: w.Value, UserMeta: []byte{w.UserMeta}, ExpiresAt: w.ExpiresAt, Version: base + 1 + uint64(i), Meta: []byte{0}}
		if l.mode.managed {
			l.version++
			kv.Version = l.version * 4
		}
		if l.rng.IntN(4) == 0 {
			l.loads++
			kv.Key, kv.Version = fmt.Appendf(nil, "load%d", l.loads), uint64(1+l.rng.IntN(5))
		}
		if w.Delete {
			kv.Meta[0], kv.Value = 1, nil
		}
		list.Kv = append(list.Kv, kv)
	}
	if l.mode.managed {
		l.version = max(l.version, base/4+1)
	}
	text, err := proto.Marshal(list)
	require.NoError(l.t, err)
	text = append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...)
	l.note("load %d above %d", len(list.Kv), base)
	l.same(nil, nil, l.plain.Load(bytes.NewReader(text), 16), l.spill.Load(bytes.NewReader(text), 16))
	l.same(l.plain.MaxVersion(), l.spill.MaxVersion(), nil, nil)
}
