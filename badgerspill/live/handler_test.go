package live

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
)

func get(t *testing.T, h http.Handler, target string) *httptest.ResponseRecorder {
	t.Helper()
	return ask(t, h, http.MethodGet, target)
}

func ask(t *testing.T, h http.Handler, method, target string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, target, nil))
	return w
}

// requireText is require.Contains without the whole page in the message.
func requireText(t *testing.T, page, want string, about ...any) {
	t.Helper()
	summary := regexp.MustCompile(`<p id="summary".*`).FindString(page)
	require.True(t, strings.Contains(page, want), "%q is not in the page, which says %s %v", want, summary, about)
}

func TestMethods(t *testing.T) {
	h := newFake().handler()
	for _, target := range []string{"/", "/?json"} {
		body := get(t, h, target)
		require.Equal(t, http.StatusOK, body.Code)
		head := ask(t, h, http.MethodHead, target)
		require.Equal(t, http.StatusOK, head.Code)
		require.Empty(t, head.Body.String())
		require.Equal(t, body.Header(), head.Header())
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions} {
			w := ask(t, h, method, target)
			require.Equal(t, http.StatusMethodNotAllowed, w.Code, method)
			require.Equal(t, "GET, HEAD", w.Header().Get("Allow"))
			require.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
		}
	}
}

// The page may run what is in it, by its hash, and load nothing from elsewhere.
func TestPolicy(t *testing.T) {
	h := newFake().handler()
	w := get(t, h, "/")
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	require.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
	require.Equal(t, "no-referrer", w.Header().Get("Referrer-Policy"))
	require.Equal(t, "text/html; charset=utf-8", w.Header().Get("Content-Type"))
	require.Equal(t, "application/json", get(t, h, "/?json").Header().Get("Content-Type"))
	policy, page := w.Header().Get("Content-Security-Policy"), w.Body.String()
	require.Contains(t, policy, "default-src 'none'")
	require.NotContains(t, policy, "unsafe")
	for tag, directive := range map[string]string{"style": "style-src", "script": "script-src"} {
		all := regexp.MustCompile(`(?s)<`+tag+`>(.*?)</`+tag+`>`).FindAllStringSubmatch(page, -1)
		require.Len(t, all, 1, tag)
		sum := sha256.Sum256([]byte(all[0][1]))
		require.Contains(t, policy, directive+" 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'")
	}
	require.NotRegexp(t, ` style=| on[a-z]+=|javascript:|<iframe|<form|<img`, page)
	for _, m := range regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		require.Contains(t, []string{"data:,", "?json"}, m[1])
	}
	require.NotContains(t, page, "://", "nothing from elsewhere")
}

// Wherever the handler is mounted, the page and what it refers to is there.
func TestAnyPrefix(t *testing.T) {
	h := newFake().handler()
	mux := http.NewServeMux()
	mux.Handle("/a/b/", h)
	mux.Handle("/c/", http.StripPrefix("/c", h))
	mux.Handle("/d", http.StripPrefix("/d", h))
	mux.Handle("GET /e/{$}", h)
	server := httptest.NewServer(mux)
	defer server.Close()
	for _, path := range []string{"/a/b/", "/c/", "/d", "/e/"} {
		for query, want := range map[string]string{"": "<title>app, badgerspill</title>", "?json": `"dir": "/data/app"`} {
			resp, err := http.Get(server.URL + path + query)
			require.NoError(t, err)
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			requireText(t, string(body), want, path)
		}
	}
}

// A page is made once for what there is to see.
func TestPageIsMadeOnceASecond(t *testing.T) {
	f := newFake()
	h := f.handler()
	get(t, h, "/")
	first := &h.page[0]
	get(t, h, "/")
	require.Same(t, first, &h.page[0])
	f.second(nil)
	get(t, h, "/")
	require.NotSame(t, first, &h.page[0])
	f.set(func() { f.closed = true })
	requireText(t, get(t, h, "/").Body.String(), "The database is closed.")
}

// The sentence at the top says the worst, and what is in it is escaped.
func TestSummary(t *testing.T) {
	stopped := &badgerspill.HealthError{State: badgerspill.HealthStopped, Since: time.Date(2026, 5, 3, 9, 0, 0, 0, time.UTC), Err: errDamage, Way: "mend <it>"}
	for _, row := range []struct {
		name  string
		set   func(s *badgerspill.SpillStats)
		class string
		want  string
	}{
		{"at rest", func(*badgerspill.SpillStats) {}, calm, "Commits go to Badger. The spill is empty."},
		{"read", func(s *badgerspill.SpillStats) { s.SpillBytes, s.SpillHeld = 2<<30, 1<<30 }, calm,
			"Commits go to Badger. Open transactions keep 1 GiB of the spill, which is replayed."},
		{"bursts", func(s *badgerspill.SpillStats) { s.State, s.SpillPending, s.SpillBytes = "spilling", 1234, 1<<30 }, busy,
			"Commits go to the spill, which holds 1,234 commits and is 12 % full."},
		{"replays", func(s *badgerspill.SpillStats) { s.State, s.SpillPending, s.ReplayState = "spilling", 1, "replaying" }, busy,
			"Commits go to the spill, which holds 1 commit and is 0 % full; it is being replayed."},
		{"slowed", func(s *badgerspill.SpillStats) { s.SpillPending, s.SpillBytes, s.SlowedNow = 5, 6<<30, 3 }, strained,
			"Commits are slowed to what replay makes room for: the spill is 75 % full."},
		{"delayed", func(s *badgerspill.SpillStats) {
			s.SlowedNow, s.Health = 3, badgerspill.HealthDelayed
			s.HealthError = &badgerspill.HealthError{State: badgerspill.HealthDelayed, Err: errDamage, Way: "it is tried again"}
		}, strained, "Replay is delayed: block checksum does not match; it is tried again."},
		{"failed", func(s *badgerspill.SpillStats) { s.NoSpace = 1 }, bad, "Commits have failed in the last seconds: there was no room for them."},
		{"full", func(s *badgerspill.SpillStats) { s.BlockedNow, s.BlockTimeouts = 64, 3 }, bad,
			"64 commits wait for room: memory and the spill are exhausted."},
		{"was full a moment ago", func(s *badgerspill.SpillStats) { s.CommitsBlocked = 1 }, bad,
			"Commits have waited for room in the last seconds: memory and the spill are exhausted."},
		{"broken", func(s *badgerspill.SpillStats) {
			s.Health, s.HealthError, s.BlockedNow = badgerspill.HealthStopped, stopped, 3
		}, bad, "Replay has stopped: block checksum does not match; mend &lt;it&gt;."},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := newFake()
			h := f.handler()
			f.second(row.set)
			requireText(t, get(t, h, "/").Body.String(), `<p id="summary" class="summary `+row.class+`" role="status">`+row.want+"</p>")
		})
	}
}

// What was is not told for ever.
func TestSummaryForgets(t *testing.T) {
	f := newFake()
	h := f.handler()
	f.second(func(s *badgerspill.SpillStats) {
		s.NoSpace, s.CommitsBlocked, s.CommitsSlowed, s.BlockTimeouts = 1, 1, 1, 1
	})
	for range 10 {
		f.second(nil)
	}
	class, _ := func() (string, string) { v := h.history.view(); return v.summary() }()
	require.Equal(t, calm, class)
}

// The table of the page and the JSON have the same numbers.
func TestJSON(t *testing.T) {
	f := newFake()
	f.events = []badgerspill.RecentEvent{
		{Time: f.clock.Add(-24 * time.Hour), Kind: "SpillBegin", Text: "commits go to the spill"},
		{Time: f.clock, Kind: "HandOver", Text: "commits go to <Badger> again"},
	}
	h := f.handler()
	f.second(func(s *badgerspill.SpillStats) {
		s.CommitsDirect, s.SpillBytes, s.OldestHolder, s.SpillStarts = 1234567, 3<<30, 90*time.Second, map[string]int64{"rate": 2, "memory": 1}
	})
	var got struct {
		Time, Dir, State, Summary string
		Numbers                   map[string]any
		Points                    []map[string]any
		Events                    []struct{ Time, Kind, Text string }
	}
	decoder := json.NewDecoder(get(t, h, "/?json").Body)
	decoder.DisallowUnknownFields()
	require.NoError(t, decoder.Decode(&got))
	require.Equal(t, []string{"2026-05-04T12:00:01Z", "/data/app", "open"}, []string{got.Time, got.Dir, got.State})
	require.EqualValues(t, 1234567, got.Numbers["commits_direct"])
	require.EqualValues(t, 1234567, got.Numbers["to_badger_per_second"])
	require.EqualValues(t, int64(3<<30), got.Numbers["spill_bytes"])
	require.EqualValues(t, 90, got.Numbers["oldest_reader"])
	require.Equal(t, map[string]any{"rate": 2.0, "memory": 1.0}, got.Numbers["turns_by_cause"])
	require.Len(t, got.Numbers["volumes"], 1)
	require.Len(t, got.Points, 2)
	require.EqualValues(t, 1234567, got.Points[1]["to_badger"])
	require.Len(t, got.Events, 2)
	require.Equal(t, "commits go to <Badger> again", got.Events[1].Text)

	page := get(t, h, "/").Body.String()
	v := h.history.view()
	rows := 0
	for _, g := range v.groups() {
		for _, r := range g.Rows {
			if r.key != "" {
				require.Contains(t, got.Numbers, r.key)
			}
			if r.Label != "" {
				rows++
			}
		}
	}
	require.Equal(t, rows, strings.Count(page, `<th scope="row">`))
	require.Greater(t, rows, 50)
	for _, want := range []string{
		"1,234,567", "3 GiB, 38 %", "90 s", "memory 1, rate 2", "Free, /data/app", "50 GiB of 100 GiB, the floor is 1 GiB",
		`<time datetime="2026-05-03T12:00:00Z">3 May 12:00:00</time><span>Commits go to the spill.</span>`,
		`<time datetime="2026-05-04T12:00:00Z">12:00:00</time><span>Commits go to &lt;Badger&gt; again.</span>`,
	} {
		requireText(t, page, want)
	}
	require.Less(t, strings.Index(page, "&lt;Badger&gt;"), strings.Index(page, "3 May"), "the newest first")
}

func TestWithoutADatabase(t *testing.T) {
	h := Handler(nil)
	requireText(t, get(t, h, "/").Body.String(), "The database is closed.")
	requireText(t, get(t, h, "/?json").Body.String(), `"state": "closed"`)
}

// The numbers of a real database, through a burst, Drain and Close, with many who look.
func TestDatabase(t *testing.T) {
	const secret = "a-key-that-nobody-may-see"
	dir := t.TempDir()
	db, err := badgerspill.Open(badgerspill.DefaultOptions(dir).WithLogger(nil).WithSpillPolicy(badgerspill.Always).
		WithQuiet(0, time.Hour).WithMaxSpillAge(time.Hour).
		WithEncryptionKey([]byte("0123456789abcdef")).WithIndexCacheSize(1 << 20))
	require.NoError(t, err)
	h := Handler(db)
	stop := make(chan struct{})
	var looking sync.WaitGroup
	for range 4 {
		looking.Add(1)
		go func() {
			defer looking.Done()
			for {
				select {
				case <-stop:
					return
				default:
				}
				for _, target := range []string{"/", "/?json"} {
					body := get(t, h, target).Body.String()
					for _, hidden := range []string{secret, "0123456789abcdef"} {
						if strings.Contains(body, hidden) {
							t.Errorf("%s shows %s", target, hidden)
						}
					}
				}
			}
		}()
	}
	for i := range 100 {
		require.NoError(t, db.Update(func(txn *badgerspill.Txn) error {
			return txn.Set(fmt.Appendf(nil, "%s/%d", secret, i), []byte("a value"))
		}))
	}
	require.Eventually(t, func() bool {
		return strings.Contains(get(t, h, "/").Body.String(), "Commits go to the spill, which holds 100 commits")
	}, 15*time.Second, 10*time.Millisecond, "what was written is seen within a second")
	require.NoError(t, db.Drain(t.Context()))
	require.NoError(t, db.Close())
	requireText(t, get(t, h, "/").Body.String(), "The database is closed. These are its last numbers.")
	close(stop)
	looking.Wait()

	late := Handler(db)
	requireText(t, get(t, late, "/").Body.String(), "The database is closed.")
	requireText(t, get(t, late, "/?json").Body.String(), `"kind": "SpillBegin"`, "what happened is told even so")
}
