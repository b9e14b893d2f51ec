package live

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/wbm"
)

// The classes of what is shown, from nothing to do to somebody is needed.
const (
	calm     = "calm"
	busy     = "busy"
	strained = "strained"
	bad      = "bad"
)

// group is a part of the table.
type group struct {
	Name string
	Rows []row
}

// row is a number: in words for the page, as it is for JSON.
type row struct {
	Label, Text string // "": for JSON only
	Class       string // of the text, "" for none
	key         string // "": for the page only
	value       any
}

// Long reports whether its words need lines of their own.
func (r row) Long() bool { return len(r.Text) > 60 }

// Sub reports whether the row is a part of the one above it.
func (r row) Sub() bool { return unicode.IsLower(rune(r.Label[0])) }

// summary says in a sentence how the database is, the worst first.
func (v *view) summary() (class, text string) {
	s := &v.stats
	switch {
	case v.state == closed:
		return strained, "The database is closed. These are its last numbers."
	case v.stale:
		return bad, fmt.Sprintf("No new numbers since %s: the file system may not answer.", clock(v.at, v.at))
	case v.state == closing:
		return busy, fmt.Sprintf("The database is being closed: %s of the spill are to be replayed.", bytesText(float64(s.BytesPending)))
	case s.Health == badgerspill.HealthStopped:
		return bad, sentence(errorText(s.HealthError))
	case s.BlockedNow > 0:
		return bad, fmt.Sprintf("%s for room: memory and the spill are exhausted.", waits(s.BlockedNow))
	case v.waiting() > 0:
		return bad, "Commits have waited for room in the last seconds: memory and the spill are exhausted."
	case v.failed() > 0:
		return bad, "Commits have failed in the last seconds: there was no room for them."
	case s.Health == badgerspill.HealthDelayed:
		return strained, sentence(errorText(s.HealthError))
	case v.slowed() > 0:
		return strained, fmt.Sprintf("Commits are slowed to what replay makes room for: the spill is %s full.", percent(s.SpillBytes, s.SpillCapacity))
	case s.SpillPending > 0 || s.State == badgerspill.Spilling.String():
		text = fmt.Sprintf("Commits go to the spill, which holds %s", plural(s.SpillPending, "commit"))
		if full := percent(s.SpillBytes, s.SpillCapacity); full != "" {
			text += " and is " + full + " full"
		}
		if s.ReplayState == "replaying" {
			text += "; it is being replayed"
		}
		return busy, text + "."
	}
	if s.SpillHeld > 0 {
		return calm, fmt.Sprintf("Commits go to Badger. Open transactions keep %s of the spill, which is replayed.", bytesText(float64(s.SpillHeld)))
	}
	return calm, "Commits go to Badger. The spill is empty."
}

func waits(n int64) string {
	if n == 1 {
		return "1 commit waits"
	}
	return grouped(n) + " commits wait"
}

// sentence begins with a capital and ends with a full stop.
func sentence(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + strings.TrimSuffix(text[1:], ".") + "."
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return strings.TrimPrefix(err.Error(), "badgerspill: ")
}

// waiting and the next two return how many commits did so in the last seconds, those that still do
// included.
func (v *view) waiting() int64 { return v.stats.BlockedNow + v.lately(0, v.stats.CommitsBlocked) }

func (v *view) slowed() int64 { return v.stats.SlowedNow + v.lately(1, v.stats.CommitsSlowed) }

func (v *view) failed() int64 {
	return v.lately(2, v.stats.BlockTimeouts) + v.lately(3, v.stats.NoSpace)
}

func (v *view) lately(of int, now int64) int64 {
	if len(v.points) == 0 {
		return 0
	}
	return now - v.since(recently).stats.waits[of]
}

// quantile is that of the appends of the last seconds, 0 without any.
func (v *view) quantile(q float64) float64 {
	if len(v.points) == 0 {
		return 0
	}
	return quantile(&v.stats.Append, &v.since(recently).stats.appends, q)
}

func (v *view) healthWord() (class, word string) {
	switch {
	case v.state != open:
		return strained, string(v.state)
	case v.stats.Health == badgerspill.HealthStopped:
		return bad, "replay stopped"
	case v.stats.Health == badgerspill.HealthDelayed:
		return strained, "replay delayed"
	}
	return calm, "good"
}

var tierClass = map[string]string{"normal": calm, "flush": busy, "spill": strained, "block": bad}

var replayClass = map[string]string{
	"idle": calm, "waiting": calm, "replaying": busy, "paused": strained, "backoff": strained, "stopped": calm, "halted": bad,
}

// replayWords says what replay does.
var replayWords = map[string]string{
	"idle": "nothing to do", "waiting": "waits for a quiet moment", "replaying": "replaying",
	"paused": "paused for memory or disk", "backoff": "failed, tried again", "stopped": "stopped", "halted": "halted by an error",
}

func whither(state string) string {
	if state == badgerspill.Spilling.String() {
		return "the spill"
	}
	return "Badger"
}

// groups is the table.
func (v *view) groups() []group {
	s := &v.stats
	var all []group
	begin := func(name string) { all = append(all, group{Name: name}) }
	add := func(key, label, text, class string, value any) {
		g := &all[len(all)-1]
		g.Rows = append(g.Rows, row{label, text, class, key, value})
	}
	count := func(key, label string, n int64) { add(key, label, grouped(n), "", n) }
	alarm := func(key, label string, n int64, class string) {
		if n == 0 {
			class = ""
		}
		add(key, label, grouped(n), class, n)
	}
	bytes := func(key, label string, n int64) { add(key, label, bytesText(float64(n)), "", n) }
	seconds := func(key, label string, d time.Duration) {
		text := secondsText(d.Seconds())
		if d == 0 {
			text = "none"
		}
		add(key, label, text, "", d.Seconds())
	}
	latency := func(key, label string, s float64) { add(key, label, latencyText(s), "", s) }
	rate := func(key, label string, n float64, text func(float64) string) {
		add(key, label, perSecond(text(n)), "", n)
	}

	begin("Health")
	class, word := v.healthWord()
	add("health", "Health", word, class, s.Health.String())
	if s.HealthError != nil {
		add("health_error", "Why", errorText(s.HealthError), class, errorText(s.HealthError))
		var e *badgerspill.HealthError
		if errors.As(s.HealthError, &e) {
			add("health_since", "Since", clock(e.Since, v.at), "", e.Since.Format(time.RFC3339))
		}
	}
	alarm("replay_errors", "Errors of replay", s.ReplayErrors, strained)

	begin("Commits")
	add("state", "Go to", whither(s.State), "", s.State)
	add("tier", "Memory tier", s.Tier.String(), tierClass[s.Tier.String()], s.Tier.String())
	toBadger, toSpill := v.recent(func(p *point) float64 { return p.ToBadger }), v.recent(func(p *point) float64 { return p.ToSpill })
	rate("commits_per_second", "Now, acknowledged", toBadger+toSpill, digits)
	rate("to_badger_per_second", "by Badger", toBadger, digits)
	rate("to_spill_per_second", "by the spill", toSpill, digits)
	rate("write_bytes_per_second", "Write rate", s.WriteRate, bytesText)
	count("commits", "Since Open", s.CommitsDirect+s.CommitsSpilled+s.CommitsHedged)
	count("commits_direct", "by Badger", s.CommitsDirect)
	count("commits_spilled", "by the spill", s.CommitsSpilled)
	count("commits_hedged", "hedged: sent to Badger, by the spill", s.CommitsHedged)
	alarm("blocked_now", "Wait for room now", s.BlockedNow, bad)
	count("commits_blocked", "waited for room", s.CommitsBlocked)
	alarm("slowed_now", "Slowed now", s.SlowedNow, strained)
	count("commits_slowed", "were slowed", s.CommitsSlowed)
	alarm("block_timeouts", "Failed: no room in time", s.BlockTimeouts, bad)
	alarm("no_space", "Failed: no space on disk", s.NoSpace, bad)

	begin("Latency of appends to the spill")
	latency("append_p50", "Median of the last 10 s", v.quantile(0.5))
	latency("append_p99", "99th percentile of the last 10 s", v.quantile(0.99))
	latency("append_p50_since_open", "Median since Open", s.Append.P50.Seconds())
	latency("append_p99_since_open", "99th percentile since Open", s.Append.P99.Seconds())
	latency("append_max", "Longest since Open", s.Append.Max.Seconds())

	begin("The spill")
	full := strings.TrimSuffix(bytesText(float64(s.SpillBytes))+", "+percent(s.SpillBytes, s.SpillCapacity), ", ")
	add("spill_bytes", "On disk", full, "", s.SpillBytes)
	bytes("spill_capacity_bytes", "Capacity", s.SpillCapacity)
	count("spill_pending", "Commits not replayed", s.SpillPending)
	bytes("pending_bytes", "Bytes not replayed", s.BytesPending)
	seconds("oldest_spilled", "Age of the oldest", s.OldestSpilled)
	count("segments", "Segments", int64(s.Segments))
	count("turns_to_spill", "Turns to the spill", turns(s.SpillStarts))
	add("turns_by_cause", "by cause", causes(s.SpillStarts), "", s.SpillStarts)
	count("hand_overs", "Hand-overs back to Badger", s.HandOvers)
	count("stalls", "Stalls of Badger", s.Stalls)

	begin("Replay")
	add("replay_state", "Now", replayWords[s.ReplayState], replayClass[s.ReplayState], s.ReplayState)
	rate("replayed_bytes_per_second", "Rate, before compression", v.recent(func(p *point) float64 { return p.Replayed }), bytesText)
	left := v.left()
	leftText := "about " + secondsText(left.Seconds())
	switch {
	case s.BytesPending == 0:
		leftText = "nothing is left"
	case left == 0:
		leftText = "not known"
	}
	add("replay_left", "Time left, at this pace", leftText, "", left.Seconds())
	bytes("bytes_replayed", "Since Open", s.BytesReplayed)
	count("entries_replayed", "entries", s.EntriesReplayed)
	count("entries_coalesced", "entries left out, nobody could see them", s.EntriesCoalesced)
	add("replay_duty", "Share of the time that it may work", fmt.Sprintf("%.0f %%", 100*s.ReplayDuty), "", s.ReplayDuty)

	begin("Memory budget")
	used := strings.TrimSuffix(bytesText(float64(s.MemoryUsage))+", "+percent(s.MemoryUsage, s.MemoryLimit), ", ")
	add("memory_usage_bytes", "In use", used, "", s.MemoryUsage)
	bytes("memory_limit_bytes", "Limit", s.MemoryLimit)
	bytes("memory_in_flight_bytes", "commits on their way to Badger", s.MemoryInFlight)
	bytes("memory_memtables_bytes", "memtables of Badger", s.MemoryMemtables)
	bytes("memory_spill_index_bytes", "index of the spill", s.MemorySpillIndex)
	bytes("memory_pinned_bytes", "Beside it, held by iterators", s.MemoryPinned)
	entered := map[string]int64{}
	for tier, n := range s.TierEntered {
		entered[wbm.Tier(tier).String()] = n
	}
	add("tiers_entered", "Tiers entered", fmt.Sprintf("flush %s, spill %s, block %s",
		grouped(entered["flush"]), grouped(entered["spill"]), grouped(entered["block"])), "", entered)

	begin("Disk")
	type volume struct {
		Dir   string `json:"dir"`
		Free  int64  `json:"free_bytes"`
		Total int64  `json:"total_bytes"`
		Floor int64  `json:"floor_bytes"`
	}
	volumes := []volume{}
	for _, d := range v.disks {
		volumes = append(volumes, volume(d))
	}
	add("volumes", "", "", "", volumes)
	for _, d := range v.disks {
		text, class := fmt.Sprintf("%s of %s", bytesText(float64(d.Free)), bytesText(float64(d.Total))), ""
		if d.Floor > 0 {
			text += ", the floor is " + bytesText(float64(d.Floor))
			if d.Free < d.Floor {
				class = bad
			}
		}
		add("", "Free, "+d.Dir, text, class, nil)
	}
	bytes("tables_bytes", "Badger's tables", v.lsm)
	bytes("value_log_bytes", "Value log and spill", v.vlog)

	begin("Readers")
	seconds("oldest_reader", "Oldest that keeps replayed files", s.OldestHolder)
	bytes("held_bytes", "what they keep", s.SpillHeld)
	count("subscribers", "Subscribers", int64(s.Subscribers))
	bytes("subscriber_backlog_bytes", "furthest behind by", s.SubscriberBacklog)
	return all
}

func turns(by map[string]int64) (n int64) {
	for _, times := range by {
		n += times
	}
	return n
}

func causes(by map[string]int64) string {
	var parts []string
	for _, cause := range slices.Sorted(maps.Keys(by)) {
		parts = append(parts, fmt.Sprintf("%s %s", cause, grouped(by[cause])))
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}
