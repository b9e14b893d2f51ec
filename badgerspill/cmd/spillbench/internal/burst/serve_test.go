package burst

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/flagcheck"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/engine"
)

// pageAt returns what is served at an address.
func pageAt(t *testing.T, address string) string {
	t.Helper()
	resp, err := http.Get(address)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
	return string(body)
}

// The address stays, and shows what there is: progress, the page of the child, progress again.
func TestServePassesOnThePageOfTheChild(t *testing.T) {
	tempRoot(t)
	cfg := smallConfig()
	cfg.Serve = "127.0.0.1:0"
	var progress bytes.Buffer
	finish := fakeStart(t, nil)
	seen := map[string][]string{}
	err := Run(t.Context(), cfg, func(ctx context.Context, job Job, message func(Message)) error {
		require.True(t, job.Live)
		address := regexp.MustCompile(`(?m)^live at (http://127\.0\.0\.1:\d+/)$`).FindStringSubmatch(progress.String())
		require.NotNil(t, address, progress.String())
		look := func() { seen[job.Engine] = append(seen[job.Engine], pageAt(t, address[1])) }
		look()
		if job.Engine == Badgerspill {
			child := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Cache-Control", "no-store")
				fmt.Fprint(w, "the child")
			}))
			message(Message{Live: child.Listener.Addr().String()})
			look()
			child.Close() // as a child that dies
			look()
		}
		return finish(ctx, job, message)
	}, &bytes.Buffer{}, &progress)
	require.NoError(t, err)
	require.Len(t, seen[Badger], 1)
	require.Contains(t, seen[Badger][0], "Nothing runs yet.")
	require.Len(t, seen[Badgerspill], 3)
	require.Contains(t, seen[Badgerspill][0], "badger      close")
	require.Equal(t, "the child", seen[Badgerspill][1])
	require.Contains(t, seen[Badgerspill][2], "badger      close")
}

func TestServeIsOverWithTheRun(t *testing.T) {
	tempRoot(t)
	cfg := smallConfig()
	cfg.Serve = "127.0.0.1:0"
	var progress bytes.Buffer
	require.NoError(t, Run(t.Context(), cfg, fakeStart(t, nil), &bytes.Buffer{}, &progress))
	address := regexp.MustCompile(`(?m)^live at http://(\S+)/$`).FindStringSubmatch(progress.String())
	require.NotNil(t, address)
	_, err := net.Dial("tcp", address[1])
	require.Error(t, err)
}

// An address that is taken is known before anything runs, and nothing is made.
func TestServeAtAnAddressThatIsTaken(t *testing.T) {
	root := tempRoot(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	cfg := smallConfig()
	cfg.Serve = taken.Addr().String()
	err = Run(t.Context(), cfg, func(context.Context, Job, func(Message)) error {
		require.Fail(t, "something runs")
		return nil
	}, &bytes.Buffer{}, &bytes.Buffer{})
	var bad *flagcheck.Error
	require.ErrorAs(t, err, &bad)
	require.Regexp(t, `^--serve 127\.0\.0\.1:\d+: cannot be listened on: .`, err.Error())
	requireEmpty(t, root)
}

func TestServeRefusesToBeWrittenTo(t *testing.T) {
	recorder := httptest.NewRecorder()
	(&stand{}).ServeHTTP(recorder, httptest.NewRequest(http.MethodPost, "/", nil))
	require.Equal(t, http.StatusMethodNotAllowed, recorder.Code)
	require.Equal(t, "GET, HEAD", recorder.Header().Get("Allow"))
}

func TestAddressToTypeIntoABrowser(t *testing.T) {
	require.Equal(t, "http://localhost:80/", addressOf(&net.TCPAddr{IP: net.IPv6unspecified, Port: 80}))
	require.Equal(t, "http://localhost:80/", addressOf(&net.TCPAddr{Port: 80, IP: net.IPv4zero}))
	require.Equal(t, "http://[::1]:80/", addressOf(&net.TCPAddr{IP: net.IPv6loopback, Port: 80}))
}

// shownEngine is an engine with a page.
type shownEngine struct{ *fakeEngine }

func (shownEngine) Live() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		fmt.Fprint(w, "the engine")
	})
}

// A child serves the page of an engine that has one, if it is told to, for as long as it runs.
func TestChildServesThePageOfItsEngine(t *testing.T) {
	for _, row := range []struct {
		name         string
		asked, shown bool
		want         int
	}{
		{"asked, with a page", true, true, 1},
		{"asked, without a page", true, false, 0},
		{"not asked", false, true, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			cfg := smallConfig()
			cfg.Calm, cfg.Burst, cfg.Quiet = 0, 100*time.Millisecond, 0
			fake := newFakeDisk().opener(nil)
			open := OpenFunc(fake)
			if row.shown {
				open = func(name, dir string, opt engine.Options) (Engine, error) {
					e, err := fake(name, dir, opt)
					return shownEngine{e.(*fakeEngine)}, err
				}
			}
			var addresses []string
			var mu sync.Mutex
			c := newChild(Job{Engine: Badgerspill, Dir: t.TempDir(), Config: cfg, Live: row.asked}, func(m Message) {
				mu.Lock()
				defer mu.Unlock()
				if m.Live != "" {
					addresses = append(addresses, m.Live)
				}
				if m.Result != nil && len(addresses) > 0 {
					require.Equal(t, "the engine", pageAt(t, "http://"+addresses[0]))
				}
			}, false)
			require.NoError(t, c.run(t.Context(), open))
			require.Len(t, addresses, row.want)
			for _, a := range addresses {
				_, err := net.Dial("tcp", a)
				require.Error(t, err)
			}
		})
	}
}
