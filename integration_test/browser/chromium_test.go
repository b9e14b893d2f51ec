package browser

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// limit bounds one wait for the browser, on a machine that is busy with others.
const limit = 30 * time.Second

// chromium is a browser that the tests steer through its DevTools protocol, over a pipe: messages
// of JSON that end with a zero byte, commands on its descriptor 3, answers and events on 4.
type chromium struct {
	t       *testing.T
	to      *os.File
	session string // of the one page

	mu     sync.Mutex
	last   int // number of the last command
	open   map[int]chan message
	events []message
	closed error
}

type message struct {
	ID     int             `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error"`
}

// startChromium starts a browser with one empty page, and skips the test where there is none.
func startChromium(t *testing.T) *chromium {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("SKIPPED: the browser is steered over inherited descriptors, which Windows does not have")
	}
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "headless_shell"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Skip("SKIPPED: there is no chromium in PATH, so nobody has seen the live page; install chromium, or chrome")
	}
	theirIn, in, err := os.Pipe()
	require.NoError(t, err)
	out, theirOut, err := os.Pipe()
	require.NoError(t, err)
	args := []string{
		"--headless", "--remote-debugging-pipe", "--user-data-dir=" + t.TempDir(), "--no-first-run",
		"--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions", "--disable-background-networking", "--hide-scrollbars",
	}
	if os.Geteuid() == 0 { // in a container: its sandbox refuses to run
		args = append(args, "--no-sandbox")
	}
	cmd := exec.Command(path, append(args, "about:blank")...)
	cmd.ExtraFiles = []*os.File{theirIn, theirOut}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	require.NoError(t, cmd.Start())
	require.NoError(t, errors.Join(theirIn.Close(), theirOut.Close()))
	b := &chromium{t: t, to: in, open: map[int]chan message{}}
	over := make(chan struct{})
	go func() {
		defer close(over)
		b.read(out)
	}()
	t.Cleanup(func() {
		b.mu.Lock()
		early := b.closed != nil
		b.mu.Unlock()
		_ = in.Close() // it ends with that
		ended := time.AfterFunc(limit, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		ended.Stop()
		_ = out.Close()
		<-over
		if early {
			t.Logf("chromium said:\n%s", &stderr)
		}
	})

	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	for _, domain := range []string{"Page", "Runtime", "Network", "Log"} {
		b.call(domain+".enable", nil, nil)
	}
	return b
}

// read takes answers and events until the browser has ended.
func (b *chromium) read(from *os.File) {
	in := bufio.NewReader(from)
	for {
		text, err := in.ReadBytes(0)
		b.mu.Lock()
		if err != nil {
			b.closed = fmt.Errorf("the browser has ended: %w", err)
			for _, c := range b.open {
				close(c)
			}
			b.open = map[int]chan message{}
			b.mu.Unlock()
			return
		}
		var m message
		if json.Unmarshal(text[:len(text)-1], &m) == nil {
			if c := b.open[m.ID]; m.ID > 0 && c != nil {
				delete(b.open, m.ID)
				c <- m
			} else if m.Method != "" {
				b.events = append(b.events, m)
			}
		}
		b.mu.Unlock()
	}
}

// call has the browser do something, and reads its answer into result, unless that is nil.
func (b *chromium) call(method string, params map[string]any, result any) {
	b.t.Helper()
	answer := make(chan message, 1)
	b.mu.Lock()
	require.NoError(b.t, b.closed)
	b.last++
	command := map[string]any{"id": b.last, "method": method}
	if params != nil {
		command["params"] = params
	}
	if b.session != "" {
		command["sessionId"] = b.session
	}
	b.open[b.last] = answer
	b.mu.Unlock()
	text, err := json.Marshal(command)
	require.NoError(b.t, err)
	_, err = b.to.Write(append(text, 0))
	require.NoError(b.t, err)
	select {
	case m, ok := <-answer:
		require.True(b.t, ok, "%s: the browser has ended", method)
		require.Nil(b.t, m.Error, "%s", method)
		if result != nil {
			require.NoError(b.t, json.Unmarshal(m.Result, result))
		}
	case <-time.After(limit):
		require.FailNow(b.t, "no answer to "+method)
	}
}

// show makes the window so wide, and dark or light.
func (b *chromium) show(width int, scheme string) {
	b.t.Helper()
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}, nil)
	b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]any{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

// visit loads an address and waits until that is done.
func (b *chromium) visit(address string) {
	b.t.Helper()
	loaded := b.count("Page.loadEventFired")
	var answer struct{ ErrorText string }
	b.call("Page.navigate", map[string]any{"url": address}, &answer)
	require.Empty(b.t, answer.ErrorText)
	b.until("the page is loaded", func() bool { return b.count("Page.loadEventFired") > loaded })
}

// eval returns the value of an expression in the page.
func eval[T any](b *chromium, expression string) (value T) {
	b.t.Helper()
	var answer struct {
		Result struct {
			Value json.RawMessage
		}
		ExceptionDetails json.RawMessage
	}
	b.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &answer)
	require.Empty(b.t, string(answer.ExceptionDetails), "%s", expression)
	require.NoError(b.t, json.Unmarshal(answer.Result.Value, &value), "%s", expression)
	return value
}

// text returns that of the element with the ID.
func (b *chromium) text(id string) string {
	b.t.Helper()
	return eval[string](b, fmt.Sprintf("document.getElementById(%q).innerText", id))
}

// until polls, for what a page does by itself.
func (b *chromium) until(what string, cond func() bool) {
	b.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	end := time.NewTimer(limit)
	defer end.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-end.C:
			require.FailNow(b.t, "did not happen: "+what)
		}
	}
}

func (b *chromium) all(method string) (all []message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.events {
		if e.Method == method {
			all = append(all, e)
		}
	}
	return all
}

func (b *chromium) count(method string) int { return len(b.all(method)) }

// screenshot returns a PNG of the whole page.
func (b *chromium) screenshot() []byte {
	b.t.Helper()
	var answer struct{ Data string }
	b.call("Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": true}, &answer)
	png, err := base64.StdEncoding.DecodeString(answer.Data)
	require.NoError(b.t, err)
	return png
}

// requireClean fails the test if the page was denied something, had an error, or asked anybody but
// its own server.
func (b *chromium) requireClean(origin string) {
	b.t.Helper()
	for _, e := range append(b.all("Log.entryAdded"), b.all("Runtime.exceptionThrown")...) {
		require.Fail(b.t, "the browser complains", "%s", e.Params)
	}
	asked := 0
	for _, e := range b.all("Network.requestWillBeSent") {
		var params struct{ Request struct{ URL string } }
		require.NoError(b.t, json.Unmarshal(e.Params, &params))
		url := params.Request.URL
		require.True(b.t, strings.HasPrefix(url, origin) || strings.HasPrefix(url, "data:") || url == "about:blank", url)
		asked++
	}
	require.Positive(b.t, asked)
}
