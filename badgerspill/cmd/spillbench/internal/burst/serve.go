package burst

import (
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/flagcheck"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/engine"
)

// liveEngine is an Engine that has a page of its own.
type liveEngine interface{ Live() http.Handler }

// stand is what Config.Serve asks for: the page of the database that runs now. A child runs it and
// serves the page on a port of its own. The parent passes that on, so that the address stays the
// same for the whole run. While there is none it shows the last lines of progress.
type stand struct {
	server *http.Server

	mu sync.Mutex
	// Guarded by mu.
	child   http.Handler // nil without one
	engines []standLine
}

// standLine is the last line of progress of an engine.
type standLine struct{ Engine, Line string }

// validateServe returns a *flagcheck.Error if there would be nothing to see, or no such address.
func (c Config) validateServe() error {
	if c.Serve == "" {
		return nil
	}
	if _, _, err := net.SplitHostPort(c.Serve); err != nil {
		return flagcheck.New("--serve", fmt.Sprintf("%q", c.Serve), "must be a host and a port, as localhost:8080")
	}
	for _, name := range c.engines() {
		if base, _ := engine.Mended(name); base == Badgerspill {
			return nil
		}
	}
	return flagcheck.New("--serve", c.Serve, "shows badgerspill, which --engine leaves out")
}

// openStand listens on the address that cfg names, and tells progress where that is. It returns nil
// if there is none. The error is a *flagcheck.Error.
func openStand(cfg Config, progress io.Writer) (*stand, error) {
	if cfg.Serve == "" {
		return nil, nil
	}
	listener, err := net.Listen("tcp", cfg.Serve)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) {
			err = op.Err // the rest names the address again
		}
		return nil, flagcheck.New("--serve", cfg.Serve, "cannot be listened on: %v", err)
	}
	s := &stand{}
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = s.server.Serve(listener) }() // ends with close
	fmt.Fprintf(progress, "live at %s\n", addressOf(listener.Addr()))
	return s, nil
}

// addressOf is what to type into a browser on this machine.
func addressOf(a net.Addr) string {
	host, port, err := net.SplitHostPort(a.String())
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsUnspecified() {
		return "http://localhost:" + port + "/"
	}
	return "http://" + a.String() + "/"
}

func (s *stand) close() error {
	if s == nil {
		return nil
	}
	return s.server.Close()
}

// note takes a message of the child that runs the engine.
func (s *stand) note(engine string, m Message) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case m.Live != "":
		s.child = s.passTo(m.Live)
	case m.Progress != nil:
		line := strings.TrimRight(m.Progress.line(), " ")
		if n := len(s.engines); n > 0 && s.engines[n-1].Engine == engine {
			s.engines[n-1].Line = line
		} else {
			s.engines = append(s.engines, standLine{engine, line})
		}
	}
}

// ended says that the child has.
func (s *stand) ended() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.child = nil
}

// passTo serves what is served at an address of this machine.
func (s *stand) passTo(address string) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: address})
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, _ error) { s.showProgress(w, r) },
	}
}

// ServeHTTP shows the child's page, or the progress without one.
func (s *stand) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	child := s.child
	s.mu.Unlock()
	if child != nil {
		child.ServeHTTP(w, r)
		return
	}
	s.showProgress(w, r)
}

//go:embed serve.html
var standText string

var standTemplate = template.Must(template.New("stand").Parse(standText))

func (s *stand) showProgress(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src data:")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		http.Error(w, "this page is only to be read: GET or HEAD", http.StatusMethodNotAllowed)
		return
	}
	header.Set("Content-Type", "text/html; charset=utf-8")
	s.mu.Lock()
	engines := append([]standLine(nil), s.engines...)
	s.mu.Unlock()
	_ = standTemplate.Execute(w, engines) // who has left gets nothing
}

// serveLive serves the page of db on a port of this machine, and tells the parent which. The page
// lasts until done is called. An engine without one has none.
func (c *child) serveLive(db Engine) (done func(), err error) {
	live, ok := db.(liveEngine)
	if !c.job.Live || !ok {
		return func() {}, nil
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("serve the page of %s: %w", c.job.Engine, err)
	}
	server := &http.Server{Handler: live.Live(), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }() // ends with done
	c.emit(Message{Live: listener.Addr().String()})
	return func() { _ = server.Close() }, nil
}
