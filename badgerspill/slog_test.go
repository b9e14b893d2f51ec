package badgerspill

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/internal/notify"
	"github.com/badgerspill/badgerspill/replay"
	"github.com/badgerspill/badgerspill/wbm"
)

// records is a slog.Handler that keeps what it gets.
type records struct {
	least slog.Level

	mu  sync.Mutex
	all []slog.Record
}

func (r *records) Enabled(_ context.Context, l slog.Level) bool { return l >= r.least }
func (r *records) WithAttrs([]slog.Attr) slog.Handler           { return r }
func (r *records) WithGroup(string) slog.Handler                { return r }

func (r *records) Handle(_ context.Context, record slog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, record)
	return nil
}

// lines returns level, message and attributes of each record.
func (r *records) lines() (lines []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, record := range r.all {
		line := record.Level.String() + " " + record.Message
		record.Attrs(func(a slog.Attr) bool {
			line += " " + a.Key + "=" + a.Value.Kind().String() + ":" + a.Value.String()
			return true
		})
		lines = append(lines, line)
	}
	return lines
}

func TestSlogLoggerLevels(t *testing.T) {
	to := &records{least: slog.LevelInfo}
	log := NewSlogLogger(slog.New(to))
	log.Errorf("failed: %v\n", os.ErrPermission)
	log.Warningf("two\nlines\r\n\n")
	log.Infof("%d %%", 5)
	log.Debugf("%v", unprintable{t})
	require.Equal(t, []string{"ERROR failed: permission denied", "WARN two\nlines", "INFO 5 %"}, to.lines())
	require.Nil(t, NewSlogLogger(nil))
}

// unprintable is what must not be formatted.
type unprintable struct{ t *testing.T }

func (u unprintable) String() string { u.t.Error("formatted for a level that is off"); return "" }

// Every event is logged, with every field of what it carries.
func TestSlogListenerLogsEveryEvent(t *testing.T) {
	to := &records{least: slog.LevelDebug}
	listener := reflect.ValueOf(NewSlogListener(slog.New(to))).Elem()
	for i := range listener.NumField() {
		event := listener.Type().Field(i)
		info := reflect.New(event.Type.In(0)).Elem()
		var want []string
		for j := range info.NumField() {
			if f := info.Field(j); f.Type() == reflect.TypeFor[error]() {
				f.Set(reflect.ValueOf(os.ErrClosed))
			}
			want = append(want, snakeCase(info.Type().Field(j).Name))
		}
		listener.Field(i).Call([]reflect.Value{info})
		require.Len(t, to.all, i+1, event.Name)
		var have []string
		to.all[i].Attrs(func(a slog.Attr) bool { have = append(have, a.Key); return true })
		require.Equal(t, want, have, event.Name)
	}
	require.Equal(t, EventListener{}, *NewSlogListener(nil))
}

func TestSlogListenerAttributes(t *testing.T) {
	to := &records{least: slog.LevelDebug}
	now := time.Unix(0, 0)
	l := (&slogListener{to: slog.New(to), notable: notable{now: func() time.Time { return now }}}).listener()
	run := replay.Run{Reason: replay.ReasonQuiet, Bytes: 300 << 20, Entries: 7, Duration: 1500 * time.Millisecond}

	l.TierChange(TierChangeInfo{wbm.Normal, wbm.Flush, 81 << 20, 100 << 20})
	l.TierChange(TierChangeInfo{wbm.Flush, wbm.Spill, 91 << 20, 100 << 20})
	l.StallEnd(StallInfo{StallLevelZero, 12, 123456 * time.Microsecond})
	l.HandOver(HandOverInfo{Held: 612 * time.Microsecond, Spilled: 12345 * time.Millisecond})
	l.ReplayBegin(run)
	l.ReplayProgress(run)
	now = now.Add(progressLines)
	run.Err = os.ErrPermission
	l.ReplayProgress(run)
	l.SegmentSealed(SegmentInfo{7, "spill/7.seg", 64})
	l.WriterReleased(WriterReleasedInfo{Writer: 3, Bytes: 5, Waited: time.Second, Spilled: true, Err: ErrWriteBlocked})
	l.BackgroundError(BackgroundErrorInfo{"replay the spill", os.ErrPermission})
	require.Equal(t, []string{
		"DEBUG badgerspill: tier change old=String:normal new=String:flush usage=Int64:84934656 limit=Int64:104857600",
		"INFO badgerspill: tier change old=String:flush new=String:spill usage=Int64:95420416 limit=Int64:104857600",
		"INFO badgerspill: stall end cause=String:level-0 commits=Int64:12 duration=Duration:123.456ms",
		"INFO badgerspill: hand over held=Duration:612µs spilled=Duration:12.345s dropped=Bool:false",
		"INFO badgerspill: replay begin reason=String:quiet bytes=Int64:314572800 entries=Int64:7 duration=Duration:1.5s drained=Bool:false",
		"DEBUG badgerspill: replay progress reason=String:quiet bytes=Int64:314572800 entries=Int64:7 duration=Duration:1.5s drained=Bool:false",
		"INFO badgerspill: replay progress reason=String:quiet bytes=Int64:314572800 entries=Int64:7 duration=Duration:1.5s drained=Bool:false err=Any:permission denied",
		"DEBUG badgerspill: segment sealed segment=Uint64:7 path=String:spill/7.seg bytes=Int64:64",
		"DEBUG badgerspill: writer released writer=Uint64:3 bytes=Int64:5 waiting=Int64:0 waited=Duration:1s spilled=Bool:true err=Any:" + ErrWriteBlocked.Error(),
		"DEBUG badgerspill: background error op=String:replay the spill err=Any:permission denied",
	}, to.lines())
}

// A listener that has debug switched off neither counts nor makes what is not logged.
func TestSlogListenerIsLimited(t *testing.T) {
	to := &records{least: slog.LevelInfo}
	now := time.Unix(0, 0)
	logger := &slogListener{to: slog.New(to), notable: notable{now: func() time.Time { return now }}}
	logger.lines.Now = logger.now
	l := logger.listener()
	for range 1000 {
		l.SpillBegin(SpillBeginInfo{})
		l.SegmentSealed(SegmentInfo{})
	}
	require.Len(t, to.lines(), notify.LinesPerInterval)
	now = now.Add(notify.LineInterval)
	l.SpillBegin(SpillBeginInfo{})
	l.SpillBegin(SpillBeginInfo{})
	require.Equal(t, []string{
		"INFO badgerspill: spill begin cause=String:memory hedged=Int64:0 left_out=Int64:995",
		"INFO badgerspill: spill begin cause=String:memory hedged=Int64:0",
	}, to.lines()[notify.LinesPerInterval:])
	to.least = slog.LevelDebug
	l.SegmentSealed(SegmentInfo{})
	require.NotContains(t, to.lines()[notify.LinesPerInterval+2], "left_out")
}

// What a user has stored is in no attribute: neither a key, nor a value, nor the key of an error.
func TestSlogListenerTellsNoKeys(t *testing.T) {
	var out bytes.Buffer
	l := slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	f := open(t, func(opt *Options) { opt.Logger, opt.EventListener = NewSlogLogger(l), NewSlogListener(l) })
	f.spillOne("secret-key", "secret-value")
	f.drained()
	require.NoError(t, f.Close())
	NewSlogListener(l).BackgroundError(BackgroundErrorInfo{"compact the values of a merge operator", &keyError{[]byte("secret-key"), os.ErrPermission}})
	require.NotContains(t, out.String(), "secret")

	var messages []string
	for line := range strings.Lines(out.String()) {
		var record map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &record), line)
		messages = append(messages, record["msg"].(string))
	}
	for _, want := range []string{"badgerspill: spill begin", "badgerspill: replay begin", "badgerspill: hand over", "badgerspill: background error"} {
		require.True(t, slices.Contains(messages, want), "no record %q", want)
	}
	require.Contains(t, out.String(), `"err":"permission denied"`)
}

// The error of a merge operator still names its key to who asks for it as an error.
func TestKeyError(t *testing.T) {
	err := error(&keyError{[]byte("k\x00"), os.ErrPermission})
	require.EqualError(t, err, `key "k\x00": permission denied`)
	require.ErrorIs(t, err, os.ErrPermission)
	require.Equal(t, os.ErrPermission, withoutKey(errors.Join(err)))
	require.Equal(t, os.ErrClosed, withoutKey(os.ErrClosed))
}
