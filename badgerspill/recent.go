package badgerspill

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/badgerspill/badgerspill/replay"
)

const (
	// recentOfAKind is how many events of a kind are kept, so that none pushes out another.
	recentOfAKind = 8
	// recentOnce is the time in which what comes again takes the place of the one before.
	recentOnce = 10 * time.Second
)

// RecentEvent is something that happened, as DB.RecentEvents returns it.
type RecentEvent struct {
	Time time.Time // when it happened, by the clock
	Kind string    // the field of EventListener that was told of it, as "SpillBegin"
	// Text says it in words, in one line, and how often it came in the seconds before, if it did.
	// No key and no value is in it.
	Text string
}

// RecentEvents returns what happened last, oldest first, for a look after the fact: the last eight
// each of StallEnd, SpillBegin, HandOver, ReplayBegin, ReplayEnd, WriterBlocked, WriterReleased,
// HealthChange and BackgroundError. Of commits that wait for room only the first and the last are
// among them, not each. Of what comes again within ten seconds only the last is, except for
// HealthChange and for errors of different things. They are kept whether or not there is an
// EventListener, and after Close. It does not block and is safe for concurrent use.
func (db *DB) RecentEvents() []RecentEvent { return db.events.recent.all() }

// recent keeps them. It is told when things happen, under whatever lock, and makes words of them
// when it is asked. Its zero value is ready. It is safe for concurrent use.
type recent struct {
	now func() time.Time // nil: the clock

	mu sync.Mutex
	// Guarded by mu.
	seq uint64
	of  map[string][]recentEvent // by kind, oldest first
}

type recentEvent struct {
	seq       uint64 // two may have the same time
	first, at time.Time
	times     int // from first to at
	info      any // that of the listener, or text
}

// again reports whether e is another of the same, so that one of both is enough.
func (e *recentEvent) again(next *recentEvent) bool {
	if next.at.Sub(e.first) >= recentOnce {
		return false
	}
	switch i := next.info.(type) {
	case HealthInfo:
		return false
	case BackgroundErrorInfo:
		return e.info.(BackgroundErrorInfo).Op == i.Op
	}
	return true
}

func (r *recent) note(kind string, info any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of == nil {
		r.of = map[string][]recentEvent{}
	}
	r.seq++
	next := recentEvent{seq: r.seq, at: time.Now(), times: 1, info: info}
	if r.now != nil {
		next.at = r.now()
	}
	next.first = next.at
	kept := r.of[kind]
	if i := slices.IndexFunc(kept, func(e recentEvent) bool { return e.again(&next) }); i >= 0 {
		next.first, next.times = kept[i].first, kept[i].times+1
		kept = slices.Delete(kept, i, i+1)
	} else if len(kept) == recentOfAKind {
		kept = slices.Delete(kept, 0, 1)
	}
	r.of[kind] = append(kept, next)
}

func (r *recent) all() []RecentEvent {
	type kindOf struct {
		kind string
		recentEvent
	}
	var noted []kindOf
	r.mu.Lock()
	for kind, kept := range r.of {
		for _, e := range kept {
			noted = append(noted, kindOf{kind, e})
		}
	}
	r.mu.Unlock()
	slices.SortFunc(noted, func(a, b kindOf) int {
		if a.seq < b.seq {
			return -1
		}
		return 1
	})
	all := make([]RecentEvent, len(noted))
	for i, n := range noted {
		all[i] = RecentEvent{Time: n.at, Kind: n.kind, Text: recentText(n.kind, n.info)}
		if n.times > 1 {
			all[i].Text += fmt.Sprintf(" (%d times in %v)", n.times, round(n.at.Sub(n.first)))
		}
	}
	return all
}

// recentText says it as the log does, where that says it.
func recentText(kind string, info any) string {
	var lines oneLine
	log := &eventLogger{to: &lines, notable: notable{now: time.Now}}
	text := ""
	switch i := info.(type) {
	case StallInfo:
		log.stallEnd(i)
	case SpillBeginInfo:
		log.spillBegin(i)
	case HandOverInfo:
		log.handOver(i)
	case replay.Run:
		if kind == "ReplayEnd" {
			log.replayEnd(i)
		} else {
			log.replayBegin(i)
		}
	case HealthInfo:
		text = fmt.Sprintf("health is %v, was %v", i.New, i.Old)
		if i.Err != nil {
			text += ": " + strings.TrimPrefix(i.Err.Error(), "badgerspill: ")
		}
	case BackgroundErrorInfo:
		text = fmt.Sprintf("could not %s: %v", i.Op, i.Err)
		var keyed *keyError
		if errors.As(i.Err, &keyed) {
			text = fmt.Sprintf("could not %s; the log has the error", i.Op)
		}
	case string:
		text = i
	}
	if text == "" {
		text = strings.TrimPrefix(lines.text, "badgerspill: ")
	}
	return strings.Join(strings.Fields(text), " ")
}

// oneLine is a logger that keeps its last line.
type oneLine struct{ text string }

// Errorf is Infof.
func (l *oneLine) Errorf(format string, args ...any) { l.Infof(format, args...) }

// Warningf is Infof.
func (l *oneLine) Warningf(format string, args ...any) { l.Infof(format, args...) }

// Debugf is Infof.
func (l *oneLine) Debugf(format string, args ...any) { l.Infof(format, args...) }

// Infof keeps the line.
func (l *oneLine) Infof(format string, args ...any) { l.text = fmt.Sprintf(format, args...) }
