package live

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/badgerspill/badgerspill/badgerspill"
)

// Handler returns a handler of a page that shows db; see the package comment. It binds no port. It
// takes the first numbers at once, and may block for the file system. The handler is safe for
// concurrent use and does not block: what it shows is at most a second old, unless the file system
// does not answer, which the page says then. Make it once for a database, not for each request. For
// a database that is closed, or nil, the page says that it is closed.
func Handler(db *badgerspill.DB) http.Handler {
	var from source
	if db != nil {
		from = db
	}
	return newHandler(from, time.Now, func(d time.Duration, f func()) { time.AfterFunc(d, f) })
}

// handler serves what history has.
type handler struct {
	history *history

	mu sync.Mutex
	// Guarded by mu: the page that was made last, and of what.
	of   shown
	page []byte
}

// shown is what makes a page another one.
type shown struct {
	seq   int
	state state
	stale bool
}

func newHandler(from source, now func() time.Time, after func(time.Duration, func())) *handler {
	h := newHistory(from, now)
	if h.look() {
		lookAgain(h, after)
	}
	return &handler{history: h}
}

// ServeHTTP answers GET and HEAD.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Content-Security-Policy", policy)
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		http.Error(w, "this page is only to be read: GET or HEAD", http.StatusMethodNotAllowed)
		return
	}
	var body []byte
	var err error
	if r.URL.Query().Has("json") {
		header.Set("Content-Type", "application/json")
		body, err = h.json()
	} else {
		header.Set("Content-Type", "text/html; charset=utf-8")
		body, err = h.html()
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	header.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method == http.MethodGet {
		_, _ = w.Write(body) // who has left gets nothing
	}
}

func (h *handler) html() ([]byte, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	v := h.history.view()
	if of := (shown{v.seq, v.state, v.stale}); h.page == nil || of != h.of {
		var b bytes.Buffer
		if err := pageTemplate.Execute(&b, newPage(v)); err != nil {
			return nil, err
		}
		h.of, h.page = of, b.Bytes()
	}
	return h.page, nil
}

func (h *handler) json() ([]byte, error) {
	v := h.history.view()
	_, summary := v.summary()
	numbers := map[string]any{}
	for _, g := range v.groups() {
		for _, row := range g.Rows {
			if row.key != "" {
				numbers[row.key] = row.value
			}
		}
	}
	events := make([]jsonEvent, len(v.events))
	for i, e := range v.events {
		events[i] = jsonEvent{e.Time.Format(time.RFC3339Nano), e.Kind, e.Text}
	}
	return json.MarshalIndent(struct {
		Time    string         `json:"time"`
		Dir     string         `json:"dir"`
		State   state          `json:"state"`
		Summary string         `json:"summary"`
		Numbers map[string]any `json:"numbers"`
		Points  []point        `json:"points"`
		Events  []jsonEvent    `json:"events"`
	}{v.at.Format(time.RFC3339Nano), v.dir, v.state, summary, numbers, v.points, events}, "", " ")
}

type jsonEvent struct {
	Time string `json:"time"`
	Kind string `json:"kind"`
	Text string `json:"text"`
}
