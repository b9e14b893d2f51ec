package browser

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/badgerspill/live"
)

var screenshots = flag.String("screenshots", "", "directory to keep what the tests see in")

// never is longer than any test.
const never = 1000 * time.Hour

// options are those of a database in which replay does nothing by itself.
func options(dir string) badgerspill.Options {
	return badgerspill.DefaultOptions(dir).WithLogger(nil).WithMetricsEnabled(false).
		WithQuiet(0, never).WithMaxSpillAge(never).WithReplayHighWater(1).WithMinFreeSpace(1 << 20)
}

func openDB(t *testing.T, opt badgerspill.Options) *badgerspill.DB {
	t.Helper()
	db, err := badgerspill.Open(opt)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// write commits n values of 1 KiB that hardly compress, by many writers at once, and returns the
// first error.
func write(db *badgerspill.DB, n int) error {
	const writers = 64
	errs := make(chan error, writers)
	for w := range writers {
		go func() {
			r := rand.NewChaCha8([32]byte{byte(w)})
			value := make([]byte, 1<<10)
			for i := range n / writers {
				_, _ = r.Read(value)
				err := db.Update(func(txn *badgerspill.Txn) error { return txn.Set(fmt.Appendf(nil, "hidden/%d/%d", w, i), value) })
				if err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	var first error
	for range writers {
		if err := <-errs; first == nil {
			first = err
		}
	}
	return first
}

// serve mounts the page of a database as a program would.
func serve(t *testing.T, db *badgerspill.DB) (address string, server *httptest.Server) {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle("/debug/badgerspill/", live.Handler(db))
	server = httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL + "/debug/badgerspill/", server
}

// The states of a database, and what the page must say about each.
var states = []struct {
	name    string
	make    func(t *testing.T) *badgerspill.DB
	after   func(t *testing.T, db *badgerspill.DB) // the page was made
	class   string
	summary string // begin of the sentence at the top, a regular expression
	health  string
}{
	{
		"bursts",
		func(t *testing.T) *badgerspill.DB {
			db := openDB(t, options(t.TempDir()).WithSpillPolicy(badgerspill.Always).WithKeepSpillOnClose(true))
			require.NoError(t, write(db, 4096))
			return db
		},
		func(t *testing.T, db *badgerspill.DB) {
			stop := make(chan struct{})
			var writing sync.WaitGroup
			writing.Add(1)
			go func() {
				defer writing.Done()
				tick := time.NewTicker(100 * time.Millisecond)
				defer tick.Stop()
				for write(db, 1024) == nil {
					select {
					case <-stop:
						return
					case <-tick.C:
					}
				}
			}()
			t.Cleanup(func() {
				close(stop)
				writing.Wait()
			})
		},
		"busy", "Commits go to the spill, which holds ", "good",
	},
	{
		"full",
		func(t *testing.T) *badgerspill.DB {
			// Replay does next to nothing, so that what waits goes on waiting.
			return openDB(t, options(t.TempDir()).WithSpillPolicy(badgerspill.Always).WithKeepSpillOnClose(true).
				WithSegmentSize(64<<10).WithSpillCapacity(1<<20).WithReplayMaxRate(1))
		},
		func(t *testing.T, db *badgerspill.DB) {
			done := make(chan error, 1)
			go func() { done <- write(db, 64<<10) }()
			t.Cleanup(func() {
				_ = db.Close()
				require.Error(t, <-done, "it was full")
			})
		},
		"bad", "[0-9]+ commits? waits? for room: |Commits have waited for room ", "good",
	},
	{
		"is broken",
		func(t *testing.T) *badgerspill.DB {
			dir := t.TempDir()
			opt := options(dir).WithSpillPolicy(badgerspill.Always).WithKeepSpillOnClose(true).WithSegmentSize(256 << 10)
			db := openDB(t, opt)
			require.NoError(t, write(db, 2048))
			require.NoError(t, db.Close())
			segments, err := filepath.Glob(filepath.Join(dir, "spill", "*.seg"))
			require.NoError(t, err)
			require.Greater(t, len(segments), 2)
			file, err := os.OpenFile(segments[1], os.O_RDWR, 0)
			require.NoError(t, err)
			_, err = file.WriteAt([]byte("damage"), 128<<10)
			require.NoError(t, err)
			require.NoError(t, file.Close())
			db = openDB(t, opt)
			require.ErrorIs(t, db.Drain(t.Context()), badgerspill.ErrCorrupt)
			return db
		},
		nil,
		"bad", "Replay has stopped: ", "replay stopped",
	},
	{
		"is closed",
		func(t *testing.T) *badgerspill.DB {
			db := openDB(t, options(t.TempDir()))
			require.NoError(t, write(db, 256))
			return db
		},
		func(t *testing.T, db *badgerspill.DB) { require.NoError(t, db.Close()) },
		"strained", "The database is closed.", "closed",
	},
}

// looks are how somebody may look at it.
var looks = []struct {
	width  int
	scheme string
}{{1300, "light"}, {1300, "dark"}, {400, "light"}, {400, "dark"}}

// TestLivePage: whatever the database and the window, the page says how it is, nothing is out of
// sight, and all can be read.
func TestLivePage(t *testing.T) {
	b := startChromium(t)
	for _, s := range states {
		t.Run("a database that "+s.name, func(t *testing.T) {
			db := s.make(t)
			address, server := serve(t, db)
			if s.after != nil {
				s.after(t, db)
			}
			b, summary := b.in(t), regexp.MustCompile("^(?:"+s.summary+")")
			b.visit(address)
			b.until("the page says so", func() bool { return summary.MatchString(b.text("summary")) })
			if s.class != "strained" { // a closed database has no second point
				b.until("there is a line", func() bool {
					return eval[int](b, `document.querySelector("#c-memory path.line").getAttribute("d").length`) > 20
				})
			}
			require.Equal(t, s.class, eval[string](b, `document.getElementById("summary").className.split(" ").pop()`))
			require.Contains(t, b.text("t-health"), s.health)
			require.NotContains(t, eval[string](b, "document.documentElement.outerHTML"), "hidden/", "a key")
			for _, l := range looks {
				b.show(l.width, l.scheme)
				b.keep(fmt.Sprintf("%s-%d-%s", strings.ReplaceAll(s.name, " ", "-"), l.width, l.scheme))
				b.requireReadable(l.width, l.scheme)
			}
			b.requireClean(server.URL)
		})
	}
}

// in is the browser for a subtest.
func (b *chromium) in(t *testing.T) *chromium {
	t.Helper()
	b.t = t
	b.visit("about:blank") // the page of the last one asks no more
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events = nil
	return b
}

// keep takes a screenshot, if that is wanted.
func (b *chromium) keep(name string) {
	b.t.Helper()
	if *screenshots == "" {
		return
	}
	require.NoError(b.t, os.MkdirAll(*screenshots, 0o700))
	require.NoError(b.t, os.WriteFile(filepath.Join(*screenshots, name+".png"), b.screenshot(), 0o600))
}

// unreadable lists, of all text that is to be seen, what is too small, too pale or out of sight.
// The width is told: a phone makes its window as wide as the widest of a page.
const unreadable = `((width) => {
  const faults = [];
  const numbers = (color) => color.match(/[\d.]+/g).map(Number);
  const luminance = (color) => {
    const [r, g, b] = numbers(color).map((c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const color = getComputedStyle(e).backgroundColor;
      if ((numbers(color)[3] ?? 1) > 0) return color;
    }
    return "rgb(255, 255, 255)";
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let n = 0;
  for (let node; (node = texts.nextNode());) {
    const e = node.parentElement, text = node.textContent.trim();
    if (!text || e.closest("script, style, title") || !e.checkVisibility()) continue;
    n++;
    const style = getComputedStyle(e);
    const range = document.createRange();
    range.selectNodeContents(node);
    const box = range.getBoundingClientRect();
    const size = parseFloat(style.fontSize);
    const [a, b] = [luminance(style.color), luminance(behind(e))].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    if (size < 12) faults.push(text + ": letters of " + size + " px");
    if (contrast < 4.5) faults.push(text + ": a contrast of " + contrast.toFixed(2));
    if (box.left < 0 || box.right > width + 0.5) faults.push(text + ": from " + box.left + " to " + box.right + " of " + width);
  }
  if (document.documentElement.scrollWidth > width) faults.push("the page is " + document.documentElement.scrollWidth + " wide");
  if (n < 100) faults.push("only " + n + " texts");
  for (const svg of document.querySelectorAll("svg")) {
    const box = svg.getBoundingClientRect();
    if (box.width < 150 || box.right > width) faults.push("a drawing of " + box.width + " px, up to " + box.right);
  }
  return faults;
})(%d)`

// requireReadable fails the test if something cannot be read.
func (b *chromium) requireReadable(width int, scheme string) {
	b.t.Helper()
	require.Empty(b.t, eval[[]string](b, fmt.Sprintf(unreadable, width)), "%d px, %s", width, scheme)
	paper := eval[string](b, "getComputedStyle(document.body).backgroundColor")
	require.Equal(b.t, map[string]string{"light": "rgb(255, 255, 255)", "dark": "rgb(21, 25, 29)"}[scheme], paper)
}

// The check itself.
func TestWhatCannotBeReadIsFound(t *testing.T) {
	b := startChromium(t)
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `<!DOCTYPE html><meta name="viewport" content="width=device-width"><body style="margin:0">
<p style="font-size:11px">small</p><p style="color:#999">pale</p><p style="margin-left:390px">outside</p><p>fine</p>`)
	}))
	defer page.Close()
	b.show(400, "light")
	b.visit(page.URL)
	faults := strings.Join(eval[[]string](b, fmt.Sprintf(unreadable, 400)), "\n")
	for _, want := range []string{"small: letters of 11 px", "pale: a contrast of 2.8", "outside: from 390 to ", "only 4 texts"} {
		require.Contains(t, faults, want)
	}
	require.NotContains(t, faults, "fine")
}

// TestLivePageUpdatesItself: without being loaded again, but for what somebody is marking; and it
// says when nobody answers.
func TestLivePageUpdatesItself(t *testing.T) {
	b := startChromium(t)
	db := openDB(t, options(t.TempDir()).WithSpillPolicy(badgerspill.Always))
	address, server := serve(t, db)
	b.visit(address)
	require.Equal(t, "Commits go to the spill, which holds 0 commits and is 0 % full.", b.text("summary"))
	require.True(t, eval[bool](b, `window.sameDocument = document.getElementById("lost").hidden`))
	require.NoError(t, write(db, 128))
	b.until("the commits are seen", func() bool { return strings.Contains(b.text("summary"), "which holds 128 commits") })
	b.until("and the events", func() bool { return strings.Contains(b.text("events"), "Commits go to the spill") })

	eval[bool](b, `getSelection().selectAllChildren(document.getElementById("summary")), true`)
	require.NoError(t, write(db, 128))
	b.until("the rest goes on", func() bool {
		return eval[bool](b, `[...document.querySelectorAll("td")].some((td) => td.innerText == "256")`)
	})
	require.Contains(t, b.text("summary"), "which holds 128 commits")
	eval[bool](b, `getSelection().removeAllRanges(), true`)
	b.until("it follows", func() bool { return strings.Contains(b.text("summary"), "which holds 256 commits") })

	require.NoError(t, db.Close())
	b.until("the end is seen", func() bool { return strings.HasPrefix(b.text("summary"), "The database is closed.") })
	b.requireClean(server.URL)
	server.Close()
	b.until("that nobody answers is seen", func() bool { return eval[bool](b, `!document.getElementById("lost").hidden`) })
	require.True(t, eval[bool](b, "window.sameDocument"), "it was loaded once")
}

// TestLivePageWithoutJavaScript: the same table and drawings, loaded again by the browser.
func TestLivePageWithoutJavaScript(t *testing.T) {
	b := startChromium(t)
	db := openDB(t, options(t.TempDir()).WithSpillPolicy(badgerspill.Always))
	require.NoError(t, write(db, 128))
	address, server := serve(t, db)
	b.call("Emulation.setScriptExecutionDisabled", map[string]any{"value": true}, nil)
	b.show(400, "light")
	b.visit(address)
	require.Contains(t, b.text("summary"), "which holds 128 commits")
	require.NoError(t, write(db, 128))
	b.until("it is loaded again", func() bool { return b.count("Page.loadEventFired") > 1 })
	b.until("the commits are seen", func() bool { return strings.Contains(b.text("summary"), "which holds 256 commits") })
	b.keep("without-javascript-400-light")
	b.requireReadable(400, "light")
	b.requireClean(server.URL)
}
